"""Limits over whole rollouts in virtual time: they are kept in every round, and in the end everybody has started."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.manifests.table import Profile
from fwctl.rollouts.actions import Finish, MoveWave, Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import Decision, decide_on
from fwctl.rollouts.limits.places import share_of
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, OpenOrder, RolloutView, WaveView
from tests.unit.rollouts.fleets import NOW, plan_of

SITES = ("berlin", "oslo", "rome")


@dataclass
class Fleet:
    """Devices that take an order when they are visited, work for a while, and run the firmware; some are away."""

    plan: Plan
    chance: random.Random
    now: datetime = NOW
    devices: dict[str, DeviceView] = field(default_factory=dict)
    waves: dict[str, WaveView] = field(default_factory=dict)
    visiting: dict[str, datetime] = field(default_factory=dict)
    works: dict[str, datetime] = field(default_factory=dict)
    back_at: dict[str, datetime] = field(default_factory=dict)
    starts: list[tuple[datetime, str]] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    finished: bool = False

    def __post_init__(self) -> None:
        self.board = Board(self.plan)

    def away(self, device: str, seconds: int) -> None:
        self.back_at[device] = self.now + timedelta(seconds=seconds)
        self.devices[device] = DeviceView(id=device, unreachable_since=self.now, misses=1, due_at=self.now)
        self.changed.add(device)

    def site(self, device: str) -> str:
        profile = self.plan.profile(device)
        return str(profile.site) if profile else ""

    def round(self) -> Decision:
        self._answer()
        view = RolloutView(approved_stage=9, waves=self.waves, visiting=frozenset(self.visiting), devices=self.devices)
        self.board.update(view, self.changed, self.now)
        self.changed = set()
        decision = decide_on(self.board)
        for action in decision.actions:
            if isinstance(action, Visit):
                self.visiting[action.device] = self.now + timedelta(seconds=self.chance.randint(0, 3))
            elif isinstance(action, MoveWave):
                old = self.waves.get(action.wave)
                opened = old.opened_at if old else self.now
                self.waves = {**self.waves, action.wave: WaveView(action.state, action.reason, None, opened)}
            elif isinstance(action, Finish):
                self.finished = True
        return decision

    def _answer(self) -> None:
        for device, end in self.back_at.items():
            if end <= self.now and self.devices[device].unreachable_since is not None:  # the sweep finds it
                self.devices[device] = replace(self.devices[device], unreachable_since=None, misses=0, due_at=None)
                self.changed.add(device)
        for device, end in [*self.visiting.items()]:
            if end <= self.now:
                del self.visiting[device]
                self.changed.add(device)
                self._visited(device)
        for device, end in [*self.works.items()]:
            if end <= self.now:
                del self.works[device]
                self.changed.add(device)
                old, digest = self.devices[device], self.plan.release.digest
                self.devices[device] = replace(old, order=None, running=digest, by_mandate=True, confirmed=True)

    def _visited(self, device: str) -> None:
        if self.back_at.get(device, self.now) > self.now:
            due = self.now + timedelta(seconds=20)
            self.devices[device] = replace(self.devices[device], due_at=due, misses=9)
        elif device not in self.works and not (device in self.devices and self.devices[device].confirmed):
            self.starts.append((self.now, device))
            order = OpenOrder(device, 1, "accepted", self.now, accepted=True)
            self.works[device] = self.now + timedelta(seconds=self.chance.randint(1, 40))
            due = self.works[device]
            self.devices[device] = DeviceView(
                id=device,
                attempts=1,
                order=order,
                install=device,
                started_at=self.now,
                due_at=due,
                observed_at=self.now,
            )

    def in_flight(self) -> set[str]:
        begun = {device for device, view in self.devices.items() if view.order is not None}
        return begun | {device for device in self.visiting if device not in begun and not self._done(device)}

    def _done(self, device: str) -> bool:
        return device in self.devices and self.devices[device].confirmed

    def run(self, most: int = 4000) -> None:
        """Go on until the rollout is complete: from each moment that was told, or from the next answer."""
        for _ in range(most):
            decision = self.round()
            self.check()
            if self.finished:
                return
            answers = [*self.visiting.values(), *self.works.values()]
            back = [end for end in self.back_at.values() if end > self.now]
            told = [decision.next_due] if decision.next_due else []
            step = self.now if any(not isinstance(one, Visit) for one in decision.actions) else None
            moments = [moment for moment in (*answers, *told, *back) if moment > self.now]
            moments += [self.now + timedelta(seconds=1)] if any(moment <= self.now for moment in answers) else []
            assert step or moments, f"nobody says when to go on; {Counter(one.reason for one in self.board.values())}"
            self.now = step or min(moments)
        raise AssertionError(f"not complete by {self.now}: {Counter(one.reason for one in self.board.values())}")

    def check(self) -> None:
        limits, flying = self.plan.limits, self.in_flight()
        assert len(flying) <= limits.max_concurrent
        for seconds, most in ((60, limits.max_per_minute), (6, max(1, limits.max_per_minute // 10))):
            since = self.now - timedelta(seconds=seconds)
            assert len({device for at, device in self.starts if at > since}) <= most
        if limits.disruption is not None:
            sizes = Counter(map(self.site, self.plan.members))
            for site, number in Counter(map(self.site, flying)).items():
                assert number <= share_of(limits.disruption.max_unavailable, sizes[site])
        if limits.bytes_per_minute_per_site is not None:
            since, size = self.now - timedelta(seconds=60), self.plan.release.length
            for number in Counter(self.site(device) for at, device in self.starts if at > since).values():
                assert number * size <= max(limits.bytes_per_minute_per_site, size)


LIMITS = (
    "maxPerMinute: 13",
    "ramp: {basePerMinute: 3, increaseEvery: {started: 4}}",
    "jitter: 50s",
    "disruption: {groupBy: [site], maxUnavailable: 1}",
    "disruption: {groupBy: [site], maxUnavailable: 40%}",
    "bytesPerMinutePerSite: 25B",
    "bytesPerMinutePerSite: 7B",
)


def fleet(seed: int, limits: list[str], devices: int = 24) -> Fleet:
    chance = random.Random(seed)
    spec = ["strategy: {type: Canary, initialPercentage: 20, increments: [60, 100], soak: 0s}"]
    plan = plan_of([f"d{number:02}" for number in range(devices)], [*spec, f"limits: {{{', '.join(limits)}}}"])
    at = {site: Profile("sensor-v1", "rev-a", "dev", site=site) for site in SITES}
    of = {device: at[SITES[number % 3]] for number, device in enumerate(sorted(plan.members))}
    return Fleet(replace(plan, profile=of.get), chance)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(LIMITS), max_size=4, unique_by=lambda one: one.split(":")[0]))
def test_limits_are_kept_in_every_round_and_everybody_starts_in_the_end(seed: int, limits: list[str]) -> None:
    world = fleet(seed, [f"maxConcurrent: {1 + seed % 9}", *limits])
    for device in world.chance.sample(world.plan.members, 4):
        world.away(device, world.chance.choice([5, 100, 900]))
    world.run()
    assert {device for _, device in world.starts} >= set(world.plan.members) - set(world.back_at)


def test_who_is_offline_counts_against_the_others_of_its_place_and_is_visited_itself() -> None:
    world = fleet(1, ["disruption: {groupBy: [site], maxUnavailable: 1}"], devices=6)
    plan = replace(world.plan, waves=(replace(world.plan.waves[-1], devices=world.plan.members),))
    world = Fleet(plan, random.Random(1), waves={plan.waves[0].name: WaveView("open", opened_at=NOW)})
    world.away("d00", 3600)
    visited = {action.device for action in world.round().actions if isinstance(action, Visit)}
    assert visited == {"d00", "d01", "d02"}, "one of each site; of berlin the one that is away already"
    assert world.board["d03"].state == "pending"
    assert world.board["d03"].reason == (
        "may start; disruption holds it: site berlin has 1 of at most 1 out of service: d00 offline or busy elsewhere"
    )
    (line,) = world.board.limits()
    assert (line.limit, line.value, line.waiting, line.note) == ("disruption", "1 per site", 3, "3 places are full")


def test_a_rate_lets_a_tenth_of_a_minute_go_at_once_and_says_when_the_next_may() -> None:
    world = fleet(1, ["maxPerMinute: 30"])
    world.waves = {wave.name: WaveView("open", opened_at=NOW) for wave in world.plan.waves}
    world.round()
    assert len(world.visiting) == 3
    world.now += timedelta(seconds=3)
    decision = world.round()
    assert len(world.starts) == 3
    assert decision.soon(world.now) == world.now + timedelta(seconds=6)
    (line,) = world.board.limits()
    assert (line.limit, line.waiting, line.until) == ("maxPerMinute", 21, world.now + timedelta(seconds=6))


@pytest.mark.parametrize(("started", "rate"), [(0, 2), (4, 4), (8, 8), (40, 20)])
def test_a_ramp_rises_by_its_factor_up_to_the_rate(started: int, rate: int) -> None:
    world = fleet(1, ["maxPerMinute: 20", "ramp: {basePerMinute: 2, factor: 2, increaseEvery: {started: 4}}"], 60)
    long_ago = NOW - timedelta(hours=1)
    digest = world.plan.release.digest
    for device in world.plan.members[:started]:
        world.devices[device] = DeviceView(id=device, started_at=long_ago, running=digest, confirmed=True)
    world.waves = {wave.name: WaveView("open", opened_at=NOW) for wave in world.plan.waves}
    world.changed = set(world.devices)
    while not world.visiting:
        world.round()
    assert len(world.visiting) == max(1, rate // 10)


def test_the_same_limits_hold_after_a_restart() -> None:
    world = fleet(3, ["maxPerMinute: 30", "bytesPerMinutePerSite: 25B"])
    for _ in range(12):
        world.round()
        world.now += timedelta(seconds=1)
    again = Board(world.plan)
    view = RolloutView(approved_stage=9, waves=world.waves, visiting=frozenset(world.visiting), devices=world.devices)
    again.update(view, None, world.now)
    world.board.update(view, world.changed, world.now)
    assert decide_on(again).actions == decide_on(world.board).actions
