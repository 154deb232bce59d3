"""The life of a wave: it opens, settles, soaks, is looked at, and is judged; what follows from each verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fwctl.rollouts.actions import Action, Finish, GoBack, MoveWave, Quarantine, Stop, Visit
from fwctl.rollouts.decide import decide
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import Control, DeviceView, Failure, OpenOrder, RolloutView, WaveView
from tests.unit.rollouts.fleets import NOW, plan_of, view_of

OLD = "sha256:" + "e" * 64
SOAK = 60
MANY = [f"d{number:02}" for number in range(20)]


def canary(devices: list[str], *spec: str, soak: int = SOAK, before: str = "") -> Plan:
    strategy = f"{{type: Canary, initialPercentage: 10, increments: [50, 100], soak: {soak}s{before}}}"
    return plan_of(devices, [f"strategy: {strategy}", *spec])


PLAN = canary(MANY)
FIRST, SECOND, THIRD = PLAN.waves
GOOD, BAD = FIRST.devices
RAW_FAILURE = Failure(1, "health", "E_PROBE_FAILED", NOW)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def reached(device: str, *, seen: datetime = NOW, plan: Plan = PLAN, **more: object) -> DeviceView:
    view = DeviceView(id=device, running=plan.release.digest, by_mandate=True, confirmed=True, attempts=1)
    return replace(view, observed_at=seen, **more)  # type: ignore[arg-type]


def failed(device: str, **more: object) -> DeviceView:
    view = DeviceView(id=device, running=OLD, attempts=1, failure=RAW_FAILURE, spent=True, observed_at=NOW)
    return replace(view, **more)  # type: ignore[arg-type]


def away(device: str, seconds: int = 3600) -> DeviceView:
    return DeviceView(id=device, unreachable_since=NOW - timedelta(seconds=seconds), misses=5, due_at=at(7200))


def waves(*states: str, soak_since: datetime | None = None) -> dict[str, WaveView]:
    """Return the first waves in these states; a soaking one soaks since `soak_since`."""
    names = [wave.name for wave in PLAN.waves]
    since = {"soaking": soak_since or NOW, "passed": NOW}
    return {
        name: WaveView(state, "", since.get(state))  # type: ignore[arg-type]
        for name, state in zip(names, states, strict=False)
    }


def moves(plan: Plan, view: RolloutView, now: datetime = NOW) -> list[tuple[str, str]]:
    return [(one.wave, one.state) for one in decide(plan, view, now).actions if isinstance(one, MoveWave)]


def visited(plan: Plan, view: RolloutView, now: datetime) -> set[str]:
    return {one.device for one in decide(plan, view, now).actions if isinstance(one, Visit)}


# -- opening -----------------------------------------------------------------------------------------------------------


def test_the_first_wave_opens_before_anybody_is_contacted() -> None:
    (action,) = decide(PLAN, view_of(waves={}), NOW).actions
    assert action == MoveWave("wave-1", "open", "2 devices may start")


def test_only_the_open_wave_starts_and_the_others_say_what_they_wait_for() -> None:
    decision = decide(PLAN, view_of(), NOW)
    assert {one.device for one in decision.actions if isinstance(one, Visit)} == set(FIRST.devices)
    assert {decision.standings[device].reason for device in SECOND.devices} == {"wave-2 waits for wave-1"}


def test_the_next_wave_opens_when_the_one_before_has_passed() -> None:
    view = view_of(reached(GOOD), reached(BAD), waves=waves("passed"))
    assert moves(PLAN, view) == [("wave-2", "open")]


@pytest.mark.parametrize("state", ["open", "soaking", "failed"])
def test_no_wave_opens_beside_one_that_has_not_passed(state: str) -> None:
    view = view_of(reached(GOOD), reached(BAD), waves=waves(state))
    assert all(name == "wave-1" for name, _ in moves(PLAN, view))


def test_an_approval_point_holds_until_its_stage_is_approved() -> None:
    plan = canary(MANY, before=", approvalBefore: [wave-2]")
    done = [reached(device, plan=plan) for device in plan.waves[0].devices]
    view = replace(view_of(*done, waves=waves("passed")), not_approved="stage 2 wants 1 of bob")
    held = decide(plan, view, NOW)
    assert (held.actions, held.holding) == ((), "wave-2 waits for approval: stage 2 wants 1 of bob")
    assert {held.standings[device].rule for device in plan.waves[1].devices} == {"approved"}
    assert moves(plan, replace(view, approved_stage=2)) == [("wave-2", "open")]


# -- settling and verdicts ---------------------------------------------------------------------------------------------


def test_a_wave_waits_for_everybody_on_the_way() -> None:
    flying = DeviceView(id=BAD, attempts=1, order=OpenOrder("o", 1, "running", NOW, True), due_at=at(5))
    assert moves(PLAN, view_of(reached(GOOD), flying)) == []


def test_a_failing_wave_takes_the_rollout_back_and_the_device_into_quarantine() -> None:
    decision = decide(PLAN, view_of(reached(GOOD), failed(BAD)), NOW)
    (quarantine, move, back) = decision.actions
    assert quarantine == Quarantine(BAD, decision.standings[BAD].reason)
    assert move == MoveWave("wave-1", "failed", "1 of 2 failed (50 %), allowed are 2 %")
    assert back == GoBack("maxFailureRate", "wave-1: 1 of 2 failed (50 %), allowed are 2 %")


@pytest.mark.parametrize("rollback", ["{automatic: false}", "{allowed: false, automatic: false}"])
def test_a_failing_wave_only_stops_a_rollout_that_must_not_go_back_by_itself(rollback: str) -> None:
    plan = canary(MANY, f"rollback: {rollback}")
    actions = decide(plan, view_of(reached(GOOD), failed(BAD)), NOW).actions
    assert actions[-1] == Stop("maxFailureRate", "wave-1: 1 of 2 failed (50 %), allowed are 2 %")
    assert not any(isinstance(action, GoBack) for action in actions)


def test_too_few_reached_holds_and_says_so_and_stragglers_may_still_mend_it() -> None:
    view = view_of(reached(GOOD), away(BAD))
    held = decide(PLAN, view, NOW)
    assert held.actions == ()
    assert held.holding == "wave-1, minReached: 1 of 2 reached, 90 % are wanted; 1 cannot be"
    assert visited(PLAN, view, at(7200)) == {BAD}, "a straggler is still looked for"
    assert moves(PLAN, view_of(reached(GOOD), reached(BAD))) == [("wave-1", "soaking")]


def test_a_wave_that_was_judged_failed_stays_so_although_more_has_settled_since() -> None:
    """THREATS R15: killed after the verdict, before anything followed from it."""
    judged = {"wave-1": WaveView("failed", "1 of 20 failed (5 %), allowed are 2 %")}
    actions = decide(PLAN, view_of(reached(GOOD), reached(BAD), waves=judged), NOW).actions
    assert actions == (
        MoveWave("wave-1", "failed", "1 of 20 failed (5 %), allowed are 2 %"),
        GoBack("maxFailureRate", "wave-1: 1 of 20 failed (5 %), allowed are 2 %"),
    )


def test_without_a_soak_a_wave_passes_at_once() -> None:
    plan = canary(MANY, soak=0)
    (action,) = decide(plan, view_of(*(reached(d, plan=plan) for d in plan.waves[0].devices)), NOW).actions
    assert action == MoveWave("wave-1", "passed", "2 of 2 reached, 0 failed")


# -- the soak ----------------------------------------------------------------------------------------------------------


def test_a_wave_that_has_settled_well_begins_its_soak() -> None:
    (action,) = decide(PLAN, view_of(reached(GOOD), reached(BAD)), NOW).actions
    assert action == MoveWave("wave-1", "soaking", "2 of 2 reached, 0 failed; soak for 60 s")


def test_a_soak_runs_from_its_recorded_start_however_often_it_is_looked_at() -> None:
    """THREATS R14: a crash neither skips nor restarts it."""
    view = view_of(reached(GOOD, seen=at(55)), reached(BAD, seen=at(55)), waves=waves("soaking"))
    before = decide(PLAN, view, at(59))
    assert (before.actions, before.wave_due) == ((), at(60))
    assert before.holding == "wave-1 soaks until 12:01:00Z"
    assert moves(PLAN, view, at(60)) == [], "nobody has been looked at since the end"
    seen = view_of(reached(GOOD, seen=at(60)), reached(BAD, seen=at(61)), waves=waves("soaking"))
    assert moves(PLAN, seen, at(59.9)) == []
    assert moves(PLAN, seen, at(61)) == [("wave-1", "passed")]


def test_devices_are_looked_at_while_the_soak_lasts_and_once_after_it() -> None:
    early = view_of(reached(GOOD), reached(BAD), waves=waves("soaking"))
    assert visited(PLAN, early, at(14)) == set()
    assert visited(PLAN, early, at(15)) == {GOOD, BAD}, "a quarter of the soak has gone by"
    partly = view_of(reached(GOOD, seen=at(50)), reached(BAD, seen=at(60)), waves=waves("soaking"))
    assert visited(PLAN, partly, at(59)) == set()
    assert visited(PLAN, partly, at(61)) == {GOOD}
    assert visited(PLAN, replace(partly, visiting=frozenset({GOOD})), at(61)) == set(), "somebody is there already"


def test_a_short_soak_is_no_reason_to_look_all_the_time() -> None:
    plan = canary(MANY, soak=8)
    view = view_of(*(reached(d, plan=plan) for d in plan.waves[0].devices), waves=waves("soaking"))
    assert visited(plan, view, at(4)) == set()
    assert visited(plan, view, at(5)) == set(plan.waves[0].devices)


def test_what_is_not_due_is_not_looked_at() -> None:
    view = view_of(reached(GOOD, due_at=at(30)), reached(BAD), waves=waves("soaking"))
    assert visited(PLAN, view, at(20)) == {BAD}


def test_a_device_that_fell_silent_in_the_soak_is_not_waited_for() -> None:
    silent = reached(BAD, seen=at(10), unreachable_since=at(30), misses=2)
    view = view_of(reached(GOOD, seen=at(61)), silent, waves=waves("soaking"))
    assert moves(PLAN, view, at(61)) == [("wave-1", "passed")]


def test_a_device_that_failed_within_the_limit_does_not_hold_up_the_end_of_the_soak() -> None:
    """Nobody looks at it any more, so nobody may wait for it."""
    plan = canary(MANY, "gates: {maxFailureRate: {percent: 50}, minReached: {percent: 50}}")
    view = view_of(reached(GOOD, seen=at(61)), failed(BAD, quarantined="it failed"), waves=waves("soaking"))
    assert moves(plan, view, at(61)) == [("wave-1", "passed")]


def test_who_left_the_targets_does_not_hold_up_the_end_of_the_soak() -> None:
    view = view_of(reached(GOOD, seen=at(61)), reached(BAD, seen=at(1)), waves=waves("soaking"))
    assert moves(replace(PLAN, dropped=(BAD,)), view, at(61)) == [("wave-1", "passed")]


@pytest.mark.parametrize("seconds", [1, 59, 60, 3600])
def test_a_device_that_breaks_in_the_soak_fails_the_wave(seconds: int) -> None:
    view = view_of(reached(GOOD, seen=at(seconds)), failed(BAD), waves=waves("soaking"))
    assert moves(PLAN, view, at(seconds)) == [("wave-1", "failed")]


def test_a_silent_revert_in_the_soak_fails_the_wave() -> None:
    """It confirmed, and runs something else now: found by looking (DESIGN section 6)."""
    back = reached(BAD, running=OLD, by_mandate=False)
    decision = decide(PLAN, view_of(reached(GOOD), back, waves=waves("soaking")), at(5))
    assert decision.standings[BAD].klass == "silent-revert"
    assert isinstance(decision.actions[-1], GoBack)


# -- waves that have passed --------------------------------------------------------------------------------------------


def third_open(*devices: DeviceView) -> RolloutView:
    rest = [reached(d) for d in (*FIRST.devices, *SECOND.devices) if d not in {one.id for one in devices}]
    return view_of(*rest, *devices, waves=waves("passed", "passed", "open"))


def test_a_straggler_that_catches_up_and_fails_is_judged_by_the_gate_of_its_wave() -> None:
    late = SECOND.devices[0]
    assert decide(PLAN, third_open(away(late)), NOW).standings[late].state == "straggler"
    actions = decide(PLAN, third_open(failed(late)), NOW).actions
    assert actions[-1] == GoBack("maxFailureRate", "wave-2: 1 of 8 failed in the end")
    assert moves(PLAN, third_open(failed(late))) == [], "a wave that passed is not judged again"


def test_within_the_limit_a_straggler_that_fails_changes_nothing() -> None:
    plan = canary(MANY, "gates: {maxFailureRate: {percent: 12.5}}")
    late = SECOND.devices[0]
    assert not any(isinstance(one, GoBack | Stop) for one in decide(plan, third_open(failed(late)), NOW).actions)


def test_a_rollout_that_is_complete_is_not_taken_back_for_a_device_that_breaks_later() -> None:
    everybody = [reached(device) for device in PLAN.members if device != BAD]
    view = view_of(*everybody, failed(BAD, quarantined="yes"), waves=waves("passed", "passed", "passed"))
    done = replace(view, finished=Finish("complete", "20 of 20 reached"))
    assert not any(isinstance(one, GoBack | Stop) for one in decide(PLAN, done, NOW).actions)


# -- quarantine --------------------------------------------------------------------------------------------------------


def test_who_is_in_quarantine_has_dropped_out_and_holds_up_nobody() -> None:
    kept = DeviceView(id=BAD, running=OLD, quarantined="alice: it smokes")
    view = view_of(reached(GOOD), kept)
    assert decide(PLAN, view, NOW).standings[BAD].reason == "in quarantine: alice: it smokes"
    assert moves(PLAN, view) == [("wave-1", "soaking")]
    others = [reached(device) for device in PLAN.members if device != BAD]
    (end,) = decide(PLAN, view_of(*others, kept, waves=waves("passed", "passed", "passed")), NOW).actions
    assert end == Finish("complete", "19 of 20 reached, 1 in quarantine")


@pytest.mark.parametrize("klass", ["install", "health", "unconfirmed"])
def test_a_device_without_attempts_left_goes_into_quarantine_once(klass: str) -> None:
    plan = canary(MANY, "gates: {maxFailureRate: {percent: 100}, minReached: {percent: 0}}", soak=0)
    worn = DeviceView(id=BAD, attempts=3, running=OLD, failure=Failure(3, klass, "E_X", NOW))  # type: ignore[arg-type]
    decision = decide(plan, view_of(worn), NOW)
    assert Quarantine(BAD, decision.standings[BAD].reason) in decision.actions
    again = decide(plan, view_of(replace(worn, quarantined="so it is")), NOW)
    assert not any(isinstance(action, Quarantine) for action in again.actions)


@pytest.mark.parametrize("klass", ["download", "deferred", "unreachable", "refused"])
def test_what_is_not_the_devices_fault_brings_nobody_into_quarantine(klass: str) -> None:
    worn = DeviceView(id=BAD, attempts=3, running=OLD, failure=Failure(3, klass, "E_X", NOW))  # type: ignore[arg-type]
    decision = decide(PLAN, view_of(worn), NOW)
    assert decision.standings[BAD].state == "failed"
    assert not any(isinstance(action, Quarantine) for action in decision.actions)


def test_a_device_with_attempts_left_is_tried_again_before_anybody_judges() -> None:
    once = DeviceView(id=BAD, attempts=1, running=OLD, failure=Failure(1, "install", "E_COMMAND", NOW))
    decision = decide(PLAN, view_of(reached(GOOD), once), NOW)
    assert (decision.actions, decision.standings[BAD].state) == ((), "retry")


# -- a person's word ---------------------------------------------------------------------------------------------------


def word(state: str, **more: object) -> Control:
    return Control(state, "it is Friday", "alice", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("control", "action"),
    [
        (word("paused"), Stop("paused", "alice: it is Friday")),
        (word("aborted"), Stop("aborted", "alice: it is Friday")),
        (word("aborted", revert=True), GoBack("control", "alice: it is Friday")),
        (word("rolled-back"), GoBack("control", "alice: it is Friday")),
    ],
)
def test_a_person_stops_it_before_anything_else_happens(control: Control, action: Action) -> None:
    view = replace(view_of(reached(GOOD), failed(BAD)), control=control)
    assert decide(PLAN, view, NOW).actions == (action,)


def test_a_stopped_rollout_can_still_be_taken_back() -> None:
    view = replace(view_of(reached(GOOD), stopped="held"), control=word("rolled-back"))
    assert decide(PLAN, view, NOW).actions == (GoBack("control", "alice: it is Friday"),)


@pytest.mark.parametrize(("device", "verdict"), [(away(BAD), "minReached"), (reached(BAD), "soak")])
def test_a_promoted_wave_passes_without_gate_and_soak(device: DeviceView, verdict: str) -> None:
    control = word("running", promoted=frozenset({"wave-1"}))
    view = replace(view_of(reached(GOOD), device), control=control)
    (action,) = decide(PLAN, view, NOW).actions
    assert action == MoveWave("wave-1", "passed", "promoted by alice: it is Friday"), verdict


def test_nobody_promotes_a_wave_that_fails_or_another_one() -> None:
    view = replace(view_of(reached(GOOD), failed(BAD)), control=word("running", promoted=frozenset({"wave-1"})))
    assert moves(PLAN, view) == [("wave-1", "failed")]
    view = replace(view_of(reached(GOOD), away(BAD)), control=word("running", promoted=frozenset({"wave-2"})))
    assert moves(PLAN, view) == []


# -- limits ------------------------------------------------------------------------------------------------------------


def test_max_unavailable_counts_within_its_own_wave() -> None:
    plan = plan_of(MANY, ["strategy: {type: Rolling, batchSize: 10, maxUnavailable: 2, soak: 1s}"])
    first = plan.waves[0].devices
    assert len(visited(plan, view_of(), NOW)) == 2
    flying = [
        DeviceView(id=device, attempts=1, order=OpenOrder(device, 1, "running", NOW, True), due_at=at(60))
        for device in first[:2]
    ]
    assert visited(plan, view_of(*flying), NOW) == set()
    landed = [reached(first[0], plan=plan), flying[1]]
    assert len(visited(plan, view_of(*landed), NOW)) == 1


def test_a_device_being_visited_holds_its_place_before_the_ledger_knows_of_it() -> None:
    plan = plan_of(["a", "b", "c"], ["strategy: {type: Direct}", "limits: {maxConcurrent: 2}"])
    view = replace(view_of(), visiting=frozenset({"a"}))
    assert visited(plan, view, NOW) == {"b"}
