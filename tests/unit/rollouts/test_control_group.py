"""The control group: who is in it, when a wave is compared with it, and what follows."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.rollouts.actions import GoBack, MoveWave, Visit
from fwctl.rollouts.decide import Decision, decide
from fwctl.rollouts.health import control_group as control
from fwctl.rollouts.health.gates import Inconclusive, Pass
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, RolloutView, WaveView
from tests.unit.rollouts.fleets import NOW, check_plans, files, plan_of, repo_of

DEVICES = [f"d{number:03}" for number in range(120)]
COMPARE = "gates: {health: {compareWithControl: {metrics: [crash_rate, load], lessIsWorse: [load]}}}"
SPEC = ["strategy: {type: Canary, initialPercentage: 25, increments: [50, 100], soak: 20m}", COMPARE]
PLAN = plan_of(DEVICES, SPEC)
FIRST = frozenset(PLAN.waves[0].devices)
END = NOW + timedelta(minutes=20)
Value = Callable[[str, bool], int | None]


def soaking(
    value: Value, *, looks: int = 4, plan: Plan = PLAN, before: Value | None = None, wave: str = "wave-1"
) -> RolloutView:
    """Return a view in which wave-1 soaks since NOW, all have been seen, and `value(device, updated)` was reported."""
    release = plan.release.digest
    views = {
        device: DeviceView(id=device, running=release if device in FIRST else "old", observed_at=END)
        for device in plan.members
    }
    samples: dict[tuple[str, str], dict[str, Mapping[str, int]]] = {}
    phases = [(f"look-{look}", value) for look in range(1, looks + 1)]
    for phase, told in [*phases, *([("before", before)] if before else [])]:
        for device in plan.members:
            number = told(device, device in FIRST)
            samples.setdefault((wave, phase), {})[device] = {} if number is None else {"crash_rate": number, "load": 5}
    waves = {wave: WaveView("soaking", soak_since=NOW)}
    return RolloutView(approved_stage=1, waves=waves, samples=samples, devices=views)


def noise(shift: int) -> Value:
    chance = random.Random(7)
    drawn = {device: round(chance.gauss(100, 10)) for device in DEVICES}
    return lambda device, updated: drawn[device] + (shift if updated else 0)


def at(view: RolloutView, moment: timedelta, plan: Plan = PLAN) -> Decision:
    return decide(plan, view, NOW + moment)


def test_worse_numbers_take_everybody_back_and_name_the_metric() -> None:
    move, back = at(soaking(noise(40)), timedelta(minutes=20)).actions
    assert isinstance(move, MoveWave)
    assert isinstance(back, GoBack)
    assert (move.state, back.rule) == ("failed", "compareWithControl")
    assert "crash_rate: updated" in back.reason
    assert "30/90 devices" in back.reason


def test_numbers_like_those_of_the_control_group_pass() -> None:
    (move,) = at(soaking(noise(0)), timedelta(minutes=20)).actions
    assert isinstance(move, MoveWave)
    assert move.state == "passed"
    assert move.reason.endswith("not worse than the control group")


def test_better_numbers_pass() -> None:
    (move,) = at(soaking(noise(-40)), timedelta(minutes=20)).actions
    assert isinstance(move, MoveWave)
    assert move.state == "passed"


def test_a_look_is_judged_when_its_time_is_over_and_not_before() -> None:
    view = soaking(noise(40), looks=1)
    early = at(view, timedelta(minutes=9, seconds=59))
    assert not any(isinstance(action, GoBack | MoveWave) for action in early.actions)
    late = at(view, timedelta(minutes=10))
    assert any(isinstance(action, GoBack) for action in late.actions)


def test_changes_are_compared_where_it_is_known_what_was_before() -> None:
    """The updated devices always reported more; since the update nothing has changed."""
    view = soaking(noise(40), before=noise(40))
    (move,) = at(view, timedelta(minutes=20)).actions
    assert isinstance(move, MoveWave)
    assert move.state == "passed"
    worse = soaking(noise(80), before=noise(40))
    reason = at(worse, timedelta(minutes=20)).actions[0].reason
    assert "updated +40 since before (median) against control +0" in reason


def test_too_few_that_report_hold_the_wave() -> None:
    few = sorted(FIRST)[:5]
    few_report = soaking(lambda device, updated: 3 if device in few or not updated else None)
    decision = at(few_report, timedelta(minutes=20))
    assert decision.actions == ()
    assert "compareWithControl: crash_rate is reported by 5 updated and 90 control" in decision.holding
    assert "10 of each are wanted" in decision.holding


def test_the_last_wave_has_no_control_group_and_passes() -> None:
    waves = {wave.name: WaveView("passed") for wave in PLAN.waves[:-1]} | {
        PLAN.waves[-1].name: WaveView("soaking", soak_since=NOW)
    }
    release = PLAN.release.digest
    devices = {device: DeviceView(id=device, running=release, observed_at=END) for device in DEVICES}
    view = RolloutView(approved_stage=1, waves=waves, devices=devices)
    (move,) = at(view, timedelta(minutes=20)).actions
    assert isinstance(move, MoveWave)
    assert (move.state, "no control group is left" in move.reason) == ("passed", True)


def test_the_control_group_is_looked_at_and_nobody_else() -> None:
    view = soaking(noise(0), looks=0)
    visits = {action.device for action in at(view, timedelta(minutes=5)).actions if isinstance(action, Visit)}
    looked = {device for device, _ in control.looks(PLAN, view, NOW + timedelta(minutes=5))}
    assert looked == set(DEVICES) - FIRST
    assert looked <= visits
    assert control.looks(PLAN, view, NOW + timedelta(minutes=4)) == []
    seen = soaking(noise(0), looks=1)
    assert control.looks(PLAN, seen, NOW + timedelta(minutes=9)) == []


def test_a_device_out_of_reach_is_not_waited_for() -> None:
    view = soaking(noise(0), looks=3)
    gone = {
        device: DeviceView(id=device, running="old", unreachable_since=NOW, misses=1)
        for device in DEVICES
        if device not in FIRST
    }
    away = RolloutView(approved_stage=1, waves=view.waves, samples=view.samples, devices={**view.devices, **gone})
    decision = at(away, timedelta(minutes=20))
    assert decision.actions == ()
    assert "0 control devices" in decision.holding


def test_every_look_of_the_control_group_gives_the_sample_that_was_wanted() -> None:
    """Else it would be visited for ever."""
    view = soaking(noise(0), looks=0)
    for minutes in (5, 11, 16, 20, 90):
        now = NOW + timedelta(minutes=minutes)
        for device, wave in control.looks(PLAN, view, now):
            phase = control.phase_of(PLAN.waves[0], view.waves["wave-1"], now)
            assert (wave, phase) in set(control.wanted(PLAN, view, view.devices[device], now, begins=False))


def test_a_device_gives_what_it_reported_before_when_it_begins() -> None:
    view = RolloutView(approved_stage=1, waves={"wave-1": WaveView("open")}, devices={})
    device = DeviceView(id=PLAN.waves[0].devices[0], running="old")
    assert list(control.wanted(PLAN, view, device, NOW, begins=True)) == [("wave-1", "before")]
    assert list(control.wanted(PLAN, view, device, NOW, begins=False)) == []


def test_samples_are_bounded_in_a_large_fleet() -> None:
    big = tuple(f"dev-{number}" for number in range(50_000))
    drawn = control._by_lot("wave-1", big, len(big))
    assert 100 < len(drawn) < 300
    assert drawn == control._by_lot("wave-1", big[::-1], len(big))


@given(st.integers(1, 100_000), st.integers(0, 200_000))
def test_looks_come_in_order_and_the_last_at_the_end(soak: int, seconds: int) -> None:
    now = NOW + timedelta(seconds=seconds)
    look = control.look_at(soak, NOW, now)
    assert 0 <= look <= control.planned(soak) <= 4
    assert (look == control.planned(soak)) == (seconds >= soak)
    if seconds < soak:
        later = control.next_look(soak, NOW, now)
        assert control.look_at(soak, NOW, later) == look + 1


def test_the_chance_of_a_false_alarm_over_all_looks_and_metrics_stays_below_what_is_allowed() -> None:
    chance, alarms, runs = random.Random(3), 0, 400
    spec = PLAN.spec.gates.health.compare_with_control
    assert spec is not None
    for _ in range(runs):
        for look in range(1, 5):
            told = {d: {"crash_rate": chance.randrange(1000), "load": chance.randrange(1000)} for d in DEVICES}
            outcome = control.compare(spec, {("wave-1", f"look-{look}"): told}, "wave-1", FIRST, look, 4)
            alarms += bool(outcome.worse)
    assert alarms <= 10  # 4 are expected; more than 10 of 400 has a chance of 1 in 300 at 1 %


def test_without_the_extra_the_wave_holds_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "can_compare", lambda: False)
    verdict = control.judge(PLAN, soaking(noise(40)), PLAN.waves[0], NOW, END)
    assert isinstance(verdict, Inconclusive)
    assert "pip install 'fwctl[stats]'" in verdict.reason


def test_a_rollout_that_does_not_compare_asks_for_nothing() -> None:
    plan = plan_of(DEVICES, SPEC[:1])
    assert control.judge(plan, soaking(noise(40), plan=plan), plan.waves[0], NOW, END) == Pass("")
    assert control.looks(plan, soaking(noise(40), plan=plan, looks=0), END) == []


@pytest.mark.parametrize(
    ("lines", "code", "place"),
    [
        (["strategy: {type: Rolling, soak: 0s}", COMPARE], "E_COMPARE_SOAK", "spec.strategy"),
        (
            ["strategy: {type: Canary}", COMPARE],
            "W_COMPARE_SMALL",
            "spec.gates.health.compareWithControl.minSample",
        ),
        (
            ["strategy: {type: Direct}", "gates: {health: {limits: {t: {min: 3.2, max: 3.8}}}}"],
            "E_LIMIT_EMPTY",
            "spec.gates.health.limits.t",
        ),
    ],
)
def test_what_cannot_be_compared_is_found_in_validation(lines: list[str], code: str, place: str) -> None:
    sources = files(DEVICES, lines)
    found = check_plans(repo_of(sources), sources)
    assert (code, place) in {(one.code, one.field) for one in found}
