"""The kept board says in every round what judging everybody anew would say, and asks only for what has changed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.manifests.table import Profile
from fwctl.rollouts.actions import Finish, Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import Decision, decide, decide_on
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.view import Control, ControlWord, DeviceView, Failure, OpenOrder, RolloutView, WaveView, WaveWord
from fwctl_agent.protocol.statements import FAILURE_CLASSES, FailureClass
from tests.unit.rollouts.fleets import NOW, plan_of
from tests.unit.rollouts.reference import Told, reference

STRATEGIES = (
    "strategy: {type: Direct}",
    "strategy: {type: Direct, soak: 2m}",
    "strategy: {type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 5m}",
    "strategy: {type: Canary, initialPercentage: 20, increments: [60, 100], soak: 1m, approvalBefore: [wave-2]}",
    "strategy: {type: Rolling, batchSize: 3, maxUnavailable: 2, soak: 20s}",
    "strategy: {type: Rolling, batchSize: 2, maxUnavailable: 1}",
    "strategy: {type: Regional, regions: [{name: eu}, {name: us}], inner: {type: Rolling, batchSize: 2, soak: 5s}}",
    "strategy: {type: Regional, regions: [{name: eu}, {name: us}], order: Parallel, soak: 1m, "
    "inner: {type: Canary, initialPercentage: 30, increments: [60, 100], soak: 20s}, approvalBefore: [us/wave-2]}",
    "strategy: {type: Regional, regions: [{name: us}, {name: eu, window: {deny: [{cron: '0 */3 * * *', duration: 1h}]}"
    ", strategy: {type: Rolling, batchSize: 2, maxUnavailable: 1, soak: 0s}}], order: Parallel, soak: 0s, "
    "inner: {type: Direct}}",
)
REGIONS = ("eu", "us", "eu")
GATES = (
    "gates: {maxFailureRate: {percent: 2}}",
    "gates: {maxFailureRate: {percent: 60}, minReached: {percent: 10}, timeoutPerDevice: 5m}",
    "gates: {maxFailureRate: {percent: 100}, minReached: {percent: 0}, timeoutPerDevice: 30m}",
)
LIMITS = (
    "maxPerMinute: 12",
    "ramp: {basePerMinute: 2, increaseEvery: {reached: 2}}",
    "jitter: 90s",
    "disruption: {groupBy: [site], maxUnavailable: 1}",
    "bytesPerMinutePerSite: 24B",
)
SITES = ("a", "a", "b", "")
SPANS = (0, 1, 5, 20, 60, 300, 3600, 7200)


def at(site: str) -> Profile:
    return AT[site]


ZONES = {"a": "Europe/Berlin", "b": None, "": "America/New_York"}
AT = {site: Profile("sensor-v1", "rev-a", "dev", site=site or None, time_zone=ZONES[site]) for site in SITES}
WINDOW = 'window: {allow: [{cron: "30 */2 * * *", duration: 45m, timeZone: device}]}'


@dataclass
class History:
    """A rollout to which anything happens, also what no fleet would do."""

    chance: random.Random
    plan: Plan = field(init=False)
    now: datetime = NOW
    view: RolloutView = field(init=False)
    devices: dict[str, DeviceView] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one = self.chance
        some = [limit for limit in LIMITS if one.random() < 0.3]
        limits = f"limits: {{{', '.join([f'maxConcurrent: {one.choice([1, 2, 4, 50])}', *some])}}}"
        back = f"maxConcurrent: {one.choice([1, 3])}, automatic: {one.choice(['true', 'false'])}"
        back = f"rollback: {{{back}, scope: {one.choice(['rollout', 'wave'])}}}"
        spec = [one.choice(STRATEGIES), one.choice(GATES), limits, back, "preconditions: {readiness: {maxDefer: 10m}}"]
        spec += [WINDOW] if one.random() < 0.2 else []
        plan = plan_of([f"d{number:02}" for number in range(one.randint(1, 14))], spec, REGIONS)
        dropped = tuple(device for device in plan.members if one.random() < 0.1)
        sites = dict(zip(plan.members, one.choices(SITES, k=len(plan.members)), strict=True))
        self.plan = replace(
            plan, dropped=dropped, confirm_within=600, profile=lambda device: at(sites.get(device, "a"))
        )
        self.view = RolloutView(approved_stage=1, devices=self.devices)
        if one.random() < 0.8:
            self.view = replace(self.view, waves={wave.name: WaveView("open") for wave in self.plan.waves[:1]})

    def step(self) -> set[str]:
        """Let something happen; return the devices to which it did."""
        moves = [self.change] * 6 + [self.visit] * 3 + [self.move, self.govern]
        changed: set[str] = set()
        for _ in range(self.chance.randint(0, 4)):
            changed |= self.chance.choice(moves)()
        back = self.chance.random() < 0.03
        self.now += timedelta(seconds=-7200 if back else self.chance.choice(SPANS))
        return changed

    def change(self) -> set[str]:
        device = self.chance.choice(self.plan.members)
        if self.chance.random() < 0.05:
            self.devices.pop(device, None)
        else:
            self.devices[device] = self.device(device)
        return {device}

    def visit(self) -> set[str]:
        device = self.chance.choice(self.plan.members)
        self.view = replace(self.view, visiting=self.view.visiting ^ {device})
        return set()

    def move(self) -> set[str]:
        waves = dict(self.view.waves)
        word = cast(WaveWord, self.chance.choice(["open", "soaking", "passed", "passed", "passed", "failed"]))
        since = self.around() if word in ("soaking", "passed") else None
        name = self.chance.choice([self.current(track) for track in self.plan.tracks.values()])
        opened = waves[name].opened_at if name in waves else self.around()
        waves[name] = WaveView(word, "why", since, opened)
        self.view = replace(self.view, waves=waves)
        return set()

    def current(self, track: Sequence[Wave]) -> str:
        """Return the first wave of a track that has not passed, or else its first wave."""
        waves = self.view.waves
        return next((one.name for one in track if getattr(waves.get(one.name), "state", "") != "passed"), track[0].name)

    def govern(self) -> set[str]:
        one = self.chance
        match one.choice(["stop", "approve", "back", "control", "finish", "elsewhere", "forth", "forth"]):
            case "stop":
                self.view = replace(self.view, stopped=one.choice(["", "held: look"]))
            case "approve":
                self.view = replace(
                    self.view, approved_stage=one.choice([0, 1, 2]), not_approved=one.choice(["", "no"])
                )
            case "back":
                self.view = replace(self.view, back_since=one.choice([None, self.now]), back_keeps=one.random() < 0.5)
            case "control":
                state = cast(ControlWord, one.choice(["running", "running", "paused", "aborted", "rolled-back"]))
                promoted = frozenset({self.plan.waves[0].name}) if one.random() < 0.5 else frozenset[str]()
                control = Control(state, "why", "alice", one.random() < 0.3, promoted)
                self.view = replace(self.view, control=one.choice([None, control]))
            case "elsewhere":
                others = [*self.plan.members, "x1", "x2"]
                down = frozenset(one.sample(others, one.randint(0, 2)))
                self.view = replace(self.view, down_elsewhere=down)
            case "finish":
                self.view = replace(self.view, finished=one.choice([None, Finish("complete", "1 of 1 reached")]))
            case _:
                self.view = replace(self.view, stopped="", control=None, back_since=None, approved_stage=2)
        return set()

    def around(self) -> datetime:
        return self.now + timedelta(seconds=self.chance.choice([-1, 1, -1]) * self.chance.choice(SPANS))

    def maybe(self, share: float = 0.3) -> datetime | None:
        return self.around() if self.chance.random() < share else None

    def device(self, device: str) -> DeviceView:
        one = self.chance
        attempts = one.randint(0, 4)
        state = one.choice(["sent", "accepted", "running"])
        order = OpenOrder(f"{device}-{attempts}", attempts, state, self.around(), state != "sent")  # type: ignore[arg-type]
        # Refusals stop everything, so they are rare here.
        klass: FailureClass = one.choice([name for name in FAILURE_CLASSES if name != "refused" or one.random() < 0.1])
        silent = self.maybe(0.3)
        return DeviceView(
            id=device,
            observed_at=self.maybe(0.8),
            running=one.choice([None, "old", self.plan.release.digest, self.plan.release.digest]),
            by_mandate=one.random() < 0.5,
            spent=one.random() < 0.1,
            quarantined=one.choice([None] * 6 + ["it smokes"]),
            forgiven=one.choice([None, None, None, attempts]),
            attempts=attempts,
            order=one.choice([None, None, order]),
            install=one.choice([None, order.id]),
            started_at=self.maybe(0.5),
            failure=Failure(attempts, klass, "E_X", self.around()) if one.random() < 0.3 else None,
            confirmed=one.random() < 0.3,
            back=one.choice([None, None, None, order]),
            taken_back=one.random() < 0.2,
            back_refused=one.choice([None] * 5 + ["E_FLOOR"]),
            deferred_since=self.maybe(0.2),
            unreachable_since=silent,
            misses=2 if silent else 0,
            due_at=self.maybe(0.4),
            back_due_at=self.maybe(0.4),
        )


def told(decision: Decision, now: datetime) -> Told:
    return Told(
        decision.actions,
        dict(decision.standings),
        decision.next_due,
        decision.wave_due,
        decision.holding,
        decision.counts,
        decision.soon(now),
    )


def comparable(plan: Plan, said: Told) -> Told:
    """Return what must be the same. When to ask again is not where a device waits for two things that come and go.

    The kept board looks at it when the one ends that it met first; nothing can be done before both have ended.
    """
    limits = plan.limits
    windows = [plan.spec.window, *(wave.window for wave in plan.waves)]
    two = any(windows) or bool(limits.disruption and limits.bytes_per_minute_per_site)
    return replace(said, next_due=None, soon=None) if two else said


@settings(deadline=None, max_examples=120)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_whatever_happens_the_kept_board_says_what_judging_everybody_anew_says(seed: int) -> None:
    history = History(random.Random(seed))
    board = Board(history.plan)
    for _ in range(25):
        changed = history.step()
        board.update(history.view, changed, history.now)
        kept = told(decide_on(board), history.now)
        assert comparable(history.plan, kept) == comparable(
            history.plan, reference(history.plan, history.view, history.now)
        )
        anew = told(decide(history.plan, history.view, history.now), history.now)
        assert comparable(history.plan, kept) == comparable(history.plan, anew)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_what_is_summed_up_is_what_going_through_everybody_finds(seed: int) -> None:
    history = History(random.Random(seed))
    board = Board(history.plan)
    for _ in range(15):
        changed = history.step()
        board.update(history.view, changed, history.now)
        for number, wave in enumerate(history.plan.waves):
            standings = [board[device] for device in wave.devices if device in board]
            assert board.counts.standing(number) == Counter(one.state for one in standings)
            for states in (("failed", "straggler", "retry"), ("in-flight",)):
                assert board.first(states, 2)[number] == [one for one in standings if one.state in states][:2]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_nobody_stands_otherwise_before_the_moment_that_the_board_tells(seed: int) -> None:
    history = History(random.Random(seed))
    board, fresh = Board(history.plan), Board(history.plan)
    for _ in range(15):
        changed = history.step()
        board.update(history.view, changed, history.now)
        last = board.until - timedelta(seconds=1) if board.until else history.now + timedelta(days=300)
        assert last + timedelta(seconds=1) > history.now
        fresh.update(history.view, None, last)
        assert {one.device: (one.state, one.reason) for one in fresh.values()} == {
            one.device: (one.state, one.reason) for one in board.values()
        }


class Asked(dict[str, DeviceView]):
    """Devices that count how often somebody asks for one."""

    times = 0

    def get(self, key: str, default: object = None) -> DeviceView | None:  # type: ignore[override]
        self.times += 1
        return super().get(key)

    def asked(self) -> int:
        times, self.times = self.times, 0
        return times


SIZE, CHANGED = 20_000, 50


@dataclass
class Big:
    """A rollout of 20,000 devices in three waves, of which the first two have passed."""

    soak: int = 0
    now: datetime = NOW
    devices: Asked = field(default_factory=Asked)

    def __post_init__(self) -> None:
        names = [f"d{number:05}" for number in range(SIZE)]
        cuts = ((0, 200), (200, 2000), (2000, SIZE))
        waves = [Wave(f"wave-{n}", 1, tuple(names[a:b]), self.soak) for n, (a, b) in enumerate(cuts, 1)]
        spec = ["strategy: {type: Direct}", "limits: {maxConcurrent: 100}", "rollback: {maxConcurrent: 100}"]
        self.plan = replace(plan_of(["x"], spec), waves=tuple(waves))
        self.view = RolloutView(
            approved_stage=1,
            waves={"wave-1": WaveView("passed"), "wave-2": WaveView("passed"), "wave-3": WaveView("open")},
            devices=self.devices,
        )
        self.board = Board(self.plan)

    def done(self, device: str) -> None:
        digest = self.plan.release.digest
        self.devices[device] = DeviceView(
            id=device, running=digest, by_mandate=True, install="o", confirmed=True, observed_at=self.now
        )

    def round(self, changed: set[str] | None) -> list[str]:
        """Decide; return who is visited."""
        self.now += timedelta(milliseconds=200)
        self.board.update(self.view, changed, self.now)
        return [action.device for action in decide_on(self.board).actions if isinstance(action, Visit)]


def test_a_round_asks_for_those_who_changed_or_are_being_visited_whatever_the_size_of_the_fleet() -> None:
    big = Big()
    for device in big.plan.members[:2000]:
        big.done(device)
    started = big.round(None)
    assert started == list(big.plan.members[2000:2100])
    big.devices.asked()
    seen: list[str] = []
    for _ in range(40):
        visiting = [*big.view.visiting, *started][:100]
        finished = set(visiting[:CHANGED])
        for device in finished:
            big.done(device)
        big.view = replace(big.view, visiting=frozenset(visiting) - finished)
        started = big.round(finished)
        seen += started
        assert big.devices.asked() <= 2 * CHANGED + 100, "who has changed, and whose visit has begun or ended"
    assert seen[:CHANGED] == list(big.plan.members[2100:2150]), "in the order of the plan"
    assert decide_on(big.board).counts["reached"] == 2000 + 40 * CHANGED


def test_going_back_asks_for_those_who_changed_too() -> None:
    big = Big()
    for device in big.plan.members[:10_000]:
        big.done(device)
    big.view = replace(big.view, back_since=NOW)
    visited = big.round(None)
    big.devices.asked()
    for _ in range(40):
        assert len(visited) == 100
        for device in visited:
            big.devices[device] = replace(big.devices[device], running="old", by_mandate=False, spent=True)
        visited = big.round(set(visited))
        assert big.devices.asked() == 100
    assert decide_on(big.board).counts == {"back": 4000, "in-flight": 6000, "untouched": 10_000}


def test_a_wave_opens_and_a_rollout_stops_without_asking_for_anybody() -> None:
    big = Big()
    for device in big.plan.members:
        big.devices[device] = DeviceView(id=device, running="old", observed_at=NOW)
    for device in big.plan.members[:2000]:
        big.done(device)
    waves = dict(big.view.waves)
    del waves["wave-3"]
    big.view = replace(big.view, waves=waves)
    assert big.round(None) == []
    big.devices.asked()
    assert decide_on(big.board).counts == {"reached": 2000, "held": 18_000}
    big.view = replace(big.view, waves={**waves, "wave-3": WaveView("open")})
    assert big.round(set()) == list(big.plan.members[2000:2100])
    big.view = replace(big.view, stopped="held: look")
    assert big.round(set()) == []
    assert decide_on(big.board).counts == {"reached": 2000, "held": 18_000}
    assert big.devices.asked() == 0


def test_a_soak_asks_for_its_devices_when_it_begins_and_then_only_for_those_who_are_looked_at() -> None:
    big = Big(soak=4000)
    for device in big.plan.members:
        big.done(device)
    assert big.round(None) == []
    big.view = replace(big.view, waves={**big.view.waves, "wave-3": WaveView("soaking", "", big.now)})
    assert big.round(set()) == []
    big.devices.asked()
    big.now += timedelta(seconds=500)
    late = set(big.plan.members[2000:2010])
    for device in late:
        big.done(device)
    assert big.round(late) == []
    big.now += timedelta(seconds=500)
    assert big.devices.asked() == 10
    assert big.round(set()) == list(big.plan.members[2010:])
    assert big.devices.asked() == 0
