"""Scripted faults for the simulator: what a file of faults says, which devices each one hits, and when. Pure.

It breaks nothing itself: `fwctl_agent.faulty` asks `hits` at the device's ports and does what the fault says. Who is
hit depends on the seed, the fault's name and the names of the devices alone, so a second run is hit the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Slow:
    """Answers late, and takes in the bytes of a body slowly."""

    delay: float
    """seconds before each request is looked at"""
    bytes_per_second: int | None


@dataclass(frozen=True, kw_only=True)
class Refuse:
    """`hello`: the TLS handshake is refused; `request`: the connection is cut when a request comes."""

    how: Literal["hello", "request"]


@dataclass(frozen=True, kw_only=True)
class Corrupt:
    """`disk`: bits flip on their way into the slot; `transfer`: on their way to the device."""

    where: Literal["disk", "transfer"]


@dataclass(frozen=True, kw_only=True)
class Unhealthy:
    """Probes are bad; `value` is what a numeric probe measures, told with the evidence."""

    probe: str
    value: int | None


@dataclass(frozen=True)
class SilentRevert:
    """Boots the old slot after a confirm and does not say why."""


@dataclass(frozen=True, kw_only=True)
class Vanish:
    """Once: gone when `phase` is entered (None: at once), back after `seconds` (None: never)."""

    phase: str | None
    seconds: float | None
    how: Literal["network", "power"]


@dataclass(frozen=True, kw_only=True)
class Lie:
    """Says that it runs something else, or changes its outcomes; `signed` with its own key, else forged."""

    running: str | None
    """`ordered`, `previous`, or a version that nobody knows"""
    outcome: str | None
    signed: bool


@dataclass(frozen=True, kw_only=True)
class WrongClock:
    """The wall clock is `offset` seconds off."""

    offset: float


@dataclass(frozen=True, kw_only=True)
class FullDisk:
    """No space: for `image` bytes, or for `all` writes, the journal's too."""

    what: Literal["image", "all"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Tells these facts, over its own."""

    facts: Mapping[str, str | int | bool]


@dataclass(frozen=True, kw_only=True)
class Unready:
    """Defers every install for this reason."""

    reason: str


What = Slow | Refuse | Corrupt | Unhealthy | SilentRevert | Vanish | Lie | WrongClock | FullDisk | Facts | Unready


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong, on which devices, and when."""

    name: str
    kind: str
    what: What
    share: float | None = None
    """of all devices, 0 to 1; None together with no `devices` means every one"""
    devices: tuple[str, ...] = ()
    since: Literal["start", "confirm"] = "start"
    after: float = 0.0
    until: float | None = None
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Script:
    """A whole file of faults."""

    seed: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A device at one moment, as far as faults ask about it."""

    up: float
    """seconds since the simulator's start"""
    phase: str = "idle"
    """the state of its newest install order, ended or not"""
    version: str | None = None
    """the firmware that it is being given, or else runs"""
    confirmed: float | None = None
    """seconds since it confirmed its newest install; None before that, and after a revert"""


def hits(fault: Fault, sight: Sight) -> bool:
    """Say whether a fault of this device acts now."""
    if fault.versions and sight.version not in fault.versions:
        return False
    if isinstance(fault.what, Vanish) and fault.what.phase not in (None, sight.phase):
        return False
    clock = sight.up if fault.since == "start" else sight.confirmed
    return clock is not None and fault.after <= clock and (fault.until is None or clock < fault.until)


def chosen(fault: Fault, devices: Iterable[str], seed: int) -> tuple[str, ...]:
    """Return the devices that the fault belongs to, sorted.

    A share is cut exactly, at least one device: they are ranked by a hash, so that more share means the same devices
    and some more, whatever order they come in.
    """
    names = sorted(devices)
    if fault.devices:
        named = frozenset(fault.devices)
        return tuple(name for name in names if name in named)
    if fault.share is None:
        return tuple(names)
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed} {fault.name} {name}".encode()).digest())
    return tuple(sorted(ranked[: max(1, int(fault.share * len(names) + 0.5))]))


def assign(script: Script, devices: Iterable[str]) -> dict[str, tuple[Fault, ...]]:
    """Return the faults of each device that has any, in the order of the file."""
    names = tuple(devices)
    found: dict[str, tuple[Fault, ...]] = {}
    for fault in script.faults:
        for name in chosen(fault, names, script.seed):
            found[name] = (*found.get(name, ()), fault)
    return found


def summary(script: Script, devices: Iterable[str]) -> tuple[str, ...]:
    """Return one line per fault: what it does, to how many, and when."""
    names = tuple(devices)
    return tuple(
        f"fault {fault.name}: {fault.kind} on {len(chosen(fault, names, script.seed))} of {len(names)} devices"
        + _when(fault)
        for fault in script.faults
    )


def _when(fault: Fault) -> str:
    said = []
    if fault.since == "confirm":
        said.append(f"from {fault.after:g} s after confirm")
    elif fault.after:
        said.append(f"from {fault.after:g} s after start")
    if fault.until is not None:
        said.append(f"until {fault.until:g} s")
    if isinstance(fault.what, Vanish) and fault.what.phase is not None:
        said.append(f"in {fault.what.phase}")
    if fault.versions:
        said.append("with " + ", ".join(fault.versions))
    return "".join(f", {part}" for part in said)
