"""Preconditions: facts hold a device back, never add one; a device that is never ready becomes a straggler."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fwctl.rollouts.actions import Defer, Install, Resume
from fwctl.rollouts.decide import DEFER_AGAIN, decide, next_step
from fwctl.rollouts.readiness import not_ready
from fwctl.rollouts.standing import stand
from fwctl.rollouts.view import DeviceView, OpenOrder
from tests.unit.rollouts.fleets import NOW, plan_of, view_of

OTHER = "sha256:" + "f" * 64
FACTS = """preconditions:
    facts:
      - {key: battery, operator: GreaterThan, value: 30}
      - {key: busy, operator: IsFalse}
      - {key: power, operator: NotEquals, value: none}
    readiness: {maxDefer: 2h}"""
PLAN = plan_of(["a", "b"], ["strategy: {type: Direct}", FACTS])
READY: dict[str, str | int | bool] = {"battery": 31, "busy": False, "power": "mains"}


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (READY, None),
        (READY | {"battery": 30}, "battery is 30, wanted is GreaterThan 30"),
        (READY | {"battery": True}, "battery is True, wanted is GreaterThan 30"),
        (READY | {"battery": "31"}, "battery is 31, wanted is GreaterThan 30"),
        (READY | {"busy": True}, "busy is True, wanted is IsFalse"),
        (READY | {"busy": 0}, "busy is 0, wanted is IsFalse"),
        (READY | {"power": "none"}, "power is none, wanted is NotEquals none"),
        ({"battery": 50, "busy": False}, "it does not report power"),
        ({}, "it does not report battery"),
    ],
)
def test_every_condition_must_hold(facts: dict[str, str | int | bool], why: str | None) -> None:
    assert not_ready(PLAN.spec.preconditions, facts) == why


def test_a_device_that_is_not_ready_is_deferred_and_asked_again() -> None:
    tired = DeviceView(id="a", running=OTHER, facts=READY | {"battery": 5})
    assert next_step(PLAN, view_of(), tired, NOW) == Defer("battery is 5, wanted is GreaterThan 30", NOW + DEFER_AGAIN)
    assert isinstance(next_step(PLAN, view_of(), replace(tired, facts=READY), NOW), Install)


def test_what_has_begun_is_not_deferred() -> None:
    order = OpenOrder("sha256:" + "a" * 64, 1, "running", NOW, accepted=True)
    busy = DeviceView(id="a", running=OTHER, facts=READY | {"busy": True}, order=order, attempts=1)
    assert isinstance(next_step(PLAN, view_of(), busy, NOW), Resume)
    unsent = replace(busy, order=replace(order, state="sent", accepted=False))
    assert isinstance(next_step(PLAN, view_of(), unsent, NOW), Defer)


def test_a_deferred_device_holds_nobodys_place_and_its_time_ends() -> None:
    plan = plan_of(["a", "b"], ["strategy: {type: Direct}", FACTS, "limits: {maxConcurrent: 1}"])
    waiting = DeviceView(id="a", running=OTHER, deferred_since=NOW, due_at=NOW + DEFER_AGAIN)
    visited = [getattr(action, "device", "") for action in decide(plan, view_of(waiting), NOW).actions]
    assert visited == ["b"]
    assert stand(plan, view_of(waiting), "a", NOW + timedelta(hours=1)).state == "retry"
    late = stand(plan, view_of(waiting), "a", NOW + timedelta(hours=2))
    assert (late.state, late.reason) == ("straggler", "not ready since 2026-11-23 12:00:00Z")
