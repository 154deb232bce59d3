"""`decide` and `stand`: what is done with a device, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.manifests.models.rollout_parts import Backoff
from fwctl.rollouts.actions import Finish, Install, Leave, Resume, Stop, Visit
from fwctl.rollouts.decide import decide, next_step
from fwctl.rollouts.failures import CLASSES, attempts_allowed, backoff
from fwctl.rollouts.standing import STRAGGLER_RETRY, stand
from fwctl.rollouts.view import DeviceView, Failure, OpenOrder, WaveView
from fwctl_agent.protocol.statements import FAILURE_CLASSES, FailureClass
from tests.unit.rollouts.fleets import NOW, plan_of, view_of

PLAN = plan_of(["a", "b", "c"])
TARGET = PLAN.release.digest
OTHER = "sha256:" + "f" * 64
PASSED = {"wave-1": WaveView("passed")}


def order(state: str = "sent", *, accepted: bool = False) -> OpenOrder:
    return OpenOrder("sha256:" + "a" * 64, 1, state, NOW, accepted)  # type: ignore[arg-type]


def test_a_fresh_rollout_visits_everybody_with_a_reason() -> None:
    decision = decide(PLAN, view_of(), NOW)
    assert decision.actions == tuple(Visit(device, "may start") for device in ("a", "b", "c"))


def test_nothing_starts_without_approval_and_the_reason_says_so() -> None:
    decision = decide(PLAN, view_of(approved_stage=0), NOW)
    assert decision.actions == ()
    assert {standing.rule for standing in decision.standings.values()} == {"approved"}
    assert "nobody has approved it" in decision.standings["a"].reason


def test_no_more_start_than_may_be_in_flight() -> None:
    plan = plan_of(["a", "b", "c"], ["strategy: {type: Direct}", "limits: {maxConcurrent: 2}"])
    busy = DeviceView(id="c", order=order("running", accepted=True), due_at=NOW + timedelta(hours=1), attempts=1)
    assert list(decide(plan, view_of(busy), NOW).actions) == [Visit("a", "may start")]


def test_what_is_in_flight_goes_on_although_the_rollout_is_stopped() -> None:
    flying = DeviceView(id="a", order=order("running", accepted=True), attempts=1)
    decision = decide(PLAN, view_of(flying, stopped="held: an operator must look"), NOW)
    assert [action.device for action in decision.actions if isinstance(action, Visit)] == ["a"]
    assert decision.standings["b"].state == "held"


def test_a_quarantined_device_gets_nothing() -> None:
    view = view_of(DeviceView(id="a", quarantined="three failures"))
    assert stand(PLAN, view, "a", NOW).rule == "not_quarantined"


def test_success_is_only_what_the_device_runs() -> None:
    claimed = DeviceView(id="a", confirmed=True, running=OTHER, attempts=1)
    assert stand(PLAN, view_of(claimed), "a", NOW).state == "failed"
    assert stand(PLAN, view_of(DeviceView(id="a", running=TARGET)), "a", NOW).state == "reached"


def test_a_device_that_took_the_mandate_back_is_left_alone() -> None:
    standing = stand(PLAN, view_of(DeviceView(id="a", spent=True, running=OTHER)), "a", NOW)
    assert (standing.state, standing.due) == ("failed", None)


def test_a_refusal_stops_the_rollout_at_once() -> None:
    refused = DeviceView(id="b", attempts=1, failure=Failure(1, "refused", "E_HW_MISMATCH", NOW))
    (action,) = decide(PLAN, view_of(refused), NOW).actions
    assert action == Stop("refused", "b refused: E_HW_MISMATCH")


@pytest.mark.parametrize("klass", FAILURE_CLASSES)
def test_the_class_of_a_failure_decides_what_follows(klass: FailureClass) -> None:
    failed = DeviceView(id="a", attempts=1, running=OTHER, failure=Failure(1, klass, "E_X", NOW))
    standing = stand(PLAN, view_of(failed), "a", NOW)
    expected = "failed" if CLASSES[klass].retry == "never" else "retry"
    assert standing.state == expected
    if expected == "retry":
        assert standing.due is not None
        assert NOW + timedelta(seconds=24) <= standing.due <= NOW + timedelta(seconds=36), "30 s, give or take 20 %"


@pytest.mark.parametrize("klass", FAILURE_CLASSES)
def test_attempts_end(klass: FailureClass) -> None:
    last = attempts_allowed(klass, PLAN.retry)
    worn = DeviceView(id="a", attempts=max(last, 1), running=OTHER, failure=Failure(last, klass, "E_X", NOW))
    standing = stand(PLAN, view_of(worn), "a", NOW + timedelta(days=30))
    assert standing.state == "failed"
    assert klass in standing.reason


def test_an_unreachable_device_is_tried_again_and_becomes_a_straggler_after_its_time() -> None:
    silent = DeviceView(id="a", unreachable_since=NOW, misses=2, due_at=NOW + timedelta(seconds=60))
    assert stand(PLAN, view_of(silent), "a", NOW).state == "retry"
    late = stand(PLAN, view_of(silent), "a", NOW + timedelta(minutes=10))
    assert late.state == "straggler"
    assert late.due is not None, "a straggler is still looked for"
    assert late.due == NOW + STRAGGLER_RETRY


def test_a_device_that_accepted_is_given_up_only_when_it_must_have_gone_back_by_itself() -> None:
    plan = replace(PLAN, confirm_within=1200)
    taken = DeviceView(id="a", order=order("accepted", accepted=True), unreachable_since=NOW, misses=9, attempts=1)
    in_time, too_late = NOW + timedelta(seconds=1259), NOW + timedelta(seconds=1260)
    assert stand(plan, view_of(taken), "a", in_time).state == "in-flight"
    assert stand(plan, view_of(taken), "a", too_late).state == "straggler"
    only_sent = replace(taken, order=order("sent"))
    assert stand(plan, view_of(only_sent), "a", in_time).state == "straggler", "after timeoutPerDevice"


def test_a_straggler_that_took_an_order_keeps_its_place() -> None:
    plan = plan_of(["a", "b", "c"], ["strategy: {type: Direct}", "limits: {maxConcurrent: 1}"])
    taken = DeviceView(id="a", order=order("accepted", accepted=True), unreachable_since=NOW, misses=9, attempts=1)
    decision = decide(plan, view_of(taken), NOW + timedelta(minutes=30))
    assert decision.standings["a"].state == "straggler"
    assert decision.actions == (), "who knows whether it is out of service (I7)"
    only_sent = replace(taken, order=order("sent"))
    (visit,) = decide(plan, view_of(only_sent), NOW + timedelta(minutes=30)).actions
    assert visit == Visit("b", "may start")


def test_the_end_counts_stragglers_and_failures() -> None:
    plan = plan_of(["a", "b", "c"], ["strategy: {type: Direct}", "gates: {maxFailureRate: {percent: 50}}"])
    done = [DeviceView(id=device, running=TARGET) for device in ("a", "b")]
    lost = DeviceView(id="c", unreachable_since=NOW - timedelta(hours=2), misses=5, due_at=NOW + timedelta(hours=1))
    (end,) = decide(plan, view_of(*done, lost, waves=PASSED), NOW).actions
    assert end == Finish("complete", "2 of 3 reached, 1 stragglers")
    broken = DeviceView(
        id="c", attempts=1, failure=Failure(1, "health", "E_PROBE_FAILED", NOW), quarantined="it failed"
    )
    (end,) = decide(plan, view_of(*done, broken, waves=PASSED), NOW).actions
    assert end == Finish("complete", "2 of 3 reached, 1 failed")


def test_an_end_that_is_recorded_is_no_action_any_more() -> None:
    view = view_of(*(DeviceView(id=device, running=TARGET) for device in PLAN.members), waves=PASSED)
    (end,) = decide(PLAN, view, NOW).actions
    assert isinstance(end, Finish)
    assert decide(PLAN, replace(view, finished=end), NOW).actions == ()


def test_who_dropped_out_of_the_targets_is_not_touched() -> None:
    plan = replace(PLAN, dropped=("b",))
    assert {action.device for action in decide(plan, view_of(), NOW).actions if isinstance(action, Visit)} == {"a", "c"}


@pytest.mark.parametrize(
    ("device", "step"),
    [
        (DeviceView(id="a", running=OTHER), Install(1, "may start")),
        (DeviceView(id="a", running=TARGET), Leave("runs 2.5.0", None)),
        (DeviceView(id="a", order=order("sent"), attempts=1), Resume("sha256:" + "a" * 64, "attempt 1: sent")),
    ],
)
def test_what_to_do_with_a_device_that_has_just_answered(device: DeviceView, step: object) -> None:
    assert next_step(PLAN, view_of(), device, NOW) == step


def test_the_next_attempt_has_the_next_number() -> None:
    failed = DeviceView(id="a", attempts=2, running=OTHER, failure=Failure(2, "install", "E_X", NOW))
    step = next_step(PLAN, view_of(), failed, NOW + timedelta(hours=1))
    assert isinstance(step, Install)
    assert step.attempt == 3


@given(failures=st.integers(min_value=0, max_value=10_000), device=st.text("abc", min_size=1, max_size=4))
def test_backoff_grows_to_its_cap_and_no_further(failures: int, device: str) -> None:
    policy = Backoff()
    wait = backoff(policy, device=device, failures=failures)
    assert wait == backoff(policy, device=device, failures=failures), "decided by the device, not by chance"
    assert timedelta() <= wait <= timedelta(seconds=720)
    assert (wait == timedelta()) == (failures == 0)
