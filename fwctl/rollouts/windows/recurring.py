"""Spans of time that recur by a cron expression in a time zone, as sorted half-open intervals in UTC. Pure.

`cronsim` reads the expression and knows its days; here its times become moments, as Debian's cron has it. A time that
the clock skips is taken at the first minute after the skip, and one that comes twice is taken the first time. An
expression whose minute or hour begins with `*` follows the clock instead: what is skipped does not happen, what comes
twice happens twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from heapq import merge
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from fwctl.manifests.models.rollout_parts import Span

LONGEST = timedelta(days=366)
"""of one span; validation refuses a longer one"""
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


class Interval(NamedTuple):
    """From `begin` on, until just before `end`."""

    begin: datetime
    end: datetime


class Cron:
    """The days and the times of day of an expression; none where it names a day that does not exist."""

    def __init__(self, expression: str) -> None:
        self.follows_clock = any(field.startswith("*") for field in expression.split()[:2])
        self.minutes: tuple[int, ...] = ()
        """of the day, at which it fires on its days"""
        try:
            self._sim = CronSim(expression, datetime(2024, 1, 1))  # noqa: DTZ001  only its fields are used
        except CronSimError:
            return
        sim = self._sim
        self.minutes = tuple(hour * 60 + minute for hour in sorted(sim.hours) for minute in sorted(sim.minutes))

    def on(self, day: date) -> bool:
        """Say whether it fires on a day."""
        return bool(self.minutes) and day.month in self._sim.months and self._sim.match_day(day)


@lru_cache(maxsize=512)
def cron_of(expression: str) -> Cron:
    """Return the expression, read once."""
    return Cron(expression)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """Return a zone of the IANA database.

    Raises:
        ZoneInfoNotFoundError: it has no such zone.
    """
    return ZoneInfo(name)


def occurrences(span: Span, zone: str, since: datetime, until: datetime) -> Iterator[Interval]:
    """Yield what a span covers between two moments, in order, joined where it touches; `zone` is where its cron is."""
    return union((_of_days(span, zone_of(zone), since, until),), since, until)


def _of_days(span: Span, zone: ZoneInfo, since: datetime, until: datetime) -> Iterator[Interval]:
    cron, length = cron_of(span.cron), min(timedelta(seconds=span.duration), LONGEST)
    if not cron.minutes or not length:
        return
    day = (since - length).astimezone(zone).date() - _DAY
    last = until.astimezone(zone).date() + _DAY
    runs = _runs(span.cron, length)
    while day <= last:
        if cron.on(day):
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001  the wall's, in whatever zone
            before, after = midnight.replace(tzinfo=zone), (midnight + _DAY).replace(tzinfo=zone)
            if before.utcoffset() == after.utcoffset():
                base = before.astimezone(UTC)
                yield from (Interval(base + begin, base + end) for begin, end in runs)
            else:
                walls = [midnight + minute * _MINUTE for minute in cron.minutes]
                moments = sorted({moment for wall in walls for moment in moments_of(wall, zone, cron.follows_clock)})
                yield from (Interval(moment, moment + length) for moment in moments)
        day += _DAY


@lru_cache(maxsize=512)
def _runs(expression: str, length: timedelta) -> tuple[tuple[timedelta, timedelta], ...]:
    """Return what the times of one day cover, from midnight on, joined where they touch."""
    found: list[tuple[timedelta, timedelta]] = []
    for minute in cron_of(expression).minutes:
        begin = minute * _MINUTE
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], begin + length)
        else:
            found.append((begin, begin + length))
    return tuple(found)


def begins_a_day(span: Span) -> int:
    """Return how often a span begins on one of its days, what touches joined."""
    return len(_runs(span.cron, min(timedelta(seconds=span.duration), LONGEST)))


def moments_of(wall: datetime, zone: ZoneInfo, follows_clock: bool) -> Iterator[datetime]:
    """Yield the moments in UTC that a time on the wall stands for, in a zone whose clock may jump on that day."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        yield first
        if follows_clock and second != first:
            yield second
    elif not follows_clock:
        while first.astimezone(zone).replace(tzinfo=None) != wall:
            wall += _MINUTE
            first = wall.replace(tzinfo=zone).astimezone(UTC)
        yield first


# -- sets of intervals -------------------------------------------------------------------------------------------------


def union(sets: Iterable[Iterable[Interval]], since: datetime, until: datetime) -> Iterator[Interval]:
    """Yield what any of the sets covers between two moments; each is sorted by its beginnings, and may overlap."""
    begin: datetime | None = None
    end = since
    for one in merge(*sets):
        if one.begin >= until:
            break
        if one.end <= since:
            continue
        if begin is not None and one.begin <= end:
            end = max(end, one.end)
            continue
        if begin is not None:
            yield Interval(begin, end)
        begin, end = max(one.begin, since), one.end
    if begin is not None:
        yield Interval(begin, min(end, until))


def complement(of: Iterable[Interval], since: datetime, until: datetime) -> Iterator[Interval]:
    """Yield what a set of disjoint sorted intervals leaves between two moments."""
    at = since
    for one in of:
        if at < one.begin:
            yield Interval(at, one.begin)
        at = one.end
    if at < until:
        yield Interval(at, until)
