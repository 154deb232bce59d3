"""When devices may start. A window holds who has not begun; what is under way is never interrupted. Pure.

Allowed spans join, denied ones win. Of several windows all must be open. A span in the zone `device` is judged in the
zone of each device, in UTC for one that has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfoNotFoundError

from fwctl.manifests.models.rollout_parts import Span, Window
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.windows.recurring import Interval, complement, occurrences, union, zone_of

AHEAD = timedelta(days=4 * 366)
"""a change that lies further ahead is not looked for: every date of the calendar comes before that"""
NEAR = timedelta(days=8)
"""as far as is looked where it is enough that nothing changes so soon"""
DEVICE = "device"
UNKNOWN = "UTC"
"""the zone of a device that has none"""


@dataclass(frozen=True, slots=True)
class Closed:
    """Why nothing may start now, and when that ends; `opens` is None if it does not within four years."""

    reason: str
    opens: datetime | None


@dataclass(frozen=True, slots=True)
class Phase:
    """Open or not, since some moment and until another one; None if there is none in sight."""

    is_open: bool
    since: datetime
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        """Say whether it is this one now."""
        return self.since <= now and (self.until is None or now < self.until)


class Calendar:
    """One or more windows that must all be open. What it found is kept for each zone until it ends."""

    def __init__(self, *windows: Window) -> None:
        self.windows = windows
        spans = [span for window in windows for span in (*window.allow, *window.deny)]
        self.zones = tuple(dict.fromkeys(span.time_zone for span in spans))
        self._phases: dict[str, Phase] = {}
        self._open: dict[str, Phase] = {}

    @property
    def local(self) -> bool:
        """Say whether it depends on the zone of the device."""
        return DEVICE in self.zones

    @property
    def home(self) -> str:
        """The zone that its times are told in, where no device is asked about: a region's own before the rollout's."""
        spans = [span for window in reversed(self.windows) for span in (*window.allow, *window.deny)]
        return next((span.time_zone for span in spans if span.time_zone != DEVICE), UNKNOWN)

    def open_at(self, now: datetime, zone: str = UNKNOWN) -> bool:
        """Say whether devices of a zone may start."""
        return self.lasting(now, zone).is_open

    def phase(self, now: datetime, zone: str = UNKNOWN) -> Phase:
        """Return whether it is open, and until when that lasts."""
        zone = known_zone(zone) if self.local else UNKNOWN
        known = self._phases.get(zone)
        if known is None or not known.holds(now):
            known = self._phases[zone] = self._find(now, zone)
        return known

    def lasting(self, now: datetime, zone: str = UNKNOWN) -> Phase:
        """Return whether it is open, and until when that lasts at least: to be asked again then.

        With many zones this is asked of each in every pass, and one that is open for years is long to look through.
        """
        key = known_zone(zone) if self.local else UNKNOWN
        known = self._phases.get(key)
        if known is None or not known.holds(now):
            known = self._open.get(key)
        if known is None or not known.holds(now):
            first = next(self.between(now, now + NEAR, key), None)
            if first is None or first.begin > now:
                return self.phase(now, zone)
            known = self._open[key] = Phase(is_open=True, since=now, until=first.end)
        return known

    def spans(self, now: datetime, zone: str = UNKNOWN, count: int = 5) -> list[Interval]:
        """Return the next spans in which it is open; the first begins at `now` where it is open already."""
        return list(islice(self.between(now, now + AHEAD, zone), count))

    def between(self, since: datetime, until: datetime, zone: str = UNKNOWN) -> Iterator[Interval]:
        """Yield when it is open between two moments, in order."""
        shut = [complement(self._one(window, since, until, zone), since, until) for window in self.windows]
        return complement(union(shut, since, until), since, until)

    def _one(self, window: Window, since: datetime, until: datetime, zone: str) -> Iterator[Interval]:
        deny = self._any(window.deny, since, until, zone)
        if not window.allow:
            return complement(deny, since, until)
        shut = complement(self._any(window.allow, since, until, zone), since, until)
        return complement(union((shut, deny), since, until), since, until)

    def _any(self, spans: Sequence[Span], since: datetime, until: datetime, zone: str) -> Iterator[Interval]:
        each = (occurrences(one, zone if one.time_zone == DEVICE else one.time_zone, since, until) for one in spans)
        return union(each, since, until)

    def _find(self, now: datetime, zone: str) -> Phase:
        first = next(self.between(now, now + AHEAD, zone), None)
        if first is None:
            return Phase(is_open=False, since=now, until=None)
        is_open = first.begin <= now
        until = first.end if is_open else first.begin
        return Phase(is_open, now, until if until < now + AHEAD else None)

    def closed(self, now: datetime, zone: str = UNKNOWN) -> Closed | None:
        """Return why devices of a zone may not start now; None if they may."""
        phase = self.lasting(now, zone)
        if phase.is_open:
            return None
        told = known_zone(zone) if self.local else self.home
        opens = f"opens {local(phase.until, told)}" if phase.until else "does not open within four years"
        return Closed(f"outside its window; {opens}", phase.until)


@lru_cache(maxsize=4096)
def known_zone(name: str) -> str:
    """Return the name of a zone, and that of UTC for one that is not known."""
    try:
        return zone_of(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UNKNOWN


def local(moment: datetime, zone: str) -> str:
    """Return a moment as people of a zone write it: with the day of the week and the zone's short name."""
    return f"{moment.astimezone(zone_of(zone)):%a %Y-%m-%d %H:%M %Z}"


# -- the windows of a plan ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def calendar_of(*windows: Window | None) -> Calendar | None:
    """Return the calendar of the windows that there are; None if there is none."""
    given = tuple(dict.fromkeys(window for window in windows if window is not None))
    return Calendar(*given) if given else None


def calendar(plan: Plan, wave: Wave) -> Calendar | None:
    """Return when devices of a wave may start: within the rollout's window, and within that of its region."""
    return calendar_of(plan.spec.window, wave.window)


def shut(plan: Plan, wave: Wave, now: datetime) -> Closed | None:
    """Return why nobody of a wave may start; None if they may, or if that depends on the device."""
    found = calendar(plan, wave)
    return found.closed(now) if found is not None and not found.local else None


def device_window(plan: Plan, wave: Wave, zone: str | None, now: datetime) -> Closed | None:
    """Return why a device in a zone may not start; None if it may."""
    found = calendar(plan, wave)
    return found.closed(now, zone or UNKNOWN) if found is not None else None


def device_closed(plan: Plan, device: str, now: datetime) -> Closed | None:
    """Return why a member of a plan may not start; None if it may."""
    profile = plan.profile(device)
    return device_window(plan, plan.wave_of[device], profile.time_zone if profile is not None else None, now)


def next_change(plan: Plan, now: datetime) -> datetime | None:
    """Return when a window of one of the waves opens or closes next, for any of the devices.

    Of one that is open for longer than `NEAR`, a moment by which to ask again.
    """
    found = {id(one): one for wave in plan.all_waves if (one := calendar(plan, wave)) is not None}
    asked = [(one, zone) for one in found.values() for zone in (_zones(plan) if one.local else (UNKNOWN,))]
    moments = (one.lasting(now, zone).until for one, zone in asked)
    return min((moment for moment in moments if moment is not None), default=None)


def _zones(plan: Plan) -> frozenset[str]:
    return frozenset(known_zone(zone or UNKNOWN) for zone in plan.zones)
