"""Which limit holds a device that may start: rate and ramp, jitter, places, bytes per site. Pure, and kept up to date.

What is counted comes from the views of devices, so it is the same after a restart. Limits hold devices that have not
begun; what is under way, and every way back, ignores them. The questions about a single device stand in a fixed order;
the first answer is the one that is told.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from fwctl.rollouts.limits.places import Outages, Places, Traffic
from fwctl.rollouts.limits.rates import MINUTE, Rate
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.queues import Key, KeyName
from fwctl.rollouts.standing import Standing, Verdict
from fwctl.rollouts.view import DeviceView, RolloutView, WaveView
from fwctl.rollouts.windows.calendar import UNKNOWN, Closed, calendar, device_window

PLACES: Final[Mapping[str, str]] = {"disruption": "place", "bytesPerMinutePerSite": "site"}
MAY_BEGIN: Final = ("pending", "retry", "straggler")

LimitName = Literal[
    "maxConcurrent",
    "maxPerMinute",
    "ramp",
    "maxUnavailable",
    "window",
    "jitter",
    "disruption",
    "bytesPerMinutePerSite",
]


@dataclass(frozen=True, slots=True)
class Held:
    """Which limit keeps a device from starting, and until when, where that is known."""

    limit: LimitName
    words: str
    until: datetime | None = None

    def on(self, standing: Standing) -> Standing:
        """Return where a device stands that may start but for this limit."""
        when = f" until {self.until:%Y-%m-%d %H:%M:%SZ}" if self.until else ""
        reason = f"{standing.reason}; {self.limit} holds it{when}: {self.words}"
        return replace(standing, reason=reason, due=self.until or standing.due, rule=standing.rule or self.limit)


@dataclass(frozen=True, slots=True)
class LimitLine:
    """How many devices one limit holds now."""

    limit: LimitName
    value: str
    waiting: int
    note: str = ""
    until: datetime | None = None


class Meter:
    """The limits of one rollout that goes forward, counted over its devices by their places in the plan."""

    def __init__(self, plan: Plan, members: Sequence[str]) -> None:
        """`members` are the devices of all waves, in order."""
        limits = plan.limits
        self.limits = limits
        self._plan, self._waves, self._members = plan, plan.all_waves, members
        self.rate = Rate(limits)
        self._jitter = limits.jitter
        self._opened: dict[int, datetime] = {}
        self._switching: frozenset[int] = frozenset()
        self._outages: Outages | None = None
        self._traffic: Traffic | None = None
        if limits.disruption is not None:
            places = Places(limits.disruption.group_by, plan.profile)
            self._outages = Outages(places, self._members, limits.disruption.max_unavailable)
        if limits.bytes_per_minute_per_site is not None:
            sites = Places(("site",), plan.profile)
            # of all releases on the way: then one device's larger image cannot wait for ever behind smaller ones
            size = max(release.length for release in (*plan.stops, plan.release))
            allowed = limits.bytes_per_minute_per_site
            self._traffic = Traffic(sites, self._members, per_minute=allowed, size=size)
        windows = ((number, calendar(plan, wave)) for number, wave in enumerate(self._waves))
        self._local = frozenset(number for number, one in windows if one is not None and one.local)
        self._zones: dict[str, int] = {}
        self._named: list[str] = []
        self._shut: dict[tuple[int, str], Closed | None] = {}
        self._now = datetime.min.replace(tzinfo=UTC)

    # -- keeping it up to date -----------------------------------------------------------------------------------------

    def frame(self, rollout: RolloutView) -> None:
        """Take in what holds for whole waves, and who is out of service elsewhere."""
        numbers = {wave.name: number for number, wave in enumerate(self._waves)}
        views = {numbers[name]: view for name, view in rollout.waves.items() if name in numbers}
        self._opened = {number: view.opened_at for number, view in views.items() if view.opened_at is not None}
        self._switching = frozenset(number for number, view in views.items() if _switches(view))
        if self._outages is not None:
            self._outages.elsewhere(rollout.down_elsewhere)

    def since(self, now: datetime) -> datetime:
        """Return the moment until which a start counts for nothing any more."""
        if self.limits.ramp is not None:
            return datetime.min.replace(tzinfo=UTC)
        return now - (MINUTE if self._traffic is None else max(MINUTE, self._traffic.span))

    def note(self, seat: int, device: DeviceView | None, verdict: Verdict, now: datetime, *, visiting: bool) -> None:
        """Take in what is known of a device."""
        starting = visiting and not verdict.holds_place and not verdict.quarantine and verdict.state in MAY_BEGIN
        started_at = device.started_at if device is not None else None
        self.rate.note(seat, started_at, now, starting=starting, reached=verdict.state == "reached")
        if self._traffic is not None:
            self._traffic.note(seat, started_at, now, starting=starting)
        if self._outages is not None:
            away = device is not None and device.unreachable_since is not None and not device.quarantined
            self._outages.note(seat, flying=verdict.holds_place or starting, away=away)

    def tick(self, now: datetime) -> None:
        """Take in that time has gone by."""
        self._now = now
        self._shut.clear()
        self.rate.tick(now)
        if self._traffic is not None:
            self._traffic.tick(now)

    def stirred(self) -> Iterator[Key]:
        """Return, once, what devices may wait for no more."""
        if self._outages is not None:
            places, self._outages.stirred = self._outages.stirred, set()
            yield from (Key("disruption", 2 * place + down) for place in places for down in (0, 1))
        if self._traffic is not None:
            sites, self._traffic.stirred = self._traffic.stirred, set()
            yield from (Key("bytesPerMinutePerSite", site) for site in sites)

    # -- one round -----------------------------------------------------------------------------------------------------

    def switches(self, wave: int) -> bool:
        """Say whether a wave switches all at once: only `maxConcurrent` holds its devices."""
        return wave in self._switching

    def key(self, seat: int, wave: int) -> Key | None:
        """Return what a device that could start waits for; None if nothing holds it alone."""
        if wave in self._local and self._closed(wave, zone := self._zone(seat)) is not None:
            return Key("window", self._number(zone))
        if wave in self._switching:
            return None
        opened = self._opened.get(wave)
        if self._jitter and opened is not None:
            part = self._part(seat)
            if self._now < opened + timedelta(seconds=part):
                return Key("jitter", part)
        if self._outages is not None and not self._outages.may(seat):
            # who is out of service already may go before others of its place
            return Key("disruption", 2 * self._outages.place(seat) + self._outages.is_down(seat))
        if self._traffic is not None and not self._traffic.may(seat):
            return Key("bytesPerMinutePerSite", self._traffic.place(seat))
        return None

    def take(self, seat: int) -> None:
        """Count a device as chosen for the rest of this round."""
        if self._outages is not None:
            self._outages.take(seat)
        if self._traffic is not None:
            self._traffic.take(seat)

    def end(self) -> None:
        """End the round: who was chosen is visited now, or nobody is."""
        if self._outages is not None:
            self._outages.end()
        if self._traffic is not None:
            self._traffic.end()

    def until(self, key: Key, wave: int) -> datetime | None:
        """Return when those who wait for a key may start, where time alone tells."""
        if key.limit == "window":
            closed = self._closed(wave, self._named[key.group])
            return closed.opens if closed else None
        if key.limit == "jitter":
            return self._opened[wave] + timedelta(seconds=key.group)
        return self._traffic.until(key.group) if self._traffic and key.limit == "bytesPerMinutePerSite" else None

    # -- what is told --------------------------------------------------------------------------------------------------

    def held(self, seat: int, wave: int, key: Key) -> Held:
        """Return why a device waits for a key, for people."""
        until = self.until(key, wave)
        match key.limit:
            case "window":
                closed = self._closed(wave, self._named[key.group])
                words = closed.reason if closed else ""
            case "jitter":
                words = f"its lot of {self._jitter} s is {key.group} s after {self._waves[wave].name} opened"
            case "disruption":
                words = self._outages.why(seat) if self._outages else ""
            case "bytesPerMinutePerSite":
                words = self._traffic.why(seat) if self._traffic else ""
        return Held(key.limit, words, until)

    def lines(self, parked: Counter[Key]) -> Iterator[LimitLine]:
        """Yield how many devices wait for each limit about single devices, and for how many places."""
        waiting: Counter[KeyName] = Counter()
        groups: dict[KeyName, set[int]] = {}
        for key, number in parked.items():
            waiting[key.limit] += number
            groups.setdefault(key.limit, set()).add(key.group // 2 if key.limit == "disruption" else key.group)
        for limit in sorted(waiting):
            of = PLACES.get(limit, "")
            number = len(groups[limit])
            note = f"{number:,} {of}{'s are' if number != 1 else ' is'} full" if of else ""
            yield LimitLine(limit, self.value(limit), waiting[limit], note)

    def value(self, limit: str) -> str:
        """Return what the manifest says of a limit."""
        limits = self.limits
        known: Mapping[str, object] = {
            "maxConcurrent": limits.max_concurrent,
            "maxPerMinute": limits.max_per_minute,
            "ramp": f"{self.rate.per_minute} of {limits.max_per_minute} per minute",
            "jitter": f"{limits.jitter} s",
            "window": "in each device's own zone",
            "disruption": limits.disruption
            and f"{limits.disruption.max_unavailable} per {', '.join(limits.disruption.group_by)}",
            "bytesPerMinutePerSite": f"{limits.bytes_per_minute_per_site} bytes",
        }
        return str(known.get(limit, ""))

    def _zone(self, seat: int) -> str:
        profile = self._plan.profile(self._members[seat])
        return (profile.time_zone if profile is not None else None) or UNKNOWN

    def _number(self, zone: str) -> int:
        if zone not in self._zones:
            self._zones[zone] = len(self._named)
            self._named.append(zone)
        return self._zones[zone]

    def _closed(self, wave: int, zone: str) -> Closed | None:
        """Return why devices of a zone may not start now; found once for each moment."""
        if (wave, zone) not in self._shut:
            self._shut[wave, zone] = device_window(self._plan, self._waves[wave], zone, self._now)
        return self._shut[wave, zone]

    def _part(self, seat: int) -> int:
        """Return how many seconds after its wave opened a device starts: from a hash, so that it stays so."""
        name = f"{self._plan.repo_id}\0{self._plan.key}\0{self._members[seat]}".encode()
        lot = int.from_bytes(hashlib.sha256(b"fwctl-jitter\0" + name).digest()[:8], "big")
        return lot * self._jitter >> 64


def _switches(view: WaveView) -> bool:
    return view.state == "switching"
