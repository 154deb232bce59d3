"""The stops on the way to a release, chosen from git alone: the same for every device, whatever it runs.

1. Every released firmware of the model with `stop: true` below the target is a barrier: it stands in the chain.
2. Where a barrier or the target does not accept what comes before it (`requiresFrom`), releases between are chosen:
   those with which devices may come from furthest below; of these the fewest; of these the newest. Only released (or
   deprecated) firmware that lists all hardware of the target is chosen.
3. A lock keeps the releases that were chosen when it was made, while they may still be used: what is registered later
   makes no approval worthless. A new barrier does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fwctl.errors import InputError
from fwctl.manifests.models import Firmware
from fwctl.rollouts.releases import release_of
from fwctl_agent.protocol.lock import MAX_CHAIN
from fwctl_agent.protocol.statements import Release
from fwctl_agent.protocol.versions import Key, version_key

USABLE = ("released", "deprecated")
"""states of firmware that may be chosen as a stop"""
_GONE = ("sunset", "withdrawn")
_KEPT = (*USABLE, "sunset")
"""states in which a stop of a lock stays one: sunset firmware begins no new rollout, and ends none"""


@dataclass(frozen=True)
class Chain:
    """The releases on the way, oldest first; the target is the last. `barriers` are digests of those for everybody."""

    stops: tuple[Release, ...]
    barriers: frozenset[str] = frozenset()


def chain_of(target: Firmware, others: Iterable[Firmware], *, locked: Sequence[str] = ()) -> Chain:
    """Return the chain to `target` among all firmware of its model; `locked` is the chain of its lock.

    Raises:
        InputError: `E_STOP_STATE` a barrier is sunset or withdrawn, `E_NO_PATH` nothing leads on from a barrier,
            `E_CHAIN_LONG` more releases than a lock line holds.
    """
    key = version_key(target.spec.version)
    below = sorted((one for one in others if version_key(one.spec.version) < key), key=_key)
    barriers = _barriers(below)
    marked = frozenset(release_of(one).digest for one in barriers)
    kept = _kept(target, below, tuple(locked))
    if kept is not None and marked <= set(locked):
        return Chain(kept, marked)
    chosen = _chosen(target, barriers, below)
    if len(chosen) > MAX_CHAIN:
        raise InputError(
            f"{len(chosen)} releases are on the way to {target.spec.version}; a lock line holds {MAX_CHAIN}",
            code="E_CHAIN_LONG",
            place=_path(target),
            remedy="Set `stop: false` on those that no device of the fleet needs any more.",
        )
    return Chain(tuple(map(release_of, chosen)), marked)


def _barriers(below: Sequence[Firmware]) -> list[Firmware]:
    """Return the firmware that nobody may jump over; one that is not released yet is none yet."""
    found = [one for one in below if one.spec.stop and one.spec.state in (*USABLE, *_GONE)]
    for one in found:
        if one.spec.state in _GONE:
            raise InputError(
                f"{one.spec.model} {one.spec.version} is a stop that every device must pass, and it is "
                f"{one.spec.state}: nobody can get past it",
                code="E_STOP_STATE",
                place=_path(one),
                remedy="Register a release that takes its place with `stop: true`, and set `stop: false` here; only "
                "the latter if no device is below it any more.",
            )
    return found


def _kept(target: Firmware, below: Sequence[Firmware], locked: tuple[str, ...]) -> tuple[Release, ...] | None:
    """Return the releases of a lock's chain; None if one is unknown, out of order, or may not be used."""
    mine = release_of(target)
    if not locked or locked[-1] != mine.digest:
        return None
    usable = {release.digest: release for one in below if one.spec.state in _KEPT for release in (release_of(one),)}
    if not usable.keys() >= set(locked[:-1]):
        return None
    stops = (*(usable[digest] for digest in locked[:-1]), mine)
    rising = all(version_key(one.version) < version_key(other.version) for one, other in pairwise(stops))
    return stops if rising else None


def _chosen(target: Firmware, barriers: Sequence[Firmware], below: Sequence[Firmware]) -> list[Firmware]:
    hardware = set(target.spec.hardware)
    free = [one for one in below if one.spec.state in USABLE and not one.spec.stop and hardware <= {*one.spec.hardware}]
    chosen: list[Firmware] = []
    low: Firmware | None = None
    for end in (*barriers, target):
        between = [one for one in free if (low is None or _key(low) < _key(one)) and _key(one) < _key(end)]
        leg = _leg(end, low, between)
        if leg is None and low is not None:
            raise InputError(
                f"no way leads from the stop {low.spec.version} to {end.spec.version}, which may follow "
                f"{release_of(end).requires_from} only",
                code="E_NO_PATH",
                place=_path(end),
                remedy="Register a released firmware between them that accepts the stop and is accepted.",
            )
        chosen += [*(leg or ()), end]
        low = end
    return chosen


def _leg(end: Firmware, low: Firmware | None, between: Sequence[Firmware]) -> tuple[Firmware, ...] | None:
    """Return the releases from the barrier `low` (None: from as far below as can be) to `end`; None if there are none.

    Versions rise along a leg, so a release is asked once, and only about older ones.
    """
    best: dict[str, tuple[Firmware, ...] | None] = {}
    for one in (*between, end):
        if _accepts(one, low):
            best[one.spec.version] = ()
            continue
        ways = [
            (*way, before)
            for before in between
            if _key(before) < _key(one) and _follows(one, before) and (way := best[before.spec.version]) is not None
        ]
        if low is None:
            ways.append(())  # who is in its range comes directly
        best[one.spec.version] = min(ways, key=_rank(one), default=None)
    return best[end.spec.version]


def _rank(end: Firmware) -> Callable[[tuple[Firmware, ...]], tuple[tuple[bool, Key], int, tuple[_Newest, ...]]]:
    def rank(way: tuple[Firmware, ...]) -> tuple[tuple[bool, Key], int, tuple[_Newest, ...]]:
        return _opening(way[0] if way else end), len(way), tuple(_Newest(one.spec.version) for one in reversed(way))

    return rank


def _opening(first: Firmware) -> tuple[bool, Key]:
    """Return from how far below devices may come to the first release of a way."""
    lowest = first.spec.requires_from.at_least if first.spec.requires_from else None
    return lowest is not None, version_key(lowest or "0")


class _Newest:
    """Sorts newer versions first."""

    def __init__(self, version: str) -> None:
        self._key = version_key(version)

    def __lt__(self, other: _Newest) -> bool:
        return self._key > other._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Newest) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _accepts(one: Firmware, low: Firmware | None) -> bool:
    """Say whether nothing is needed before `one`."""
    return one.spec.requires_from is None or (low is not None and _follows(one, low))


def _follows(one: Firmware, before: Firmware) -> bool:
    wanted = release_of(one).requires_from
    return wanted is None or before.spec.version in wanted


def _key(one: Firmware) -> tuple[Key, str]:
    return version_key(one.spec.version), one.spec.version


def _path(one: Firmware) -> str:
    return f"firmware/{one.spec.model}/{one.spec.version}.yaml"
