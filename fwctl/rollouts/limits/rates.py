"""How fast devices may start: so many in a minute, spread over it, and a rate that rises (`limits.ramp`)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from fwctl.manifests.models.rollout_parts import Limits, Ramp
from fwctl.rollouts.queues import Timers

MINUTE: Final = timedelta(seconds=60)
BURST: Final = timedelta(seconds=6)
"""in so short a time no more than a tenth of a minute's devices start, so that a minute's worth does not go at once"""
BURSTS: Final = 10


class Recent:
    """The devices that were started within a span of time, and those that are being started."""

    def __init__(self, span: timedelta) -> None:
        self._span = span
        self._seats: set[int] = set()
        self._starting: set[int] = set()
        self._ends = Timers()

    def __len__(self) -> int:
        return len(self._seats)

    def note(self, seat: int, started_at: datetime | None, now: datetime, *, starting: bool) -> None:
        """Take in when a device was started last; `starting`: it is being visited, and may be started any moment."""
        end = started_at + self._span if started_at else None
        live = end is not None and end > now
        if not live and not starting and seat not in self._seats:
            return
        self._ends.set(seat, end if live else None)
        if starting:
            self._starting.add(seat)
        else:
            self._starting.discard(seat)
        if live or starting:
            self._seats.add(seat)
        else:
            self._seats.discard(seat)

    def tick(self, now: datetime) -> None:
        """Forget who was started too long ago."""
        for seat in self._ends.due(now):
            if seat not in self._starting:
                self._seats.discard(seat)

    def next(self) -> datetime | None:
        """Return when the next one is forgotten."""
        return self._ends.next()


class Rate:
    """`maxPerMinute`, with the ramp below it. Counted by the times of the ledger, so the same after a restart."""

    def __init__(self, limits: Limits) -> None:
        self._most, self._ramp = limits.max_per_minute, limits.ramp
        self._minute, self._burst = Recent(MINUTE), Recent(BURST)
        self._started: set[int] = set()
        self._reached: set[int] = set()

    @property
    def name(self) -> Literal["ramp", "maxPerMinute"]:
        return "ramp" if self.per_minute < self._most else "maxPerMinute"

    @property
    def per_minute(self) -> int:
        """How many may start in a minute now."""
        if self._ramp is None:
            return self._most
        return rate_after(self._ramp, self._most, started=len(self._started), reached=len(self._reached))

    def note(self, seat: int, started_at: datetime | None, now: datetime, *, starting: bool, reached: bool) -> None:
        """Take in what is known of a device."""
        self._minute.note(seat, started_at, now, starting=starting)
        self._burst.note(seat, started_at, now, starting=starting)
        if self._ramp is not None:
            _put(self._started, seat, wanted=started_at is not None)
            _put(self._reached, seat, wanted=started_at is not None and reached)

    def tick(self, now: datetime) -> None:
        """Take in that time has gone by."""
        self._minute.tick(now)
        self._burst.tick(now)

    @property
    def room(self) -> int:
        """How many may start now; below nothing where the rate has fallen."""
        rate = self.per_minute
        return min(rate - len(self._minute), burst_of(rate) - len(self._burst))

    def until(self, chosen: int) -> datetime | None:
        """Return when the next one may start if `chosen` start now; None if that depends on visits, too."""
        rate = self.per_minute
        spans = ((self._minute, rate), (self._burst, burst_of(rate)))
        ends = [span.next() for span, most in spans if len(span) + chosen >= most]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None


def rate_after(ramp: Ramp, most: int, *, started: int, reached: int) -> int:
    """Return the rate of a ramp after so many devices: base * factor^n, at most `most`."""
    every = ramp.increase_every
    steps = reached // every.reached if every.reached else started // (every.started or 1)
    rate = float(ramp.base_per_minute)
    for _ in range(steps):
        if rate >= most:
            break
        rate *= ramp.factor
    return min(most, int(rate))


def burst_of(rate: int) -> int:
    """Return how many of a minute's devices may start within `BURST`."""
    return max(1, rate // BURSTS)


def _put(seats: set[int], seat: int, *, wanted: bool) -> None:
    if wanted:
        seats.add(seat)
    else:
        seats.discard(seat)
