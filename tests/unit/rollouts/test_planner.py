"""The planner, all strategies, limits and windows together, against a modelled fleet in virtual time.

What holds whatever happens: waves keep their order, regions and tracks theirs; no more in flight, started per minute or
out of service in one place than allowed; nothing begins outside a window; nobody switches before the staging gate; each
attempt is ordered once; it ends, and then nothing is left to do.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.rollouts.actions import Activate, Finish, MoveWave
from fwctl.rollouts.compile import compile_rollout
from fwctl.rollouts.decide import Decision, decide, next_step
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, WaveView
from tests.unit.rollouts.fleets import KEY, NOW, files, repo_of
from tests.unit.rollouts.test_convergence import OLD, SCOPES, Model

REGIONS, SITES = ("eu", "us", "ap"), 4
CONCURRENT, RATE, PER_SITE = 5, 30, 1
STRATEGIES = (
    "{type: Direct, soak: 2m}",
    "{type: Canary, initialPercentage: 10, increments: [30, 100], soak: 5m}",
    "{type: Rolling, batchSize: 4, soak: 1m}",
    "{type: BlueGreen, soak: 5m, retain: 10m}",
    "{type: Regional, regions: [{name: eu}, {name: us}, {name: ap}], soak: 3m,"
    " inner: {type: Canary, initialPercentage: 20, increments: [100], soak: 1m}}",
    "{type: Regional, order: Parallel, regions: [{name: eu}, {name: us}, {name: ap}], soak: 3m,"
    " inner: {type: Rolling, batchSize: 2, soak: 1m}}",
)
LIMITS = (
    f"maxConcurrent: {CONCURRENT}",
    f"maxConcurrent: {CONCURRENT}, maxPerMinute: {RATE}",
    f"maxConcurrent: {CONCURRENT}, maxPerMinute: {RATE},"
    " ramp: {basePerMinute: 2, factor: 2, increaseEvery: {reached: 3}}",
    f"maxConcurrent: {CONCURRENT}, disruption: {{groupBy: [site], maxUnavailable: {PER_SITE}}}",
    f"maxConcurrent: {CONCURRENT}, jitter: 2m",
    f"maxConcurrent: {CONCURRENT}, bytesPerMinutePerSite: 10B",
)
NIGHT = 'window: {allow: [{cron: "0 1 * * *", duration: 4h, timeZone: Europe/Berlin}]}'
WINDOWS = ("", NIGHT)


def plan_with(count: int, strategy: str, limits: str, window: str, scope: str = "rollout") -> Plan:
    """Return the plan of a fleet over three regions and four sites."""
    spec = [f"strategy: {strategy}", f"limits: {{{limits}}}", f"rollback: {{scope: {scope}}}"]
    made = files(["unused"], [*spec, *([window] if window else [])])
    head = made["devices/all.yaml"].decode().partition("    - ")[0]
    lines = "".join(
        f"    - {{id: d{n:02}, region: {REGIONS[n % len(REGIONS)]}, site: site-{n % SITES}}}\n" for n in range(count)
    )
    repo = repo_of({**made, "devices/all.yaml": (head + lines).encode()})
    return compile_rollout(repo, repo.rollouts[KEY])


@dataclass
class Fleet(Model):
    """A model that holds the planner to what the manifest says, at every single step."""

    starts: list[tuple[datetime, str]] = field(default_factory=list)
    switched: Counter[str] = field(default_factory=Counter)
    known_down: set[str] = field(default_factory=set)
    broken: bool = False
    """whatever gets the firmware is ill as soon as it runs it"""

    def visit(self, device_id: str) -> None:
        before = self.devices.get(device_id, DeviceView(id=device_id, running=OLD))
        # Who vanishes in this very round could not be known when it was decided.
        away = {one for one in self.down() if one in self.known_down or self.devices[one].order} - {device_id}
        if before.waits_to_switch and self.back_since is None:
            self.switch(before)
        else:
            super().visit(device_id)
        after = self.devices[device_id]
        if after.attempts > before.attempts:
            self.began(after, away)
        if after.order is not None and after.order.accepted and not after.staged and self.holds(device_id):
            # It writes the other slot and waits there.
            order = replace(after.order, state="accepted")
            self.devices[device_id] = replace(after, staged=True, order=order, due_at=None)

    def decide(self) -> Decision:
        self.known_down = self.down()
        return super().decide()

    def holds(self, device_id: str) -> bool:
        wave = self.plan.wave_of[device_id]
        view = self.waves.get(wave.name)
        return wave.activation == "hold" and view is not None and not view.switched

    def switch(self, device: DeviceView) -> None:
        """Answer a visit of a device that holds the firmware in its other slot."""
        device = replace(device, observed_at=self.now, unreachable_since=None, misses=0)
        match next_step(self.plan, self.view(), device, self.now):
            case Activate():
                wave = self.waves[self.plan.wave_of[device.id].name]
                assert wave.switched, "it switched before the staging gate"
                self.switched[device.id] += 1
                assert device.order is not None
                device = self.settle(replace(device, staged=False, order=replace(device.order, state="running")))
            case _:
                pass
        self.devices[device.id] = device

    def settle(self, device: DeviceView) -> DeviceView:
        if self.broken and not self.holds(device.id):
            device = super().settle(replace(device, order=device.order))
            return replace(device, running=OLD, by_mandate=False, spent=True, confirmed=False, staged=False)
        return super().settle(device)

    def down(self) -> set[str]:
        """Return who is out of service."""
        return {
            one.id
            for one in self.devices.values()
            if (one.order is not None and not one.waits_to_switch)
            or (one.unreachable_since is not None and not one.quarantined)
        }

    def began(self, device: DeviceView, down: set[str]) -> None:
        """Hold one start to the limits and the window."""
        self.devices[device.id] = replace(device, started_at=self.now)
        self.starts.append((self.now, device.id))
        limits = self.plan.limits
        minute = [when for when, _ in self.starts if self.now - when < timedelta(seconds=60)]
        assert len(minute) <= limits.max_per_minute, "more than maxPerMinute"
        burst = self.waves[self.plan.wave_of[device.id].name].state == "switching"  # it obeys maxConcurrent alone
        if limits.disruption is not None and not burst:
            site = self.site(device.id)
            assert len({one for one in down if self.site(one) == site}) < PER_SITE, f"too many out of service: {site}"
        if limits.jitter:
            opened = self.waves[self.plan.wave_of[device.id].name].opened_at
            assert opened is not None
            assert opened <= self.now
        if self.plan.spec.window is not None:
            assert 1 <= self.now.astimezone(ZoneInfo("Europe/Berlin")).hour < 5, "outside the window"

    def site(self, device: str) -> str | None:
        profile = self.plan.profile(device)
        return profile.site if profile else None

    def move(self, wave: str, action: MoveWave) -> None:
        old = self.waves.get(wave)
        if action.state == "open":
            one = next(one for one in self.plan.waves if one.name == wave)
            track = self.plan.tracks[one.track]
            before = [other.name for other in track[: [other.name for other in track].index(one.name)]]
            assert all(self.waves[name].state == "passed" for name in before), "opened before the one before it passed"
        self.waves[wave] = WaveView(
            action.state,
            action.reason,
            self.now if action.state == "soaking" else (old.soak_since if old else None),
            old.opened_at if old else self.now,
            self.now if action.state in ("passed", "failed") else None,
        )

    def check(self) -> None:
        """I7: no more at work than allowed; who holds the firmware in a slot is not at work."""
        flying = sum(one.order is not None and not one.waits_to_switch for one in self.devices.values())
        assert flying <= self.plan.limits.max_concurrent


def fleet_of(
    count: int, strategy: str, limits: str, window: str, seed: int, trouble: float, scope: str = "rollout"
) -> Fleet:
    return Fleet(plan_with(count, strategy, limits, window, scope), random.Random(seed), trouble)


COUNTS = st.integers(min_value=3, max_value=16)


@settings(deadline=None, max_examples=250)
@given(
    seed=st.integers(),
    trouble=st.sampled_from([0.0, 0.1, 0.3]),
    count=COUNTS,
    strategy=st.sampled_from(STRATEGIES),
    limits=st.sampled_from(LIMITS),
    window=st.sampled_from(WINDOWS),
    crash=st.sampled_from([0.0, 0.3]),
    late=st.sampled_from([0.0, 0.2]),
    scope=st.sampled_from(SCOPES),
)
def test_whatever_happens_limits_hold_and_it_ends(
    *,
    seed: int,
    trouble: float,
    count: int,
    strategy: str,
    limits: str,
    window: str,
    crash: float,
    late: float,
    scope: str,
) -> None:
    fleet = fleet_of(count, strategy, limits, window, seed, trouble, scope)
    fleet.crash, fleet.late = crash, late
    fleet.play()
    for attempts in fleet.installs.values():
        assert attempts == sorted(set(attempts)), "an attempt was ordered twice (I3)"
    again = decide(fleet.plan, fleet.view(), fleet.now + timedelta(seconds=1))
    assert again.actions == (), "running it again changes nothing (I9)"
    if fleet.back_since is not None:
        fleet.check_back()


@settings(deadline=None, max_examples=120)
@given(
    count=COUNTS,
    strategy=st.sampled_from(STRATEGIES),
    limits=st.sampled_from(LIMITS),
    window=st.sampled_from(WINDOWS),
)
def test_without_trouble_everybody_gets_there_once(count: int, strategy: str, limits: str, window: str) -> None:
    fleet = fleet_of(count, strategy, limits, window, 0, 0.0)
    fleet.play()
    assert fleet.finished == Finish("complete", f"{count} of {count} reached")
    assert all(attempts == [1] for attempts in fleet.installs.values())
    assert len(fleet.installs) == count, "nobody starves"
    if "BlueGreen" in strategy:
        assert set(fleet.switched.values()) == {1}


@settings(deadline=None, max_examples=80)
@given(
    count=st.integers(min_value=9, max_value=30), strategy=st.sampled_from(STRATEGIES[1:]), limits=st.just(LIMITS[0])
)
def test_a_release_that_is_bad_at_once_reaches_one_wave_only(count: int, strategy: str, limits: str) -> None:
    """Blast radius: of all waves that one track has had at a time, the first; with regions side by side, one each."""
    fleet = fleet_of(count, strategy, LIMITS[0], "", 0, 0.0)
    fleet.broken = True
    fleet.play()
    first: Sequence[str] = [track[0].name for track in fleet.plan.tracks.values()]
    reached = {fleet.plan.wave_of[device].name for device in fleet.installs}
    assert reached <= set(first)
    assert fleet.back_since is not None
    assert all(device.running == OLD for device in fleet.devices.values())


def test_regions_in_parallel_run_at_the_same_time_and_in_sequence_they_do_not() -> None:
    at: dict[str, set[frozenset[str]]] = {}
    for name, strategy in (("sequence", STRATEGIES[4]), ("parallel", STRATEGIES[5])):
        fleet = fleet_of(12, strategy, LIMITS[0], "", 1, 0.0)
        seen: set[frozenset[str]] = set()
        while fleet.round():
            open_ = {wave for wave, view in fleet.waves.items() if view.state in ("open", "soaking")}
            seen.add(frozenset(wave.partition("/")[0] for wave in open_))
        at[name] = seen
    assert max(map(len, at["sequence"])) == 1
    assert max(map(len, at["parallel"])) == len(REGIONS)


def test_a_night_window_moves_the_whole_rollout_into_the_night() -> None:
    fleet = fleet_of(8, STRATEGIES[1], LIMITS[0], NIGHT, 3, 0.0)
    assert NOW.hour == 12, "it begins at noon"
    fleet.play()
    assert {when.astimezone(ZoneInfo("Europe/Berlin")).hour for when, _ in fleet.starts} <= {1, 2, 3, 4}
    assert fleet.finished is not None
