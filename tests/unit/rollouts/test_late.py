"""Late joiners: who could join, in which order, and who has a seat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.rollouts.actions import Action, Finish, GoBack, Stop, Visit
from fwctl.rollouts.compile import compile_rollout
from fwctl.rollouts.decide import decide
from fwctl.rollouts.late import seated
from fwctl.rollouts.plan import LATE, Plan
from fwctl.rollouts.view import DeviceView, Failure, RolloutView, WaveView
from tests.unit.rollouts.fleets import KEY, NOW, files, repo_of, view_of
from tests.unit.rollouts.test_convergence import OLD

CANARY = "strategy: {type: Canary, initialPercentage: 50, increments: [100], soak: 5m, approvalBefore: [wave-2]}"


def grown(before: list[str], after: list[str], *spec: str) -> tuple[Plan, Plan]:
    """Return the plan of a fleet, and that of the same fleet with more devices under the lock of the first."""
    lines = (CANARY, *spec)
    first = repo_of(files(before, lines))
    plan = compile_rollout(first, first.rollouts[KEY])
    second = repo_of(files([*before, *after], lines))
    return plan, compile_rollout(second, second.rollouts[KEY], lock=plan.lock())


def test_who_came_later_is_in_one_wave_after_the_others_and_changes_nothing_that_is_approved() -> None:
    before, after = grown(["a", "b", "c"], ["x", "y"], "lateJoiners: {max: 5}")
    (late,) = after.late
    assert (late.name, late.track, late.stage, late.soak) == (LATE, LATE, 2, 300)
    assert sorted(late.devices) == ["x", "y"]
    assert (after.waves, after.digest, after.lock().raw) == (before.waves, before.digest, before.lock().raw)


def test_without_the_clause_or_with_none_allowed_nobody_joins() -> None:
    assert grown(["a"], ["x"])[1].late == ()
    assert grown(["a"], ["x"], "lateJoiners: {max: 0}")[1].late == ()
    assert grown(["a"], [], "lateJoiners: {max: 5}")[1].late == ()


@settings(deadline=None, max_examples=50)
@given(
    most=st.integers(min_value=1, max_value=6),
    joined=st.sets(st.sampled_from("pqrstuvw"), max_size=6),
    barred=st.sets(st.sampled_from("pqrstuvw")),
    gone=st.integers(min_value=0, max_value=2),
)
def test_nobody_joins_above_the_number_and_who_has_joined_stays(
    most: int, joined: set[str], barred: set[str], gone: int
) -> None:
    _, plan = grown(["a", "b"], list("pqrstuvw"), f"lateJoiners: {{max: {most}}}")
    joined, left = set(sorted(joined)[:most]), {f"gone-{number}" for number in range(gone)}
    seats = seated(plan, joined=joined | left, barred=barred - joined)
    chosen = list(seats.late[0].devices) if seats.late else []
    assert joined <= set(chosen)
    assert not (barred - joined) & set(chosen)
    new = set(chosen) - joined
    assert len(joined) + len(left) + len(new) <= max(most, len(joined) + len(left))
    order = list(plan.late[0].devices)
    assert chosen == sorted(chosen, key=order.index), "in the order of the lot"
    free = [device for device in order if device not in joined and device not in barred]
    assert [device for device in chosen if device in new] == free[: len(new)], "the first by lot"
    assert len(new) == min(len(free), max(0, most - len(joined) - len(left))), "no seat is left empty"
    assert seated(seats, joined=joined | left | new, barred=barred).late == seats.late, "the next pass says the same"
    assert seats.digest == plan.digest


def test_a_plan_without_late_joiners_stays_as_it_is() -> None:
    _, plan = grown(["a"], ["x"])
    assert seated(plan, joined=(), barred=()) is plan
    _, plan = grown(["a"], ["x"], "lateJoiners: {max: 1}")
    assert seated(replace(plan, late=()), joined=(), barred=()).late == ()


# -- their gate --------------------------------------------------------------------------------------------------------

PASSED = {"wave-1": WaveView("passed"), "wave-2": WaveView("passed")}
COMPLETE = Finish("complete", "all there")


def joining(
    count: int, *, failed: int, done: int = 0, percent: int = 20, scope: str = "rollout"
) -> tuple[Plan, RolloutView]:
    """Return a rollout that late joiners of a number join; some have failed already, and some are there."""
    spec = f"gates: {{maxFailureRate: {{percent: {percent}, minSample: 2}}}}", f"rollback: {{scope: {scope}}}"
    names = [f"late-{number}" for number in range(count)]
    _, plan = grown(["a", "b"], names, "lateJoiners: {max: 50}", *spec)
    new, there = plan.release.digest, NOW - timedelta(days=9)
    bad = Failure(3, "health", "E_PROBE_FAILED", NOW)
    order = plan.late[0].devices
    members = [DeviceView(id=one, running=new, by_mandate=True, confirmed=True, observed_at=there) for one in "ab"]
    ill = [DeviceView(id=one, running=OLD, attempts=3, failure=bad, spent=True) for one in order[:failed]]
    well = [DeviceView(id=one, running=new, confirmed=True, by_mandate=True) for one in order[failed : failed + done]]
    return plan, replace(view_of(*members, *ill, *well, approved_stage=2), waves=PASSED | {LATE: WaveView("open")})


def stops(actions: Iterable[Action]) -> list[str]:
    assert not [one for one in actions if isinstance(one, GoBack)], "the fleet is not taken back for it"
    return [one.reason for one in actions if isinstance(one, Stop)]


def test_a_late_wave_that_fails_takes_nobody_back_who_was_approved() -> None:
    plan, view = joining(3, failed=1)
    reasons = stops(decide(plan, view, NOW).actions)
    assert reasons == [
        "late: 1 of 1 failed (100 %), allowed are 20 %; nobody else joins late, and who runs the firmware keeps it"
    ]


def test_where_one_wave_goes_back_it_is_the_late_one() -> None:
    plan, view = joining(3, failed=1, scope="wave")
    (back,) = [one for one in decide(plan, view, NOW).actions if isinstance(one, GoBack)]
    assert back.keeps


@pytest.mark.parametrize("finished", [None, COMPLETE])
def test_who_joins_after_the_late_wave_has_passed_is_judged_by_its_gate(finished: Finish | None) -> None:
    """Two bad ones of twelve are less than a fifth of all, and more than a fifth of those that have settled."""
    plan, view = joining(12, failed=2, done=1)
    view = replace(view, waves=PASSED | {LATE: WaveView("passed")}, finished=finished)
    (reason,) = stops(decide(plan, view, NOW).actions)
    assert reason.startswith("late: 2 of 3 failed (66.7 %), allowed are 20 %")
    assert not [one for one in decide(plan, view, NOW).actions if isinstance(one, Visit)], "nobody else starts"


def test_an_ended_rollout_that_nobody_joins_any_more_stays_ended() -> None:
    """Who was there may leave the fleet: the share of those that had failed is none that anybody is protected from."""
    plan, view = joining(3, failed=2, done=1)
    view = replace(view, waves=PASSED | {LATE: WaveView("passed")}, finished=COMPLETE)
    assert stops(decide(plan, view, NOW).actions) == []


def test_those_who_join_well_go_on_joining() -> None:
    plan, view = joining(12, failed=0, done=3)
    view = replace(view, waves=PASSED | {LATE: WaveView("passed")}, finished=COMPLETE)
    actions = decide(plan, view, NOW).actions
    assert stops(actions) == []
    assert len([one for one in actions if isinstance(one, Visit)]) == 9
