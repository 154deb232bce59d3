"""What a simulation takes for granted. All of it stands in the answer, so that nobody has to believe it unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from fwctl.errors import UsageError
from fwctl.manifests.fields import did_you_mean
from fwctl.manifests.scalars import parse_duration, parse_size, version_key

CONNECT: Final = 0.1
"""seconds that a connection and its first answers take"""
TIMEOUT: Final = 5.0
"""seconds after which a device that does not answer is given up for this time"""
LATEST: Final = 90 * 86400
"""seconds after which a rollout that still waits is taken as one that waits for ever"""


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """How devices, network and people behave. Durations are in seconds, shares lie between 0 and 1."""

    failure_rate: float = 0.0
    """devices on which the firmware fails"""
    offline: float = 0.0
    """devices that do not answer when the rollout begins"""
    bandwidth: int = 1 << 20
    """bytes per second that one device takes in"""
    restart: int = 30
    probes: int = 5
    late: float = 0.25
    """of the devices that fail: those that do so after their confirmation, while they are watched"""
    broken: float = 0.25
    """of those that fail earlier: those on which the installer fails, at every attempt"""
    away: int = 4 * 3600
    """how long a device is offline, on average"""
    returns: float = 0.5
    """of the devices that are offline: those that come back at all"""
    version: str = ""
    """what devices run, where nothing is known of them"""
    approval: int = 0
    """until somebody has approved a further stage, or promoted what waits for a person"""
    interval: int = 300
    """between the beginnings of two passes"""
    longest: int = 300
    """of a pass"""


@dataclass(frozen=True)
class Assumption:
    """One that can be given by name."""

    field: str
    read: Callable[[str], Any]
    words: str
    example: str


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError("a share lies between 0 and 1")
    return share


def _version(text: str) -> str:
    version_key(text)
    return text


def _positive(read: Callable[[object], int]) -> Callable[[str], int]:
    def read_more_than_nothing(text: str) -> int:
        if (number := read(text)) < 1:
            raise ValueError("it must be more than nothing")
        return number

    return read_more_than_nothing


NAMED: Final = {
    "bandwidth": Assumption("bandwidth", _positive(parse_size), "bytes per second that one device takes in", "1MiB"),
    "restart": Assumption("restart", parse_duration, "a restart", "30s"),
    "probes": Assumption("probes", parse_duration, "the probes of one trial", "5s"),
    "late": Assumption("late", _share, "of the failing devices: those that fail while they are watched", "0.25"),
    "broken": Assumption("broken", _share, "of the others that fail: those on which the installer fails", "0.25"),
    "away": Assumption("away", _positive(parse_duration), "how long a device is offline, on average", "4h"),
    "returns": Assumption("returns", _share, "of the devices that are offline: those that come back", "0.5"),
    "from": Assumption("version", _version, "the version that devices run", "2.4.0"),
    "approval": Assumption("approval", parse_duration, "until a person approves a further stage, or promotes", "1h"),
    "interval": Assumption("interval", _positive(parse_duration), "from pass to pass", "5m"),
    "longest": Assumption("longest", _positive(parse_duration), "the longest time of a pass", "5m"),
}


def assume(start: Assumptions, given: Iterable[str]) -> Assumptions:
    """Return `start` with what is given as `NAME=VALUE`.

    Raises:
        UsageError: `E_ASSUMPTION`: no such name, or no such value.
    """
    for one in given:
        name, _, text = one.partition("=")
        known = NAMED.get(name)
        if known is None:
            hint = did_you_mean(name, list(NAMED))
            raise _wrong(one, "there is no assumption of this name", hint or f"Known are {', '.join(sorted(NAMED))}.")
        try:
            start = replace(start, **{known.field: known.read(text)})
        except ValueError:
            example = f"It is {known.words}; for example: --assume {name}={known.example}"
            raise _wrong(one, "the value does not fit", example) from None
    return start


def _wrong(given: str, message: str, remedy: str) -> UsageError:
    return UsageError(message, code="E_ASSUMPTION", place=f"--assume {given[:80]}", remedy=remedy)
