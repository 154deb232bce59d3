"""An installer for `type = "command"`: two slots as regions of one disk image file, as on a block device."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

SLOT = 4 << 20
"""bytes of one slot"""

_SCRIPT = r"""
import os, pathlib, sys
here = pathlib.Path(__file__).parent
disk, boot, counts, slot_bytes = here / "disk.img", here / "boot", here / "counts", SLOT
verb, *rest = sys.argv[1:]

def told(text):
    with counts.open("a") as log:
        log.write(text + "\n")

def select(good, trial):
    fresh = here / "boot.new"
    fresh.write_text(f"{good} {trial}")
    fresh.replace(boot)

good, trial = boot.read_text().split()
start = {"a": 0, "b": slot_bytes}.get(rest[0] if rest else "", 0)
if verb == "write":
    told(f"begin {rest[0]}")
    with disk.open("r+b") as image:
        image.seek(start)
        left = int(rest[1])
        if left > slot_bytes:
            sys.exit("the image is larger than the slot")
        while piece := sys.stdin.buffer.read(min(left, 1 << 16)):
            left -= len(piece)
            image.write(piece)
        if left:
            sys.exit("the agent is gone")
        image.flush()
        os.fsync(image.fileno())
    told(f"end {rest[0]}")
elif verb == "readback":
    with disk.open("rb") as image:
        image.seek(start)
        sys.stdout.buffer.write(image.read(int(rest[1])))
elif verb == "activate":
    select(good, rest[0])
elif verb in ("mark-good", "revert"):
    select(rest[0], rest[0])
elif verb == "status":
    print(trial)
"""


class DiskImage:
    """What the installer keeps in `folder`; slot a holds the factory image."""

    def __init__(self, folder: Path, factory: bytes) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        with (folder / "disk.img").open("wb") as disk:
            disk.write(factory)
            disk.truncate(2 * SLOT)
        (folder / "boot").write_text("a a")
        (folder / "installer.py").write_text(_SCRIPT.replace("SLOT", str(SLOT)))

    def settings(self) -> Mapping[str, str]:
        """Return what to replace in agent.toml."""
        verbs = {
            "write": ["write", "{slot}", "{length}"],
            "readback": ["readback", "{slot}", "{length}"],
            "activate": ["activate", "{slot}"],
            "markGood": ["mark-good", "{slot}"],
            "revert": ["revert", "{slot}"],
            "status": ["status"],
        }
        program = [sys.executable, "-S", str(self.folder / "installer.py")]
        lines = [f"{name} = {json.dumps([*program, *words])}" for name, words in verbs.items()]
        return {'type = "slots"': "\n".join(['type = "command"', *lines])}

    @property
    def active(self) -> str:
        """Return the slot that is marked good and boots."""
        good, trial = (self.folder / "boot").read_text().split()
        assert good == trial, "a trial is under way"
        return good

    def content(self, length: int) -> bytes:
        """Return the first bytes of the active slot, read from the disk image."""
        with (self.folder / "disk.img").open("rb") as disk:
            disk.seek({"a": 0, "b": SLOT}[self.active])
            return disk.read(length)

    def writes(self) -> tuple[int, int]:
        """Return how often writing a slot was begun, and how often all of it was written."""
        counts = self.folder / "counts"
        words = counts.read_text().split() if counts.exists() else []
        return words.count("begin"), words.count("end")
