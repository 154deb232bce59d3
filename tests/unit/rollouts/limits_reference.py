"""Limits in their plainest form, counted over everybody anew in each round: what the kept counts must agree with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fwctl.manifests.scalars import Amount
from fwctl.rollouts.limits.meter import Held
from fwctl.rollouts.limits.places import place_name
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.standing import Standing, Verdict, judge
from fwctl.rollouts.view import RolloutView
from fwctl.rollouts.windows.calendar import UNKNOWN, calendar


@dataclass
class World:
    """A rollout and who is chosen in this round so far."""

    plan: Plan
    rollout: RolloutView
    now: datetime
    dropped: frozenset[str]
    chosen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        members = [device for wave in self.plan.all_waves for device in wave.devices]
        self.members = members
        self.verdicts = {one: self.verdict(one) for one in members}
        live = [one for one in members if one not in self.dropped]
        # who waits for its wave is only looked at
        begun = [one for one in live if self.plan.wave_of[one].name in self.rollout.waves]
        self.starting = {one for one in begun if one in self.rollout.visiting and _may_begin(self.verdicts[one])}
        self.flying = {one for one in live if self.verdicts[one].holds_place} | self.starting

    def verdict(self, device: str) -> Verdict:
        at = self.rollout.waves.get(self.plan.wave_of[device].name)
        switched = at is not None and at.switched
        return judge(self.plan, self.rollout.devices.get(device), self.now, switched=switched)

    def started_at(self, device: str) -> datetime | None:
        view = self.rollout.devices.get(device)
        return view.started_at if view is not None and device not in self.dropped else None

    def waves_of(self, device: str) -> str:
        return self.plan.wave_of[device].name

    # -- the rate

    def per_minute(self) -> int:
        limits = self.plan.limits
        if limits.ramp is None:
            return limits.max_per_minute
        started = [one for one in self.members if self.started_at(one)]
        reached = [one for one in started if self.verdicts[one].state == "reached"]
        every = limits.ramp.increase_every
        steps = len(reached) // every.reached if every.reached else len(started) // (every.started or 1)
        return min(limits.max_per_minute, int(limits.ramp.base_per_minute * limits.ramp.factor ** min(steps, 60)))

    def within(self, seconds: int) -> tuple[set[str], list[datetime]]:
        """Return who was started within so many seconds or is being started, and when each known one is over."""
        ends = {one: at + timedelta(seconds=seconds) for one in self.members if (at := self.started_at(one))}
        live = {one: end for one, end in ends.items() if end > self.now}
        return {*live, *self.starting}, list(live.values())

    def rate(self, chosen: int) -> tuple[int, datetime | None]:
        rate, rooms, ends = self.per_minute(), [], []
        for seconds, most in ((60, rate), (6, max(1, rate // 10))):
            who, known = self.within(seconds)
            rooms.append(most - len(who) - chosen)
            if rooms[-1] <= 0:
                ends.append(min(known, default=None))
        until = max((end for end in ends if end), default=None) if None not in ends else None
        return min(rooms), until

    # -- places

    def place(self, device: str) -> str:
        disruption = self.plan.limits.disruption
        return place_name(disruption.group_by if disruption else (), self.plan.profile(device))

    def site(self, device: str) -> str:
        return place_name(("site",), self.plan.profile(device))

    def most(self, place: str) -> int:
        disruption = self.plan.limits.disruption
        most = disruption.max_unavailable if disruption else Amount(1, "devices")
        size = sum(1 for one in self.members if self.place(one) == place)
        return most.value if most.unit == "devices" else size * most.value // 100

    def disruption(self, device: str) -> Held | None:
        if self.plan.limits.disruption is None:
            return None
        place = self.place(device)
        flying = {one for one in {*self.flying, *self.chosen} if self.place(one) == place}
        away = {one for one in self.rollout.down_elsewhere if self.place(one) == place}
        for one in self.members:
            view = self.rollout.devices.get(one)
            silent = view is not None and view.unreachable_since and not view.quarantined
            if silent and one not in self.dropped and self.place(one) == place:
                away.add(one)
        most, down = self.most(place), flying | away
        if len(flying) < most and (device in down or len(down) < most):
            return None
        some = [f"{_some(down - away)} in flight"] if down - away else []
        some += [f"{_some(away)} offline or busy elsewhere"] if away else []
        words = f"{place} has {len(down)} of at most {most} out of service: {'; '.join(some)}"
        return Held("disruption", words)

    def traffic(self, device: str) -> Held | None:
        allowed, site = self.plan.limits.bytes_per_minute_per_site, self.site(device)
        if allowed is None:
            return None
        size = max(release.length for release in (*self.plan.stops, self.plan.release))
        span = timedelta(seconds=max(60, -(-60 * size // allowed)))
        here = [one for one in self.members if self.site(one) == site]
        ends = {one: at + span for one in here if (at := self.started_at(one)) and at + span > self.now}
        live = len({*ends, *(one for one in here if one in self.starting)})
        live += sum(1 for one in self.chosen if self.site(one) == site)
        if live == 0 or (live + 1) * size <= allowed:
            return None
        words = f"{site} is being sent {live} image{'s' if live != 1 else ''}"
        return Held("bytesPerMinutePerSite", words, min(ends.values(), default=None))

    def jitter(self, device: str) -> Held | None:
        wave, most = self.plan.wave_of[device], self.plan.limits.jitter
        view = self.rollout.waves.get(wave.name)
        if not most or view is None or view.opened_at is None:
            return None
        name = f"fwctl-jitter\0{self.plan.repo_id}\0{self.plan.key}\0{device}".encode()
        part = int.from_bytes(hashlib.sha256(name).digest()[:8], "big") * most // 2**64
        moment = view.opened_at + timedelta(seconds=part)
        words = f"its lot of {most} s is {part} s after {wave.name} opened"
        return Held("jitter", words, moment) if self.now < moment else None


def choose(
    world: World, standings: Mapping[str, Standing], flying: set[str], room: int
) -> tuple[list[str], dict[str, Standing]]:
    """Return who starts of those that may, in order, and the others with the limits that hold them."""
    plan = world.plan
    waiting = [
        one.device
        for one in standings.values()
        if one.due is not None and one.due <= world.now and one.device not in {*world.rollout.visiting, *flying}
    ]
    told, limit, chosen_rate = dict(standings), plan.limits.max_concurrent, 0

    def held(device: str) -> Held | None:
        wave = plan.wave_of[device]
        switching = getattr(world.rollout.waves.get(wave.name), "state", "") == "switching"
        if room - len(world.chosen) <= 0:
            return Held("maxConcurrent", f"{len(flying) + len(world.chosen)} of {limit} are in flight")
        left, until = world.rate(chosen_rate)
        if left <= 0 and not switching:
            rate = world.per_minute()
            name = "ramp" if rate < plan.limits.max_per_minute else "maxPerMinute"
            return Held("ramp" if name == "ramp" else "maxPerMinute", f"{rate} per minute", until)
        most, busy = wave.max_unavailable, [one for one in {*flying, *world.chosen} if plan.wave_of[one] is wave]
        if most is not None and len(busy) >= most:
            return Held("maxUnavailable", f"{most} of {wave.name} are in flight")
        if (found := calendar(plan, wave)) is not None and found.local:
            zone = getattr(plan.profile(device), "time_zone", None) or UNKNOWN
            if (closed := found.closed(world.now, zone)) is not None:
                return Held("window", closed.reason, closed.opens)
        return None if switching else world.jitter(device) or world.disruption(device) or world.traffic(device)

    for device in waiting:
        if held(device) is None:
            world.chosen.append(device)
            switching = getattr(world.rollout.waves.get(world.waves_of(device)), "state", "") == "switching"
            chosen_rate += 0 if switching else 1
    for device in waiting:
        if device not in world.chosen and (why := held(device)) is not None:
            told[device] = why.on(standings[device])
    return world.chosen, told


def _may_begin(verdict: Verdict) -> bool:
    begins = verdict.state in ("pending", "retry", "straggler")
    return begins and not verdict.holds_place and not verdict.quarantine


def _some(devices: set[str]) -> str:
    found = sorted(devices)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
