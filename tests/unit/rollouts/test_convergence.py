"""The planner against a modelled fleet in virtual time: it converges, keeps its limits, and ends with nothing to do."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.rollouts.actions import Finish, Install, Resume, Stop, Visit
from fwctl.rollouts.decide import decide, next_step
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, Failure, OpenOrder, RolloutView
from tests.unit.rollouts.fleets import NOW, plan_of

LIMIT = 3
MAX_ROUNDS = 4000


@dataclass
class Model:
    """Devices that answer, fail, vanish and come back; what happens is chosen by `chance`."""

    plan: Plan
    chance: random.Random
    trouble: float
    now: datetime = NOW
    devices: dict[str, DeviceView] = field(default_factory=dict)
    installs: dict[str, list[int]] = field(default_factory=dict)
    worst: int = 0
    stopped: str = ""
    finished: Finish | None = None

    def view(self) -> RolloutView:
        return RolloutView(approved_stage=1, stopped=self.stopped, finished=self.finished, devices=dict(self.devices))

    def visit(self, device_id: str) -> None:
        device = self.devices.get(device_id, DeviceView(id=device_id))
        if self.chance.random() < self.trouble:
            since = device.unreachable_since or self.now
            due = self.now + timedelta(seconds=30 * (device.misses + 1))
            self.devices[device_id] = replace(device, unreachable_since=since, misses=device.misses + 1, due_at=due)
            return
        device = replace(device, unreachable_since=None, misses=0, due_at=None)
        match next_step(self.plan, self.view(), device, self.now):
            case Install(attempt=attempt):
                self.installs.setdefault(device_id, []).append(attempt)
                order = OpenOrder(f"{device_id}-{attempt}", attempt, "running", self.now, True)
                due = self.now + timedelta(seconds=self.chance.choice([0, 5, 300]))
                device = replace(device, order=order, attempts=attempt, failure=None, due_at=due)
            case Resume():
                device = self.settle(device)
        self.devices[device_id] = device

    def settle(self, device: DeviceView) -> DeviceView:
        assert device.order is not None
        if self.chance.random() < self.trouble:
            klass = self.chance.choice(["download", "install", "health", "unconfirmed", "deferred"])
            failure = Failure(device.order.attempt, klass, "E_X", self.now)  # type: ignore[arg-type]
            return replace(device, order=None, failure=failure)
        return replace(device, order=None, running=self.plan.release.digest, confirmed=True)

    def round(self) -> bool:
        """Play one round; False when nothing is due any more."""
        decision = decide(self.plan, self.view(), self.now)
        for action in decision.actions:
            match action:
                case Visit(device=device):
                    self.visit(device)
                case Finish():
                    self.finished = action
                case Stop(reason=reason):
                    self.stopped = reason
        flying = sum(device.order is not None for device in self.devices.values())
        self.worst = max(self.worst, flying)
        if decision.actions:
            return True
        if decision.next_due is None:
            return False
        self.now = decision.next_due
        return True


@settings(deadline=None, max_examples=120)
@given(
    seed=st.integers(),
    trouble=st.sampled_from([0.0, 0.1, 0.4]),
    count=st.integers(min_value=1, max_value=12),
)
def test_every_rollout_ends_and_then_nothing_is_left_to_do(seed: int, trouble: float, count: int) -> None:
    plan = plan_of([f"d{n}" for n in range(count)], ["strategy: {type: Direct}", f"limits: {{maxConcurrent: {LIMIT}}}"])
    model = Model(plan, random.Random(seed), trouble)
    rounds = 0
    while model.round():
        rounds += 1
        if model.finished is not None and rounds > MAX_ROUNDS // 2:
            model.trouble = 0.0  # faults stop, so stragglers must be caught up with (I5)
        assert rounds < MAX_ROUNDS, "it does not converge"
    assert model.finished is not None
    assert model.worst <= LIMIT, "more in flight than allowed (I7)"
    for attempts in model.installs.values():
        assert attempts == sorted(set(attempts)), "an attempt was ordered twice (I3)"
        assert len(attempts) <= plan.retry.max_attempts
    again = decide(plan, model.view(), model.now + timedelta(seconds=1))
    assert again.actions == (), "running it again changes nothing (I9)"


@given(count=st.integers(min_value=1, max_value=40))
def test_without_trouble_each_device_is_ordered_once(count: int) -> None:
    plan = plan_of([f"d{n}" for n in range(count)])
    model = Model(plan, random.Random(0), 0.0)
    while model.round():
        pass
    assert model.finished == Finish("complete", f"{count} of {count} reached")
    assert all(attempts == [1] for attempts in model.installs.values())
    assert len(model.installs) == count
