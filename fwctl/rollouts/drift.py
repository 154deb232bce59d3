"""Drift: what a device runs, or does not say any more, that git does not explain. Pure.

A rollout promises its release for every device that it has confirmed. While it is open, or goes back, or went back, it
promises nothing: changes are its work. What a newer order brought, and what an open one may bring, is no drift either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

Kind = Literal["went-back", "other-firmware", "vanished", "never-seen", "unknown-device"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""in the order in which they are told"""
PERIODS = 2
"""periods of the sweep without an answer, after which a device has vanished"""


@dataclass(frozen=True)
class Promise:
    """What the devices that a rollout has confirmed are to run."""

    rollout: str
    mandate: str
    release: str
    version: str


@dataclass(frozen=True)
class Astray:
    """A device that a rollout has confirmed last, nothing is under way on, and that runs another release."""

    device: str
    running: str
    """release digest, empty for an image that no statement was brought with"""
    image: str
    version: str
    seen: datetime | None
    before: bool
    """it ran this image before the order"""


@dataclass(frozen=True)
class Silent:
    """A device that did not answer last."""

    device: str
    seen: datetime | None
    """None: never"""
    since: datetime | None
    tries: int
    why: str


@dataclass(frozen=True)
class Stranger:
    """A device that the ledger knows and git does not."""

    device: str
    version: str
    tried: datetime


@dataclass(frozen=True)
class Drift:
    """One device that is not as git says, and since when that is known."""

    device: str
    kind: Kind
    reason: str
    since: datetime | None = None
    seen: datetime | None = None
    rollout: str = ""
    expected: str = ""
    """version"""
    running: str = ""
    """version"""
    image: str = ""


def promises(
    wanted: Iterable[Promise], standings: Iterable[tuple[str, str, str, datetime | None]]
) -> tuple[Promise, ...]:
    """Return those of the commit's promises that hold: `standings` is (rollout, mandate, state, back since)."""
    holding = {
        (rollout, mandate)
        for rollout, mandate, state, back in standings
        if state in ("complete", "stopped", "aborted") and back is None
    }
    return tuple(one for one in wanted if (one.rollout, one.mandate) in holding)


def off(promise: Promise, found: Iterable[Astray]) -> Iterator[Drift]:
    """Yield the devices that do not keep what a rollout promises for them."""
    for one in found:
        if one.running == promise.release:
            continue
        kind: Kind = "went-back" if one.before else "other-firmware"
        how = "what it ran before" if one.before else "what no rollout brought"
        version = one.version or "something"
        reason = f"runs {version}, {how}; {promise.rollout} confirmed {promise.version} on it"
        yield Drift(
            one.device,
            kind,
            reason,
            seen=one.seen,
            rollout=promise.rollout,
            expected=promise.version,
            running=one.version,
            image=one.image,
        )


def silent(found: Iterable[Silent], *, period: timedelta, now: datetime) -> Iterator[Drift]:
    """Yield the devices that have not answered for too long, or never."""
    for one in found:
        if one.seen is None:
            yield Drift(one.device, "never-seen", _tried(one), since=one.since)
        elif now - one.seen > PERIODS * period:
            yield Drift(one.device, "vanished", _tried(one), since=one.since, seen=one.seen)


def _tried(one: Silent) -> str:
    return f"tried {'once' if one.tries == 1 else f'{one.tries} times'}: {one.why}"


def unheard(devices: Iterable[str]) -> Iterator[Drift]:
    """Yield the devices of git that nobody ever tried to reach."""
    return (Drift(device, "never-seen", "no pass has looked for it yet") for device in devices)


def strangers(found: Iterable[Stranger], *, period: timedelta, now: datetime) -> Iterator[Drift]:
    """Yield the devices that are gone from git, until they were not contacted for some periods: it was meant so."""
    for one in found:
        if now - one.tried <= PERIODS * period:
            reason = "no inventory has it any more; nobody contacts it"
            yield Drift(one.device, "unknown-device", reason, since=one.tried, running=one.version)


def ordered(found: Iterable[Drift]) -> tuple[Drift, ...]:
    """Return what was found by kind, then by device; of a device that vanished only that."""
    known = list(found)
    gone = {one.device for one in known if one.kind == "vanished"}
    kept = (one for one in known if one.kind == "vanished" or one.device not in gone)
    return tuple(sorted(kept, key=lambda one: (KINDS.index(one.kind), one.device, one.rollout)))
