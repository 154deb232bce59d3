"""Whose turn it is: who is in flight, who is due when, and who of those that may start comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import pairwise

from fwctl.rollouts.limits.meter import Held, LimitLine, Meter
from fwctl.rollouts.plan import Wave
from fwctl.rollouts.queues import Dues, Key, Lane
from fwctl.rollouts.standing import Hold, Verdict
from fwctl.rollouts.view import DeviceView, RolloutView

Holds = Sequence[Hold | None]
"""by wave"""
MayStart = Callable[[int], bool]


@dataclass(frozen=True)
class Round:
    """Who was chosen in the present round, and what ended the choice. Candidates that were not chosen are held."""

    chosen: frozenset[int]
    room: int
    """that `maxConcurrent` has left"""
    rate: int
    """that the rate has left"""
    started: int
    """of those chosen, how many the rate counts"""
    full: frozenset[int]
    """waves of which no more may be in flight"""
    bound: Mapping[int, int]
    """who could start again with the order that it has, and its wave"""


class Turns:
    """The turns of one rollout. Who has something under way is kept beside the waves, whatever holds them."""

    def __init__(self, waves: Sequence[Wave], starts: Sequence[int], *, meter: Meter | None) -> None:
        """`starts` are the first numbers of the waves' devices, and the end of the last; no meter: it goes back."""
        self._waves, self._meter = waves, meter
        # On the way back nobody is due who has never been heard of.
        self._lanes = [Lane(end if meter is None else start, end) for start, end in pairwise(starts)]
        self._timed: set[int] = set()
        self._bound = Dues()
        self._ready: set[int] = set()
        self._flying: dict[int, int] = {}
        self._flying_in: Counter[int] = Counter()
        self._round: Round | None = None

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
        lane.forget(seat)
        if due and not visiting:
            if verdict.free:
                lane.push(seat)
            else:
                self._ready.add(seat)

    def know(self, seat: int, device: DeviceView | None, verdict: Verdict, now: datetime, *, visiting: bool) -> None:
        """Take in what limits count of a device."""
        if self._meter is not None:
            self._meter.note(seat, device, verdict, now, visiting=visiting)

    def since(self, now: datetime) -> datetime:
        """Return the moment until which a start counts for no limit any more."""
        return self._meter.since(now) if self._meter is not None else now

    def frame(self, rollout: RolloutView) -> None:
        """Take in what limits need to know of whole waves and of the rest of the fleet."""
        if self._meter is not None:
            self._meter.frame(rollout)

    def tick(self, now: datetime, visiting: Callable[[int], bool]) -> None:
        """Take in that time has gone by."""
        self._round = None
        self._ready.update(seat for seat in self._bound.due(now) if not visiting(seat))
        for wave in self._timed:
            self._lanes[wave].tick(now)
        if self._meter is not None:
            self._meter.tick(now)

    def dues(self, holds: Holds, may_start: MayStart) -> tuple[datetime | None, datetime | None]:
        """Return the next moment at which a device is due, and the next without stragglers."""
        pairs = [self._bound.next(), *(self._lanes[wave].dues.next() for wave in self._timed if holds[wave] is None)]
        limits = self._limits_end(holds, may_start)
        first = min((moment for moment in (limits, *(one for one, _ in pairs)) if moment is not None), default=None)
        return first, min((one for one in (limits, *(prompt for _, prompt in pairs)) if one is not None), default=None)

    def due(self, room: int, holds: Holds, may_start: MayStart, wave_of: Callable[[int], int]) -> list[int]:
        """Return who is contacted now, in order: all in flight that are due, and `room` others at the most."""
        chosen: list[int] = [seat for seat in self._ready if seat in self._flying]
        bound = {seat: wave_of(seat) for seat in sorted(self._ready) if seat not in self._flying}
        others: dict[int, list[int]] = {}
        for seat, wave in bound.items():
            others.setdefault(wave, []).append(seat)
        self._begin_round()
        rate, started, full = self._meter.rate.room if self._meter else room, 0, set[int]()
        for wave, lane in enumerate(self._lanes):
            held, left = holds[wave] is not None or not lane, self._left(wave)
            if left <= 0:
                full.add(wave)
            if held and wave not in others:
                continue
            counted = self._meter is not None and not self._meter.switches(wave)
            most = min(room, left, rate - started) if counted else min(room, left)
            taken = self._take(wave, most, others.get(wave, ()), None if held else lane, may_start)
            room, started = room - len(taken), started + (len(taken) if counted else 0)
            chosen += taken
            if left <= len(taken):
                full.add(wave)
        self._round = Round(frozenset(chosen), room, rate - started, started, frozenset(full), bound)
        return sorted(chosen)

    def _begin_round(self) -> None:
        if self._meter is None:
            return
        self._meter.end()
        for key in self._meter.stirred():
            for lane in self._lanes:
                lane.wake(key)

    def _left(self, wave: int) -> int:
        """Return how many more of a wave may be in flight, by its own limit."""
        most = self._waves[wave].max_unavailable
        return _ALL if most is None or self._meter is None else most - self._flying_in[wave]

    def _take(self, wave: int, room: int, bound: Iterable[int], lane: Lane | None, may_start: MayStart) -> list[int]:
        """Return who of a wave starts: the first `room` whom nothing holds alone."""
        chosen: list[int] = []
        if room <= 0:
            return chosen
        candidates: Iterator[int] = lane.candidates(may_start) if lane is not None else iter(())
        for seat in merge(bound, candidates):
            key = self._meter.key(seat, wave) if self._meter is not None else None
            if key is None:
                chosen.append(seat)
                if self._meter is not None:
                    self._meter.take(seat)
            elif lane is not None and seat in lane.taken:
                self._park(seat, wave, lane, key)
            if lane is not None:
                lane.follow(seat, but=key)
            if len(chosen) >= room:
                break
        if lane is not None:
            lane.restore()
        return chosen

    def _park(self, seat: int, wave: int, lane: Lane, key: Key) -> None:
        until = self._meter.until(key, wave) if self._meter is not None else None
        lane.park(seat, key, until)
        if until is not None:
            self._timed.add(wave)

    # -- what holds those who were not chosen --------------------------------------------------------------------------

    def held(self, seat: int, wave: int) -> Held | None:
        """Return which limit holds a candidate in the present round; None for who was chosen, or without a round."""
        now, meter = self._round, self._meter
        if now is None or meter is None or seat in now.chosen:
            return None
        flying = len(self._flying) + sum(1 for one in now.chosen if one not in self._flying)
        if now.room <= 0:
            return Held("maxConcurrent", f"{flying} of {meter.limits.max_concurrent} are in flight")
        if now.rate <= 0 and not meter.switches(wave):
            return Held(meter.rate.name, f"{meter.rate.per_minute} per minute", meter.rate.until(now.started))
        if wave in now.full:
            return Held(
                "maxUnavailable", f"{self._waves[wave].max_unavailable} of {self._waves[wave].name} are in flight"
            )
        key = meter.key(seat, wave)
        return meter.held(seat, wave, key) if key is not None else None

    def lines(self, holds: Holds, pending: int) -> tuple[LimitLine, ...]:
        """Return what limits hold in the present round; `pending` could start, those chosen among them."""
        now, meter = self._round, self._meter
        if now is None or meter is None:
            return ()
        parked: Counter[Key] = Counter()
        for lane, hold in zip(self._lanes, holds, strict=True):
            parked += lane.parked if hold is None else Counter()
        waiting = pending - sum(1 for seat in now.chosen if seat not in self._flying) - parked.total()
        found: list[LimitLine] = []
        if now.room <= 0:
            found.append(LimitLine("maxConcurrent", meter.value("maxConcurrent"), waiting))
        elif now.rate <= 0:
            name = meter.rate.name
            found.append(LimitLine(name, meter.value(name), waiting, until=meter.rate.until(now.started)))
        elif now.full:
            found.append(LimitLine("maxUnavailable", "of a wave", waiting))
        return tuple(line for line in (*found, *meter.lines(parked)) if line.waiting > 0)

    def is_bound(self, seat: int) -> bool:
        """Say whether a device could start with the order that it has, in the present round."""
        return self._round is not None and seat in self._round.bound

    def _limits_end(self, holds: Holds, may_start: MayStart) -> datetime | None:
        """Return when time alone lets the next one start whom a limit holds."""
        now, meter = self._round, self._meter
        if now is None or meter is None or now.room <= 0:
            return None
        waves = [wave for wave, hold in enumerate(holds) if hold is None]
        bound = {seat: wave for seat, wave in now.bound.items() if seat not in now.chosen}
        ends: list[datetime | None] = []
        if now.rate <= 0:
            counted = [wave for wave in waves if not meter.switches(wave)]
            waits = any(not meter.switches(wave) for wave in bound.values())
            if waits or any(self._lanes[wave].has(may_start, now.chosen) for wave in counted):
                ends.append(meter.rate.until(now.started))
        known = [wave for wave in waves if wave not in now.full and (now.rate > 0 or meter.switches(wave))]
        ends += [self._lanes[wave].next_alarm() for wave in known]
        for seat, wave in bound.items():
            asked = wave not in now.full and (now.rate > 0 or meter.switches(wave))
            key = meter.key(seat, wave) if asked else None
            ends += [meter.until(key, wave)] if key is not None else []
        return min((end for end in ends if end is not None), default=None)

    def _fly(self, seat: int, wave: int, *, wanted: bool) -> None:
        if wanted and seat not in self._flying:
            self._flying[seat] = wave
            self._flying_in[wave] += 1
        elif not wanted and self._flying.pop(seat, None) is not None:
            self._flying_in[wave] -= 1


_ALL = 1 << 40
"""more than any wave has"""
