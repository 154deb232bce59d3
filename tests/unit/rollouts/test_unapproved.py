"""A rollout whose approvals count no more after it has begun: nothing new, nothing lost, and the gate still holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fwctl.rollouts.actions import GoBack, Install, Resume, TakeBack, Visit
from fwctl.rollouts.decide import decide, next_step
from fwctl.rollouts.view import Control, DeviceView, OpenOrder, RolloutView, WaveView
from tests.unit.rollouts.fleets import NOW, view_of
from tests.unit.rollouts.test_waves import BAD, GOOD, PLAN, failed, reached

WHY = "E_SIG_THRESHOLD: 1 of 2"
OPEN = {"wave-1": WaveView("open")}


def lapsed(*devices: DeviceView) -> RolloutView:
    return replace(view_of(*devices, waves=OPEN), approved_stage=0, not_approved=WHY)


def ordered(device: str, *, accepted: bool, by_mandate: bool = False) -> DeviceView:
    order = OpenOrder("o", 1, "accepted" if accepted else "sent", NOW, accepted)
    return DeviceView(id=device, attempts=1, order=order, install="o", by_mandate=by_mandate)


def test_nobody_starts_in_an_open_wave_and_it_says_why() -> None:
    decision = decide(PLAN, lapsed(reached(GOOD)), NOW)
    assert decision.actions == ()
    assert decision.holding == f"wave-1 waits for approval: {WHY}"
    assert decision.standings[BAD].rule == "approved"


def test_who_has_taken_an_order_is_visited_and_followed_to_the_end() -> None:
    device = ordered(BAD, accepted=True)
    view = lapsed(reached(GOOD), device)
    assert [one.device for one in decide(PLAN, view, NOW).actions if isinstance(one, Visit)] == [BAD]
    assert isinstance(next_step(PLAN, view, device, NOW), Resume)


@pytest.mark.parametrize(
    ("approved", "by_mandate", "step"),
    [(0, False, TakeBack), (1, False, Resume), (0, True, Resume)],
    ids=["not taken", "approved", "taken and done"],
)
def test_an_order_that_nobody_has_taken_is_withdrawn(approved: int, by_mandate: bool, step: type) -> None:
    device = ordered(BAD, accepted=False, by_mandate=by_mandate)
    view = replace(lapsed(device), approved_stage=approved)
    assert isinstance(next_step(PLAN, view, device, NOW), step)


def test_no_device_gets_a_first_order() -> None:
    device = DeviceView(id=BAD)
    assert not isinstance(next_step(PLAN, lapsed(device), device, NOW), Install)


def test_an_open_wave_fails_and_goes_back_all_the_same() -> None:
    actions = decide(PLAN, lapsed(reached(GOOD), failed(BAD)), NOW).actions
    assert any(isinstance(one, GoBack) for one in actions)


def test_nobody_promotes_a_wave_that_is_not_approved() -> None:
    control = Control("running", "hurry", "alice", promoted=frozenset({"wave-1"}))
    view = replace(lapsed(reached(GOOD)), control=control)
    assert decide(PLAN, view, NOW).actions == ()
    assert decide(PLAN, replace(view, approved_stage=1), NOW).actions != ()
