"""Every mode by its name."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tests.bench.bare import compare
from tests.bench.results import Result
from tests.bench.updating import overheard, updated
from tests.bench.yard import Fleet, Size, prepare

_FEW = 8
"""devices of the fleet whose conversations are overheard"""

Mode = Callable[[Fleet, Namespace], Result]


def hot(fleet: Fleet, options: Namespace) -> Result:
    """Direct, no reboot."""
    return beside_bare(fleet, options, updated(fleet, "hot", faults=faults(fleet, options)))


def reboot(fleet: Fleet, options: Namespace) -> Result:
    """Direct, each device goes away and comes back."""
    delay = options.boot_delay
    found = updated(fleet, "reboot", boot_delay=delay, faults=faults(fleet, options))
    return beside_bare(fleet, options, found, boot_delay=delay)


def beside_bare(fleet: Fleet, options: Namespace, result: Result, *, boot_delay: float = 0.0) -> Result:
    """Hear what is said with a device, and measure the bare exchange of the same shape."""
    few = prepare(fleet.folder.parent / f"tap-{options.image_bytes}", Size(_FEW, options.image_bytes), lambda _: None)
    with few.copied(result.mode) as own:
        talk = overheard(own, boot_delay=boot_delay)
    rates = compare(fleet, talk, min(fleet.size.devices, options.bare_devices))
    assert result.per_minute is not None
    for rate in rates.values():
        rate["ratio"] = round(result.per_minute / rate["perMinute"], 3)
    said = {
        "connections": round(talk.mean_connections, 2),
        "requests": round(talk.mean_requests, 2),
        "what": ", ".join(talk.asked),
        "bytes": [list(turns) for turns in talk.connections],
        "resumed": talk.resumed,
    }
    return replace(result, bare=rates, conversation=said)


def faults(fleet: Fleet, options: Namespace) -> Path | None:
    return None


MODES: Mapping[str, Mode] = {"hot": hot, "reboot": reboot}
