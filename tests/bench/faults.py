"""What goes wrong in a run with faults: a mixture, so that each path of the reconciler is walked at size."""

from __future__ import annotations

from pathlib import Path

from tests.bench.yard import AFTER

_MIXTURE = (
    'name = "slow"\nkind = "slow"\ndelay = 0.5\nbytesPerSecond = 65536',
    'name = "refuse"\nkind = "refuse"\nuntil = 15',
    'name = "gone-for-good"\nkind = "vanish"\nphase = "downloading"',
    'name = "gone-for-a-while"\nkind = "vanish"\nphase = "downloading"\nseconds = 5',
    'name = "power-cut"\nkind = "vanish"\nhow = "power"\nphase = "trial"\nseconds = 3',
    f'name = "unhealthy"\nkind = "unhealthy"\nversions = ["{AFTER}"]',
    'name = "broken-disk"\nkind = "corrupt"\nwhere = "disk"',
    'name = "broken-line"\nkind = "corrupt"\nwhere = "transfer"',
    'name = "full-disk"\nkind = "fullDisk"',
)


def write_faults(path: Path, percent: float) -> Path:
    """Write a file of faults that in all hit about `percent` of the devices, a share alike for each kind."""
    share = percent / 100 / len(_MIXTURE)
    lines = [f"[[faults]]\n{fault}\nshare = {share:.8f}\n" for fault in _MIXTURE]
    path.write_text("seed = 4\n\n" + "\n".join(lines))
    return path
