"""`rollback.scope: wave`: what was judged good stays, what was not goes back, and a person takes back everything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fwctl.rollouts.actions import Finish, GoBack, Leave, MoveWave, Stop, TakeBack, Visit
from fwctl.rollouts.decide import decide, next_step
from fwctl.rollouts.going_back import keep_words, kept
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import Control, DeviceView, Failure, OpenOrder, RolloutView, WaveView
from tests.unit.rollouts.fleets import NOW, plan_of, view_of

OLD = "sha256:" + "e" * 64
MANY = [f"d{number:02}" for number in range(10)]
WAVE = "rollback: {scope: wave}"


def canary(*spec: str) -> Plan:
    strategy = "strategy: {type: Canary, initialPercentage: 20, increments: [50, 100], soak: 0s}"
    return plan_of(MANY, [strategy, *spec])


PLAN = canary(WAVE)
FIRST, SECOND, THIRD = (wave.devices for wave in PLAN.waves)
PASSED, BROKEN = WaveView("passed"), WaveView("failed", "3 of 3 failed")


def runs(device: str, **more: object) -> DeviceView:
    view = DeviceView(id=device, running=PLAN.release.digest, by_mandate=True, confirmed=True, attempts=1)
    return replace(view, install=f"{device}/1", observed_at=NOW, **more)  # type: ignore[arg-type]


def ill(device: str) -> DeviceView:
    failure = Failure(1, "health", "E_PROBE_FAILED", NOW)
    return DeviceView(id=device, running=OLD, attempts=1, install=f"{device}/1", failure=failure, spent=True)


def backwards(*devices: DeviceView, keeps: bool = True, control: Control | None = None) -> RolloutView:
    view = view_of(*devices, waves={"wave-1": PASSED, "wave-2": BROKEN})
    return replace(view, back_since=NOW, back_keeps=keeps, control=control)


def test_a_gate_that_fails_says_what_stays_and_what_goes() -> None:
    view = view_of(*map(runs, FIRST), *map(ill, SECOND), waves={"wave-1": PASSED, "wave-2": WaveView("open")})
    moved, back = (action for action in decide(PLAN, view, NOW).actions if isinstance(action, MoveWave | GoBack))
    assert moved == MoveWave("wave-2", "failed", "3 of 3 failed (100 %), allowed are 2 %")
    told = "wave-2: 3 of 3 failed (100 %), allowed are 2 %; wave-1 stays"
    assert back == GoBack("maxFailureRate", told, keeps=True)


def test_without_the_scope_everybody_goes_back() -> None:
    view = view_of(*map(runs, FIRST), *map(ill, SECOND), waves={"wave-1": PASSED, "wave-2": WaveView("open")})
    (back,) = (action for action in decide(canary(), view, NOW).actions if isinstance(action, GoBack))
    assert back == GoBack("maxFailureRate", "wave-2: 3 of 3 failed (100 %), allowed are 2 %")


def test_nobody_of_a_wave_that_has_passed_is_called() -> None:
    view = backwards(*map(runs, FIRST), *map(runs, SECOND))
    decision = decide(PLAN, view, NOW)
    assert {one.device for one in decision.actions if isinstance(one, Visit)} == set(SECOND)
    assert decision.standings[FIRST[0]].reason == "runs 2.5.0 and keeps it: wave-1 had passed"
    assert decision.counts == {"reached": 2, "in-flight": 3, "untouched": 5}
    assert isinstance(next_step(PLAN, view, view.devices[FIRST[0]], NOW), Leave)
    assert isinstance(next_step(PLAN, view, view.devices[SECOND[0]], NOW), TakeBack)


def test_the_end_says_who_stays() -> None:
    (end,) = decide(PLAN, backwards(*map(runs, FIRST), *map(ill, SECOND)), NOW).actions
    assert end == Finish("rolled-back", "3 taken back; wave-1 (2 devices) keeps sensor-v1@2.5.0")


@pytest.mark.parametrize(
    ("device", "state"),
    [
        (runs(FIRST[0]), "reached"),
        (runs(FIRST[0], unreachable_since=NOW), "reached"),
        (runs(FIRST[0], quarantined="alice: look"), "reached"),
        (runs(FIRST[0], by_mandate=False), "untouched"),
        (runs(FIRST[0], running=OLD, by_mandate=False), "untouched"),
        (runs(FIRST[0], running=OLD, by_mandate=False, spent=True), "back"),
        (runs(FIRST[0], order=OpenOrder("o", 2, "running", NOW, True)), "in-flight"),
        (runs(FIRST[0], back=OpenOrder("b", 1, "sent", NOW, False, "revert")), "in-flight"),
        (runs(FIRST[0], order=OpenOrder("o", 2, "running", NOW, True), unreachable_since=NOW), "retry"),
    ],
)
def test_of_a_wave_that_has_passed_only_who_arrived_stays(device: DeviceView, state: str) -> None:
    """A straggler that got no further than an order was never judged with its wave."""
    assert decide(PLAN, backwards(device), NOW).standings[device.id].state == state


def test_a_wave_that_passed_and_fails_in_the_end_goes_back_alone() -> None:
    late = view_of(
        runs(FIRST[0]),
        ill(FIRST[1]),
        *map(runs, SECOND),
        waves={"wave-1": PASSED, "wave-2": PASSED, "wave-3": WaveView("open")},
    )
    moved, back = (action for action in decide(PLAN, late, NOW).actions if isinstance(action, MoveWave | GoBack))
    assert moved == MoveWave("wave-1", "failed", "1 of 2 failed in the end")
    assert isinstance(back, GoBack)
    assert back.reason == "wave-1: 1 of 2 failed in the end; wave-2 stays"
    judged = {**late.waves, "wave-1": WaveView("failed", moved.reason)}
    killed = decide(PLAN, replace(late, waves=judged), NOW).actions
    assert back in killed, "killed between the two, the same follows"
    going = decide(PLAN, replace(late, waves=judged, back_since=NOW, back_keeps=True), NOW)
    assert {one.device for one in going.actions if isinstance(one, Visit)} == {FIRST[0]}


def test_a_person_takes_back_what_a_gate_has_left() -> None:
    for control in (
        Control("rolled-back", "all of it", "alice"),
        Control("aborted", "all of it", "alice", revert=True),
    ):
        view = backwards(*map(runs, FIRST), *map(ill, SECOND), control=control)
        assert decide(PLAN, view, NOW).actions == (GoBack("control", "alice: all of it"),)
        wider = decide(PLAN, replace(view, back_keeps=False), NOW)
        assert {one.device for one in wider.actions if isinstance(one, Visit)} == set(FIRST)


def test_a_person_takes_back_everybody_at_once() -> None:
    view = view_of(*map(runs, FIRST), waves={"wave-1": PASSED, "wave-2": WaveView("open")})
    word = Control("rolled-back", "all of it", "alice")
    (back,) = decide(PLAN, replace(view, control=word), NOW).actions
    assert back == GoBack("control", "alice: all of it", keeps=False)


def test_where_nobody_goes_back_by_itself_it_only_stops() -> None:
    plan = canary("rollback: {scope: wave, automatic: false}")
    view = view_of(*map(runs, FIRST), *map(ill, SECOND), waves={"wave-1": PASSED, "wave-2": WaveView("open")})
    assert any(isinstance(action, Stop) for action in decide(plan, view, NOW).actions)
    assert not any(isinstance(action, GoBack) for action in decide(plan, view, NOW).actions)


def test_regions_side_by_side_go_back_together_but_for_what_has_passed() -> None:
    strategy = "strategy: {type: Regional, order: Parallel, regions: [{name: eu}, {name: us}], inner: {type: Direct}}"
    plan = plan_of(MANY, [strategy, WAVE], ["eu", "us"])
    eu, us = plan.waves
    view = view_of(
        *map(runs, eu.devices),
        *map(runs, us.devices),
        waves={eu.name: WaveView("failed"), us.name: WaveView("soaking")},
    )
    going = replace(view, back_since=NOW, back_keeps=True)
    assert kept(going) == frozenset()
    assert decide(plan, going, NOW).counts == {"in-flight": 10}
    stayed = replace(going, waves={eu.name: WaveView("failed"), us.name: PASSED})
    assert decide(plan, stayed, NOW).counts == {"in-flight": 5, "reached": 5}


def test_waves_are_told_by_name_as_long_as_they_are_few() -> None:
    names = {f"wave-{number}": 1 for number in range(1, 8)}
    assert keep_words(PLAN, {"wave-1": 0}) == ""
    assert keep_words(PLAN, {"wave-1": 1, "wave-2": 0}) == "wave-1 (1 device) keeps sensor-v1@2.5.0"
    assert keep_words(PLAN, {"wave-1": 1, "wave-2": 4}) == "wave-1 (1 device), wave-2 (4 devices) keep sensor-v1@2.5.0"
    assert keep_words(PLAN, names).endswith("wave-5 (1 device), 2 more waves keep sensor-v1@2.5.0")
