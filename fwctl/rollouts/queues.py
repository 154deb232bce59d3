"""Who is next, without asking everybody: devices by the moment they are due, and the devices of a wave in order."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Literal, NamedTuple

KeyName = Literal["window", "jitter", "disruption", "bytesPerMinutePerSite"]

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


class Key(NamedTuple):
    """What a single device waits for, beside its turn: a limit, and there a place, or seconds after its wave opened."""

    limit: KeyName
    group: int


class Lane:
    """The devices of one wave that may start, in the order of the plan.

    Before `cursor` only those in the heap can be candidates; from it on anybody can. So everybody is passed once, and
    who comes back later is queued. Who waits for something that many wait for is parked under its key: of each key at
    most the first is queued, and the next when that one is gone, so that nobody is asked in vain in every round.
    """

    def __init__(self, start: int, end: int) -> None:
        self._cursor, self._end = start, end
        self._heap: list[int] = []
        self._queued: set[int] = set()
        self._taken: set[int] = set()
        self._parks: dict[Key, list[int]] = {}
        self._parked: dict[int, Key] = {}
        self._waiting: Counter[Key] = Counter()
        self._awake: dict[int, Key] = {}
        self._woken: set[Key] = set()
        self._alarms: list[tuple[datetime, Key]] = []
        self._alarm: dict[Key, datetime] = {}
        self.dues = Dues()

    def __bool__(self) -> bool:
        return bool(self._heap) or self._cursor < self._end

    @property
    def taken(self) -> set[int]:
        """Who was yielded and is to be restored."""
        return self._taken

    def has(self, candidate: Callable[[int], bool], but: Collection[int]) -> bool:
        """Say whether somebody is a candidate, beside those named."""
        if self._parked:
            return True
        found = any(seat not in but for seat in self.candidates(candidate))
        self.restore()
        return found

    @property
    def parked(self) -> Counter[Key]:
        """How many wait for what."""
        return self._waiting

    def push(self, seat: int) -> None:
        """Queue a device that has become a candidate."""
        self.forget(seat)
        if seat < self._cursor and seat not in self._queued:
            self._queued.add(seat)
            heapq.heappush(self._heap, seat)

    def forget(self, seat: int) -> None:
        """Take a device out of where it is parked: something is new about it."""
        key = self._parked.pop(seat, None)
        if key is not None:
            self._count(key, -1)

    def tick(self, now: datetime) -> None:
        """Queue who has become due, and whose wait has ended."""
        for seat in self.dues.due(now):
            self.push(seat)
        while self._alarms and self._alarms[0][0] <= now:
            moment, key = heapq.heappop(self._alarms)
            if self._alarm.get(key) == moment:
                del self._alarm[key]
                self.wake(key)

    def next_alarm(self) -> datetime | None:
        """Return the first moment at which time alone ends somebody's wait."""
        while self._alarms:
            moment, key = self._alarms[0]
            if self._alarm.get(key) == moment and self._waiting[key]:
                return moment
            heapq.heappop(self._alarms)
            if self._alarm.get(key) == moment:
                del self._alarm[key]
        return None

    def candidates(self, candidate: Callable[[int], bool]) -> Iterator[int]:
        """Yield candidates in order, and forget who is none.

        What was yielded and not parked is a candidate again after `restore`.
        """
        while self:
            if self._heap:
                seat = heapq.heappop(self._heap)
                self._queued.discard(seat)
            else:
                seat = self._cursor
                self._cursor += 1
            if candidate(seat):
                self._taken.add(seat)
                yield seat
            else:
                self.follow(seat)

    def park(self, seat: int, key: Key, until: datetime | None) -> None:
        """Let a device wait for something, until it is woken, at the latest at a moment."""
        self._parked[seat] = key
        self._count(key, 1)
        heapq.heappush(self._parks.setdefault(key, []), seat)
        if until is None:
            self._alarm.pop(key, None)
        elif self._alarm.get(key) != until:
            self._alarm[key] = until
            heapq.heappush(self._alarms, (until, key))

    def follow(self, seat: int, *, but: Key | None = None) -> None:
        """Queue the next who waits for what this one had waited for; not if that is `but`."""
        key = self._awake.pop(seat, None)
        if key is not None:
            self._woken.discard(key)
            if key != but:
                self.wake(key)

    def wake(self, key: Key) -> None:
        """Queue the first who waits for something, if nobody who did is queued already."""
        if key in self._woken:
            return
        park = self._parks.get(key, [])
        while park:
            seat = heapq.heappop(park)
            if self._parked.get(seat) == key:
                self._woken.add(key)
                self._awake[seat] = key
                self.push(seat)
                return
        self._parks.pop(key, None)

    def restore(self) -> None:
        """Queue again what was yielded: who is visited drops out by that, not by having been chosen."""
        taken, self._taken = self._taken, set()
        for seat in taken:
            if seat not in self._parked:
                self.push(seat)

    def _count(self, key: Key, by: int) -> None:
        self._waiting[key] += by
        if not self._waiting[key]:
            del self._waiting[key]
