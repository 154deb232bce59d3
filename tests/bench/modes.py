"""Every mode by its name."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping

from tests.bench.results import Result
from tests.bench.updating import updated
from tests.bench.yard import Fleet

Mode = Callable[[Fleet, Namespace], Result]


def hot(fleet: Fleet, options: Namespace) -> Result:
    """Direct, no reboot."""
    return updated(fleet, "hot")


def reboot(fleet: Fleet, options: Namespace) -> Result:
    """Direct, each device goes away and comes back."""
    return updated(fleet, "reboot", boot_delay=options.boot_delay)


MODES: Mapping[str, Mode] = {"hot": hot, "reboot": reboot}
