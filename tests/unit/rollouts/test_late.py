"""Late joiners: who could join, in which order, and who has a seat."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.rollouts.compile import compile_rollout
from fwctl.rollouts.late import seated
from fwctl.rollouts.plan import LATE, Plan
from tests.unit.rollouts.fleets import KEY, files, repo_of

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
