"""Whose turn it is: who is in flight, who is due when, and who of those that may start comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from heapq import merge
from itertools import pairwise

from fwctl.rollouts.plan import Wave
from fwctl.rollouts.queues import Dues, Lane
from fwctl.rollouts.standing import Hold, Verdict

Holds = Sequence[Hold | None]
"""by wave"""


class Turns:
    """The turns of one rollout. Who has something under way is kept beside the waves, whatever holds them."""

    def __init__(self, waves: Sequence[Wave], starts: Sequence[int], *, back: bool) -> None:
        """`starts` are the first numbers of the waves' devices, and the end of the last."""
        self._waves, self._back = waves, back
        # On the way back nobody is due who has never been heard of.
        self._lanes = [Lane(end if back else start, end) for start, end in pairwise(starts)]
        self._timed: set[int] = set()
        self._bound = Dues()
        self._ready: set[int] = set()
        self._flying: dict[int, int] = {}
        self._flying_in: Counter[int] = Counter()

    @property
    def in_flight(self) -> int:
        """How many hold a place: who has taken an order keeps it until it answers or is put in quarantine."""
        return len(self._flying)

    def put(self, seat: int, wave: int, verdict: Verdict, now: datetime, *, visiting: bool) -> None:
        """Put a device where it is found when it is due."""
        self._fly(seat, wave, wanted=verdict.holds_place or visiting)
        due, late, lane = verdict.is_due(now), verdict.state == "straggler", self._lanes[wave]
        later = None if due else verdict.moment
        self._bound.set(seat, None if verdict.free else later, late=late)
        lane.dues.set(seat, later if verdict.free else None, late=late)
        if verdict.free and later is not None:
            self._timed.add(wave)
        self._ready.discard(seat)
        if due and not visiting:
            if verdict.free:
                lane.push(seat)
            else:
                self._ready.add(seat)

    def tick(self, now: datetime, visiting: Callable[[int], bool]) -> None:
        """Take in that time has gone by."""
        self._ready.update(seat for seat in self._bound.due(now) if not visiting(seat))
        for wave in self._timed:
            self._lanes[wave].tick(now)

    def dues(self, holds: Holds) -> tuple[datetime | None, datetime | None]:
        """Return the next moment at which a device is due, and the next without stragglers."""
        pairs = [self._bound.next(), *(self._lanes[wave].dues.next() for wave in self._timed if holds[wave] is None)]
        first = min((moment for moment, _ in pairs if moment is not None), default=None)
        return first, min((prompt for _, prompt in pairs if prompt is not None), default=None)

    def due(
        self, room: int, holds: Holds, may_start: Callable[[int], bool], wave_of: Callable[[int], int]
    ) -> list[int]:
        """Return who is contacted now, in order: all in flight that are due, and `room` others at the most."""
        chosen: list[int] = []
        others: dict[int, list[int]] = {}
        for seat in sorted(self._ready):
            if seat in self._flying:
                chosen.append(seat)
            else:
                others.setdefault(wave_of(seat), []).append(seat)
        for wave, lane in enumerate(self._lanes):
            if room <= 0:
                break
            held = holds[wave] is not None or not lane
            if not held or wave in others:
                taken = self._take(wave, room, others.get(wave, ()), None if held else lane, may_start)
                room -= len(taken)
                chosen += taken
        return sorted(chosen)

    def _take(
        self, wave: int, room: int, bound: Iterable[int], lane: Lane | None, may_start: Callable[[int], bool]
    ) -> list[int]:
        """Return who of a wave starts; one with `maxUnavailable` takes no more of the room than that leaves."""
        most = self._waves[wave].max_unavailable
        if most is not None and not self._back:
            room = min(room, most - self._flying_in[wave])
        chosen: list[int] = []
        if room <= 0:
            return chosen
        pulled: Iterator[int] = lane.pull(may_start) if lane is not None else iter(())
        for seat in merge(bound, pulled):
            chosen.append(seat)
            if len(chosen) >= room:
                break
        if lane is not None:
            lane.restore()
        return chosen

    def _fly(self, seat: int, wave: int, *, wanted: bool) -> None:
        if wanted and seat not in self._flying:
            self._flying[seat] = wave
            self._flying_in[wave] += 1
        elif not wanted and self._flying.pop(seat, None) is not None:
            self._flying_in[wave] -= 1
