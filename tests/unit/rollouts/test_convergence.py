"""The planner against a modelled fleet in virtual time: it converges, keeps its limits, and ends with nothing to do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.rollouts.actions import Finish, GoBack, Install, MoveWave, Quarantine, Resume, Stop, TakeBack, Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import Decision, decide, decide_on, next_step
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, Failure, OpenOrder, RolloutView, WaveView
from fwctl_agent.protocol.statements import FailureClass
from tests.unit.rollouts.fleets import NOW, plan_of

LIMIT = 3
MAX_ROUNDS = 4000
OLD = "sha256:" + "e" * 64
CLASSES = ("download", "install", "health", "unconfirmed", "deferred")


@dataclass
class Model:
    """Devices that answer, fail, vanish, come back and break in the soak; what happens is chosen by `chance`."""

    plan: Plan
    chance: random.Random
    trouble: float
    """of a visit, and of an attempt"""
    late: float = 0.0
    """of a confirmed device, to be found broken when it is looked at again"""
    crash: float = 0.0
    """of a round: the loop dies after some of its actions, and the next one begins from what is recorded"""
    jumps: int = 0
    """how often the wall clock may still jump"""
    now: datetime = NOW
    devices: dict[str, DeviceView] = field(default_factory=dict)
    installs: dict[str, list[int]] = field(default_factory=dict)
    waves: dict[str, WaveView] = field(default_factory=dict)
    worst: int = 0
    stopped: str = ""
    back_since: datetime | None = None
    back_keeps: bool = False
    finished: Finish | None = None
    board: Board | None = None
    judged: dict[str, DeviceView] = field(default_factory=dict)
    """what the board has seen of them"""

    def view(self) -> RolloutView:
        return RolloutView(
            approved_stage=1,
            stopped=self.stopped,
            back_since=self.back_since,
            back_keeps=self.back_keeps,
            finished=self.finished,
            waves=dict(self.waves),
            devices=dict(self.devices),
        )

    def visit(self, device_id: str) -> None:
        device = self.devices.get(device_id, DeviceView(id=device_id, running=OLD))
        if self.chance.random() < self.trouble:
            since = device.unreachable_since or self.now
            due = self.now + timedelta(seconds=30 * (device.misses + 1))
            self.devices[device_id] = replace(device, unreachable_since=since, misses=device.misses + 1, due_at=due)
            return
        device = replace(device, unreachable_since=None, misses=0, due_at=None, observed_at=self.now)
        if device.confirmed and self.chance.random() < self.late:
            failure = Failure(device.attempts, "health", "E_PROBE_FAILED", self.now)
            device = replace(device, running=OLD, by_mandate=False, spent=True, failure=failure)
        match next_step(self.plan, self.view(), device, self.now):
            case Install(attempt=attempt):
                assert self.plan.wave_of[device_id].name in self.waves, "ordered before its wave was opened"
                assert self.back_since is None, "ordered while the rollout goes back"
                self.installs.setdefault(device_id, []).append(attempt)
                order = OpenOrder(f"{device_id}-{attempt}", attempt, "running", self.now, True)
                due = self.now + timedelta(seconds=self.chance.choice([0, 5, 300]))
                device = replace(device, order=order, install=order.id, attempts=attempt, failure=None, due_at=due)
            case Resume():
                device = self.settle(device)
            case TakeBack():
                running = device.by_mandate
                device = replace(device, order=None, running=OLD, by_mandate=False, spent=device.spent or running)
        self.devices[device_id] = device

    def settle(self, device: DeviceView) -> DeviceView:
        assert device.order is not None
        if self.chance.random() < self.trouble:
            klass = cast(FailureClass, self.chance.choice(CLASSES))
            failure = Failure(device.order.attempt, klass, "E_X", self.now)
            return replace(device, order=None, failure=failure, spent=klass == "health")
        return replace(device, order=None, running=self.plan.release.digest, by_mandate=True, confirmed=True)

    def round(self) -> bool:
        """Play one round; False when nothing is due any more."""
        if self.jumps and self.chance.random() < 0.1:
            self.jumps -= 1
            self.now += timedelta(hours=self.chance.choice([-24, -1, 1, 24]))
        decision = self.decide()
        done = len(decision.actions)
        if self.chance.random() < self.crash:
            done = self.chance.randrange(done + 1)
            self.board = None
        for action in decision.actions[:done]:
            match action:
                case Visit(device=device):
                    self.visit(device)
                case Finish():
                    self.finished = action
                case Stop(reason=reason):
                    self.stopped = reason
                case GoBack(keeps=keeps):
                    self.back_keeps = keeps and (self.back_keeps or self.back_since is None)
                    self.back_since = self.back_since or self.now
                case MoveWave(wave=wave, state=state, reason=reason):
                    self.move(wave, MoveWave(wave, state, reason))
                case Quarantine(device=device, reason=reason):
                    known = self.devices.get(device, DeviceView(id=device))
                    self.devices[device] = replace(known, quarantined=reason)
        self.check()
        if decision.actions:
            return True
        if decision.next_due is None:
            return False
        self.now = decision.next_due
        return True

    @property
    def kept(self) -> set[str]:
        """Who may keep the firmware: the devices of waves that had passed, where only one wave went back."""
        passed = {name for name, view in self.waves.items() if view.state == "passed"} if self.back_keeps else set()
        return {device for device in self.plan.members if self.plan.wave_of[device].name in passed}

    def check_back(self) -> None:
        """I5: everybody came back whom nothing keeps, and nobody was thrown out of what had passed."""
        assert self.finished is not None
        assert self.finished.state == "rolled-back"
        for device in self.devices.values():
            assert device.order is None, "nobody holds a slot for it"
            stays = device.id in self.kept and device.confirmed and not device.spent
            assert device.by_mandate == stays, device

    def decide(self) -> Decision:
        """Decide as the loop does: with a board that is kept until the loop dies."""
        changed = {name for name, device in self.devices.items() if self.judged.get(name) is not device}
        self.board, self.judged = self.board or Board(self.plan), dict(self.devices)
        self.board.update(self.view(), changed, self.now)
        return decide_on(self.board)

    def move(self, wave: str, action: MoveWave) -> None:
        old = self.waves.get(wave)
        since = self.now if action.state == "soaking" else (old.soak_since if old else None)
        if action.state == "open":
            before = [one.name for one in self.plan.waves[: [w.name for w in self.plan.waves].index(wave)]]
            assert all(self.waves[name].state == "passed" for name in before), "opened before the one before it passed"
        self.waves[wave] = WaveView(action.state, action.reason, since)

    def check(self) -> None:
        """I7: no more in flight than allowed."""
        flying = sum(device.order is not None for device in self.devices.values())
        self.worst = max(self.worst, flying)
        assert self.worst <= self.plan.limits.max_concurrent

    def play(self) -> None:
        """Play to the end; faults stop after a while, so that stragglers are caught up with (I5)."""
        rounds = 0
        while self.round():
            rounds += 1
            if rounds > MAX_ROUNDS // 2:
                self.trouble = 0.0
            assert rounds < MAX_ROUNDS, "it does not converge"


def model_of(count: int, spec: Sequence[str], seed: int, *, trouble: float, late: float = 0.0) -> Model:
    plan = plan_of([f"d{n}" for n in range(count)], [*spec, f"limits: {{maxConcurrent: {LIMIT}}}"])
    return Model(plan, random.Random(seed), trouble, late)


STRATEGIES = [
    "strategy: {type: Direct}",
    "strategy: {type: Direct, soak: 2m}",
    "strategy: {type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 5m}",
    "strategy: {type: Rolling, batchSize: 3, maxUnavailable: 2, soak: 1m}",
]
SCOPES = ["rollout", "wave"]


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(),
    trouble=st.sampled_from([0.0, 0.1, 0.4]),
    late=st.sampled_from([0.0, 0.0, 0.2]),
    count=st.integers(min_value=1, max_value=14),
    strategy=st.sampled_from(STRATEGIES),
    crash=st.sampled_from([0.0, 0.3]),
    jumps=st.sampled_from([0, 4]),
    scope=st.sampled_from(SCOPES),
)
def test_every_rollout_ends_and_then_nothing_is_left_to_do(
    seed: int, trouble: float, late: float, count: int, strategy: str, crash: float, jumps: int, scope: str
) -> None:
    model = model_of(count, [strategy, f"rollback: {{scope: {scope}}}"], seed, trouble=trouble, late=late)
    model.crash, model.jumps = crash, jumps
    model.play()
    for attempts in model.installs.values():
        assert attempts == sorted(set(attempts)), "an attempt was ordered twice (I3)"
        assert len(attempts) <= model.plan.retry.max_attempts
    again = decide(model.plan, model.view(), model.now + timedelta(seconds=1))
    assert again.actions == (), "running it again changes nothing (I9)"
    if model.back_since is not None:
        assert model.back_keeps == (scope == "wave")
        model.check_back()
    elif model.finished is not None:
        assert model.finished.state == "complete"
        assert all(wave.state == "passed" for wave in model.waves.values())


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(), count=st.integers(min_value=20, max_value=60))
def test_a_bad_release_never_leaves_the_canary(seed: int, count: int) -> None:
    spec = ["strategy: {type: Canary, initialPercentage: 10, increments: [50, 100], soak: 5m}"]
    model = model_of(count, spec, seed, trouble=0.0, late=1.0)
    model.play()
    canary = set(model.plan.waves[0].devices)
    assert set(model.installs) <= canary, "blast radius (I7)"
    assert model.back_since is not None
    assert all(device.running == OLD for device in model.devices.values())


@given(count=st.integers(min_value=1, max_value=40), strategy=st.sampled_from(STRATEGIES))
@settings(deadline=None, max_examples=40)
def test_without_trouble_each_device_is_ordered_once(count: int, strategy: str) -> None:
    model = model_of(count, [strategy], 0, trouble=0.0)
    model.play()
    assert model.finished == Finish("complete", f"{count} of {count} reached")
    assert all(attempts == [1] for attempts in model.installs.values())
    assert len(model.installs) == count


def test_the_same_seed_gives_the_same_decisions() -> None:
    spec = [STRATEGIES[2]]
    runs = [model_of(30, spec, 7, trouble=0.2, late=0.1) for _ in range(2)]
    for run in runs:
        run.play()
    assert runs[0].installs == runs[1].installs
    assert runs[0].finished == runs[1].finished
