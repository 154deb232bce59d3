"""On the way back: what becomes of each kind of device, and when the rollout has arrived."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fwctl.rollouts.actions import Finish, Leave, TakeBack, Visit
from fwctl.rollouts.decide import decide, next_step
from fwctl.rollouts.going_back import stand_back
from fwctl.rollouts.view import DeviceView, OpenOrder, RolloutView
from tests.unit.rollouts.fleets import NOW, plan_of, view_of

PLAN = plan_of(["a", "b", "c"], ["strategy: {type: Direct}"])
TARGET = PLAN.release.digest
OLD = "sha256:" + "e" * 64


def order(verb: str = "install", *, accepted: bool = True) -> OpenOrder:
    return OpenOrder("order", 1, "running" if accepted else "sent", NOW, accepted, verb)  # type: ignore[arg-type]


def back(*devices: DeviceView, **more: object) -> RolloutView:
    return replace(view_of(*devices), back_since=NOW, **more)  # type: ignore[arg-type]


def updated(device: str = "a", **more: object) -> DeviceView:
    view = DeviceView(id=device, running=TARGET, by_mandate=True, confirmed=True, install="order", attempts=1)
    return replace(view, **more)  # type: ignore[arg-type]


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("device", "state", "reason"),
    [
        (DeviceView(id="a"), "untouched", "never got the firmware"),
        (DeviceView(id="a", running=OLD), "untouched", "never got the firmware"),
        (DeviceView(id="a", running=TARGET), "untouched", "ran 2.5.0 before this rollout"),
        (DeviceView(id="a", running=OLD, install="order", attempts=1), "untouched", "never switched to the firmware"),
        (updated(by_mandate=False), "untouched", "ran 2.5.0 before this rollout"),
        (updated(running=OLD), "untouched", "silent-revert: it confirmed and does not run the firmware"),
        (updated(), "in-flight", "is taken back"),
        (updated(due_at=at(600)), "in-flight", "is taken back"),
        (updated(running=OLD, confirmed=False, order=order()), "in-flight", "is taken back"),
        (updated(running=OLD, order=order(accepted=False)), "in-flight", "is taken back"),
        (updated(running=OLD, by_mandate=False, back=order("revert")), "in-flight", "is taken back"),
        (updated(running=OLD, by_mandate=False, spent=True, taken_back=True), "back", "back on what it ran before"),
        (updated(running=OLD, by_mandate=False, spent=True), "back", "back on what it ran before, by itself: health"),
        (updated(spent=True, taken_back=True, unreachable_since=NOW), "back", "back on what it ran before"),
        (updated(back_refused="E_FLOOR: no"), "failed", "refuses to go back: E_FLOOR: no"),
        (
            updated(unreachable_since=NOW),
            "retry",
            "unreachable since 2026-11-23 12:00:00Z; it goes back when it returns",
        ),
        (
            updated(unreachable_since=NOW, quarantined="yes"),
            "retry",
            "unreachable since 2026-11-23 12:00:00Z; it goes back when it returns",
        ),
        (updated(quarantined="yes"), "in-flight", "is taken back"),
        (DeviceView(id="a", unreachable_since=NOW, misses=2), "untouched", "never got the firmware"),
    ],
)
def test_where_each_kind_of_device_stands(device: DeviceView, state: str, reason: str) -> None:
    standing = stand_back(PLAN, back(device), "a", NOW)
    assert (standing.state, standing.reason) == (state, reason)
    assert (standing.due is not None) == (state in ("in-flight", "retry"))


def test_what_the_install_waits_for_does_not_hold_up_the_revert() -> None:
    assert stand_back(PLAN, back(updated(due_at=at(600))), "a", NOW).due == NOW
    waiting = updated(due_at=at(600), back=order("revert"), back_due_at=at(5))
    assert stand_back(PLAN, back(waiting), "a", NOW).due == at(5)
    silent = updated(unreachable_since=NOW, due_at=at(30))
    assert stand_back(PLAN, back(silent), "a", NOW).due == at(30)


@pytest.mark.parametrize(
    ("device", "step"),
    [
        (updated(), TakeBack("order", "is taken back")),
        (updated(running=OLD, order=order()), TakeBack("order", "is taken back")),
        (updated(running=OLD, by_mandate=False, spent=True, taken_back=True), Leave("back on what it ran before")),
        (DeviceView(id="a", running=OLD), Leave("never got the firmware")),
        (updated(back_refused="E_FLOOR: no"), Leave("refuses to go back: E_FLOOR: no")),
    ],
)
def test_what_is_done_with_a_device_that_has_just_answered(device: DeviceView, step: object) -> None:
    assert next_step(PLAN, back(), device, NOW) == step


def test_nobody_is_updated_any_more_whatever_else_is_open() -> None:
    view = back(updated("a"), stopped="", approved_stage=0)
    assert decide(PLAN, view, NOW).actions == (Visit("a", "is taken back"),)


def test_only_the_rollbacks_own_limit_holds_reverts() -> None:
    plan = plan_of(
        ["a", "b", "c"], ["strategy: {type: Direct}", "limits: {maxConcurrent: 1}", "rollback: {maxConcurrent: 2}"]
    )
    view = back(updated("a"), updated("b"), updated("c"))
    assert [one.device for one in decide(plan, view, NOW).actions if isinstance(one, Visit)] == ["a", "b"]
    busy = replace(view, visiting=frozenset({"a"}))
    assert [one.device for one in decide(plan, busy, NOW).actions if isinstance(one, Visit)] == ["b"]


def test_it_has_arrived_when_all_that_can_be_reached_are_back() -> None:
    gone = updated("a", running=OLD, by_mandate=False, spent=True)
    away, stubborn = updated("b", unreachable_since=NOW, due_at=at(60)), updated("c", back_refused="E_FLOOR: no")
    (end,) = decide(PLAN, back(gone, away, stubborn), NOW).actions
    assert end == Finish("rolled-back", "1 taken back, 1 still to return, 1 refuse")
    again = decide(PLAN, back(gone, away, stubborn, finished=end), NOW)
    assert (again.actions, again.next_due) == ((), at(60))
    later = decide(PLAN, back(gone, away, stubborn, finished=end), at(60))
    assert later.actions == (Visit("b", "unreachable since 2026-11-23 12:00:00Z; it goes back when it returns"),)


def test_it_has_not_arrived_while_somebody_is_on_the_way_back_or_being_visited() -> None:
    gone = updated("a", running=OLD, by_mandate=False, spent=True)
    on_the_way = updated("b", back=order("revert"), back_due_at=at(5))
    assert decide(PLAN, back(gone, on_the_way), NOW).actions == ()
    # An install order may be on its way to a device that was dialled before the rollback began.
    assert decide(PLAN, back(gone, visiting=frozenset({"c"})), NOW).actions == ()


def test_a_second_number_of_devices_is_told_when_another_one_returns() -> None:
    first = Finish("rolled-back", "1 taken back, 1 still to return")
    both = [updated(d, running=OLD, by_mandate=False, spent=True) for d in ("a", "b")]
    (end,) = decide(PLAN, back(*both, finished=first), NOW).actions
    assert end == Finish("rolled-back", "2 taken back")
