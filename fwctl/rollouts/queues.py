"""Who is next, without asking everybody: devices by the moment they are due, and the devices of a wave in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import datetime

SLACK = 64
"""entries that a heap may keep of what does not hold any more, beside as many as hold"""


class Timers:
    """One moment per device; those that have come are handed out once."""

    def __init__(self) -> None:
        self._moments: dict[int, datetime] = {}
        self._heap: list[tuple[datetime, int]] = []

    def set(self, seat: int, moment: datetime | None) -> None:
        """Set, replace or (None) forget the moment of a device."""
        if moment is None:
            self._moments.pop(seat, None)
            return
        if self._moments.get(seat) == moment:
            return
        self._moments[seat] = moment
        heapq.heappush(self._heap, (moment, seat))
        if len(self._heap) > 2 * len(self._moments) + SLACK:
            self._heap = [(moment, seat) for seat, moment in self._moments.items()]
            heapq.heapify(self._heap)

    def due(self, now: datetime) -> list[int]:
        """Take out whose moment has come."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            moment, seat = heapq.heappop(self._heap)
            if self._moments.get(seat) == moment:
                del self._moments[seat]
                found.append(seat)
        return found

    def next(self) -> datetime | None:
        """Return the earliest moment."""
        while self._heap and self._moments.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


class Dues:
    """When devices are due, with those apart for whom no pass stays: stragglers."""

    def __init__(self) -> None:
        self._prompt, self._late = Timers(), Timers()

    def set(self, seat: int, moment: datetime | None, *, late: bool = False) -> None:
        self._prompt.set(seat, None if late else moment)
        self._late.set(seat, moment if late else None)

    def due(self, now: datetime) -> list[int]:
        return [*self._prompt.due(now), *self._late.due(now)]

    def next(self) -> tuple[datetime | None, datetime | None]:
        """Return the next moment, and the next of those who are no stragglers."""
        prompt, late = self._prompt.next(), self._late.next()
        return min((moment for moment in (prompt, late) if moment is not None), default=None), prompt


class Lane:
    """The devices of one wave that may start, in the order of the plan.

    Before `cursor` only those in the heap can be candidates; from it on anybody can. So everybody is passed once, and
    who comes back later is queued.
    """

    def __init__(self, start: int, end: int) -> None:
        self._cursor, self._end = start, end
        self._heap: list[int] = []
        self._queued: set[int] = set()
        self._taken: list[int] = []
        self.dues = Dues()

    def __bool__(self) -> bool:
        return bool(self._heap) or self._cursor < self._end

    def push(self, seat: int) -> None:
        """Queue a device that has become a candidate."""
        if seat < self._cursor and seat not in self._queued:
            self._queued.add(seat)
            heapq.heappush(self._heap, seat)

    def tick(self, now: datetime) -> None:
        """Queue who has become due."""
        for seat in self.dues.due(now):
            self.push(seat)

    def pull(self, candidate: Callable[[int], bool]) -> Iterator[int]:
        """Yield candidates in order, and forget who is none. What was yielded is a candidate again after `restore`."""
        while self:
            if self._heap:
                seat = heapq.heappop(self._heap)
                self._queued.discard(seat)
            else:
                seat = self._cursor
                self._cursor += 1
            if candidate(seat):
                self._taken.append(seat)
                yield seat

    def restore(self) -> None:
        """Queue again what was pulled: who is visited drops out by that, not by having been chosen."""
        taken, self._taken = self._taken, []
        for seat in taken:
            self.push(seat)
