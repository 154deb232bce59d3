"""BlueGreen as the planner sees it: staging, the gate, the switch in one burst, what is retained, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fwctl.rollouts import switching
from fwctl.rollouts.actions import Activate, Finish, GoBack, Install, Leave, MoveWave, Resume, TakeBack, Visit
from fwctl.rollouts.decide import decide, next_step
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import Control, DeviceView, Failure, OpenOrder, RolloutView, WaveView
from tests.unit.rollouts.fleets import NOW, check_plans, files, plan_of, repo_of, view_of

OLD = "sha256:" + "e" * 64
TEN = [f"d{number}" for number in range(10)]
LINE = "strategy: {type: BlueGreen, switch: %s, soak: 60s, retain: 1h}"
PLAN, MANUAL = plan_of(TEN, [LINE % "Automatic"]), plan_of(TEN, [LINE % "Manual"])
SPENT = Failure(1, "health", "E_PROBE_FAILED", NOW)


def staged(device: str, **more: object) -> DeviceView:
    order = OpenOrder(f"order-{device}", 1, "staged", NOW, accepted=True)
    view = DeviceView(id=device, running=OLD, order=order, install=order.id, attempts=1, staged=True, observed_at=NOW)
    return replace(view, **more)  # type: ignore[arg-type]


def switching_now(device: str) -> DeviceView:
    view = staged(device)
    assert view.order is not None
    return replace(view, staged=False, order=replace(view.order, state="switching"))


def reached(device: str, *, seen: datetime = NOW) -> DeviceView:
    view = DeviceView(id=device, running=PLAN.release.digest, by_mandate=True, confirmed=True, attempts=1)
    return replace(view, observed_at=seen, install=f"order-{device}")


def failed(device: str) -> DeviceView:
    return DeviceView(id=device, running=OLD, attempts=1, failure=SPENT, spent=True, install=f"order-{device}")


def wave(state: str, **more: object) -> dict[str, WaveView]:
    return {"wave-1": WaveView(state, opened_at=NOW, **more)}  # type: ignore[arg-type]


def promoted(*words: str) -> Control:
    return Control("running", "it is quiet", "ann", promoted=frozenset(words))


def visits(view: RolloutView, plan: Plan = PLAN, now: datetime = NOW) -> list[str]:
    return [one.device for one in decide(plan, view, now).actions if isinstance(one, Visit)]


def counts(view: RolloutView, plan: Plan = PLAN) -> Mapping[str, int]:
    return decide(plan, view, NOW).counts


def test_it_is_one_wave_that_holds_what_it_stages() -> None:
    (only,) = PLAN.waves
    assert (only.name, only.devices, only.soak, only.activation) == ("wave-1", tuple(TEN), 60, "hold")
    sources = files(TEN, [LINE % "Manual"])
    assert check_plans(repo_of(sources), sources) == ()
    assert PLAN.digest != MANUAL.digest


def test_who_is_ordered_while_staging_holds_and_later_switches_at_once() -> None:
    (only,) = PLAN.waves
    states = (None, *(WaveView(state) for state in ("open", "switching", "soaking", "passed")))
    assert [switching.activation(only, view) for view in states] == ["hold", "hold", "now", "now", "now"]
    (direct,) = plan_of(TEN).waves
    assert switching.activation(direct, WaveView("open")) == "now"


def test_staged_devices_are_left_alone_until_all_are() -> None:
    view = view_of(*(staged(device) for device in TEN[:8]), waves=wave("open"))
    decision = decide(PLAN, view, NOW)
    assert visits(view) == TEN[8:]
    assert decision.holding == "wave-1 stages: 8 of 10 staged"
    assert decision.counts == {"staged": 8, "pending": 2}
    assert isinstance(next_step(PLAN, view, staged("d0"), NOW), Leave)
    assert decision.standings["d0"].reason == "holds the firmware; it switches when all do"


def test_the_gate_of_staging_makes_the_switch() -> None:
    view = view_of(*map(staged, TEN), waves=wave("open"))
    assert decide(PLAN, view, NOW).actions == (MoveWave("wave-1", "switching", "10 of 10 staged"),)
    manual = decide(MANUAL, view, NOW)
    assert (manual.actions, manual.holding) == ((), "10 of 10 staged; fwctl promote makes the switch of wave-1")
    told = decide(MANUAL, replace(view, control=promoted("switch/wave-1")), NOW)
    assert told.actions == (MoveWave("wave-1", "switching", "10 of 10 staged; promoted by ann: it is quiet"),)
    assert decide(MANUAL, replace(view, control=promoted("wave-1")), NOW).actions == (), "that is another wait"


def test_a_promotion_waits_for_no_gate_but_for_the_approval() -> None:
    view = view_of(*map(staged, TEN[:3]), waves=wave("open"))
    word = replace(view, control=promoted("switch/wave-1"))
    assert [type(one) for one in decide(MANUAL, word, NOW).actions] == [MoveWave]
    unapproved = decide(MANUAL, replace(word, approved_stage=0, not_approved="withdrawn"), NOW)
    assert (unapproved.actions, unapproved.holding) == ((), "wave-1 waits for approval: withdrawn")


def test_a_staging_gate_that_fails_frees_the_slots_whatever_rollback_says() -> None:
    plan = plan_of(TEN, [LINE % "Automatic", "rollback: {automatic: false}"])
    view = view_of(failed("d0"), *map(staged, TEN[1:]), waves=wave("open"))
    back, moved = [one for one in decide(plan, view, NOW).actions if isinstance(one, GoBack | MoveWave)]
    assert isinstance(back, GoBack)
    assert back.reason.endswith("while staging; no device had switched")
    assert moved == MoveWave("wave-1", "failed", "staging: 1 of 10 failed (10 %), allowed are 2 %")
    going = replace(view, back_since=NOW)
    assert visits(going, plan) == TEN[1:]
    assert next_step(plan, going, staged("d1"), NOW) == TakeBack("order-d1", "is taken back")


def test_the_switch_is_one_burst_within_max_concurrent() -> None:
    view = view_of(*map(staged, TEN), waves=wave("switching"))
    assert visits(view) == TEN
    assert isinstance(next_step(PLAN, view, staged("d0"), NOW), Activate)
    few = plan_of(TEN, [LINE % "Automatic", "limits: {maxConcurrent: 3}"])
    assert visits(view, few) == TEN[:3]
    under_way = view_of(*map(switching_now, TEN[:2]), *map(staged, TEN[2:]), waves=wave("switching"))
    assert visits(under_way, few) == TEN[:3], "two are under way, one more fits"
    assert counts(under_way, few) == {"in-flight": 2, "staged": 8}


def test_the_burst_ignores_rate_jitter_and_disruption() -> None:
    limits = "limits: {maxPerMinute: 1, jitter: 10m, disruption: {groupBy: [site], maxUnavailable: 1}}"
    plan = plan_of(TEN, [LINE % "Automatic", limits])
    assert visits(view_of(*map(staged, TEN), waves=wave("switching")), plan) == TEN


def test_what_stops_a_rollout_stops_the_switch_and_not_who_was_asked() -> None:
    view = view_of(switching_now("d0"), *map(staged, TEN[1:]), waves=wave("switching"), stopped="paused: ann")
    assert visits(view) == ["d0"]
    assert isinstance(next_step(PLAN, view, replace(switching_now("d0"), staged=True), NOW), Resume)
    assert isinstance(next_step(PLAN, view, staged("d1"), NOW), Leave)
    unapproved = view_of(*map(staged, TEN), waves=wave("switching"), approved_stage=0)
    assert visits(unapproved) == []
    assert counts(unapproved) == {"held": 10}


def test_a_straggler_that_comes_after_the_switch_is_ordered_and_counts_for_the_gate() -> None:
    view = view_of(*map(reached, TEN[:9]), waves=wave("switching"))
    decision = decide(PLAN, view, NOW)
    assert visits(view) == ["d9"]
    assert decision.holding == "wave-1 switches: 9 of 10 switched"
    assert isinstance(next_step(PLAN, view, DeviceView(id="d9", running=OLD), NOW), Install)


def test_a_staged_device_that_is_away_at_the_switch_becomes_a_straggler_and_holds_no_place() -> None:
    since = NOW - timedelta(days=1)
    gone = staged("d9", unreachable_since=since, misses=4, due_at=NOW + timedelta(hours=1))
    plan = plan_of(TEN, [LINE % "Automatic", "limits: {maxConcurrent: 1}"])
    view = view_of(gone, *map(staged, TEN[:9]), waves=wave("switching"))
    assert counts(view, plan) == {"staged": 9, "straggler": 1}
    assert visits(view, plan) == ["d0"]
    staging = view_of(gone, *map(staged, TEN[:9]), waves=wave("open"))
    assert counts(staging) == {"staged": 10}, "what it holds is proved, whether it answers now or not"


def test_a_staged_device_in_quarantine_drops_out() -> None:
    view = view_of(staged("d0", quarantined="smells"), *map(staged, TEN[1:]), waves=wave("switching"))
    assert visits(view) == TEN[1:]
    assert counts(view) == {"held": 1, "staged": 9}


def test_it_is_complete_when_what_is_retained_is_over() -> None:
    passed = NOW - timedelta(minutes=10)
    view = view_of(*map(reached, TEN), waves=wave("passed", judged_at=passed))
    decision = decide(PLAN, view, NOW)
    assert decision.actions == ()
    assert decision.holding == "keeps the old slots until 2026-11-23 12:50:00Z; fwctl promote ends it"
    assert decision.next_due == passed + timedelta(hours=1)
    assert decision.soon(NOW) is None, "no pass stays for it"
    done = (Finish("complete", "10 of 10 reached"),)
    assert decide(PLAN, view, passed + timedelta(hours=1)).actions == done
    assert decide(PLAN, replace(view, control=promoted("retain/wave-1")), NOW).actions == done
    assert switching.word_now(PLAN, view, NOW) == "retain/wave-1"
    assert switching.word_now(PLAN, view, passed + timedelta(hours=1)) is None


def test_late_failures_take_everybody_back_while_it_retains_and_nobody_after() -> None:
    seen = wave("passed", judged_at=NOW)
    view = view_of(failed("d0"), *map(reached, TEN[1:]), waves=seen)
    assert any(isinstance(one, GoBack) for one in decide(PLAN, view, NOW).actions)
    over = replace(view, finished=Finish("complete", "10 of 10 reached"))
    assert not any(isinstance(one, GoBack) for one in decide(PLAN, over, NOW).actions)


def test_failures_after_the_switch_take_back_who_switched_and_cancel_who_has_not() -> None:
    view = view_of(failed("d0"), *map(reached, TEN[1:5]), *map(staged, TEN[5:]), waves=wave("switching"))
    assert any(isinstance(one, GoBack) for one in decide(PLAN, view, NOW).actions)
    going = replace(view, back_since=NOW)
    assert set(visits(going)) == set(TEN[1:])
    cancelled = replace(staged("d6"), order=None, staged=False, taken_back=True)
    assert counts(replace(going, devices=dict(going.devices) | {"d6": cancelled}))["untouched"] == 1


STATES = ("unknown", "staged", "switching", "reached", "failed")
MAKERS = {"staged": staged, "switching": switching_now, "reached": reached, "failed": failed}


@given(
    st.lists(st.sampled_from(STATES), min_size=10, max_size=10),
    st.sampled_from(["open", "switching", "soaking"]),
    st.integers(1, 12),
)
def test_nobody_switches_before_the_wave_does_and_never_more_than_allowed(
    found: list[str], state: str, most: int
) -> None:
    plan = plan_of(TEN, [LINE % "Automatic", f"limits: {{maxConcurrent: {most}}}"])
    views = {name: MAKERS[word](name) for name, word in zip(TEN, found, strict=True) if word in MAKERS}
    since = NOW if state == "soaking" else None
    view = view_of(*views.values(), waves=wave(state, soak_since=since))
    told = decide(plan, view, NOW)
    steps = {name: next_step(plan, view, views[name], NOW) for name in views if found[TEN.index(name)] == "staged"}
    if state == "open":
        assert not any(isinstance(step, Activate) for step in steps.values())
        assert not any(isinstance(one, Visit) and one.device in steps for one in told.actions)
    else:
        assert all(isinstance(step, Activate) for step in steps.values())
    new = [
        one for one in told.actions if isinstance(one, Visit) and found[TEN.index(one.device)] in ("unknown", "staged")
    ]
    assert len(new) + found.count("switching") <= max(most, found.count("switching"))
