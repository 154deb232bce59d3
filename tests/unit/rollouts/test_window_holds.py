"""What a closed window holds, and what goes on: nothing begins outside it, and nothing that has begun is stopped."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.manifests.table import Profile
from fwctl.rollouts.actions import Install, Leave, MoveWave, Resume, TakeBack, Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import LOOK_AGAIN, decide, decide_on, next_step
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, Failure, OpenOrder, WaveView
from fwctl.rollouts.windows.calendar import Calendar, calendar_of
from tests.unit.rollouts.fleets import OPEN, plan_of, view_of

NIGHT = 'window: {allow: [{cron: "0 1 * * *", duration: 4h, timeZone: "Europe/Berlin"}]}'
EVENING = datetime(2026, 11, 23, 18, 40, tzinfo=UTC)
OPENS, CLOSES = datetime(2026, 11, 24, 0, tzinfo=UTC), datetime(2026, 11, 24, 4, tzinfo=UTC)
DEEP = OPENS + timedelta(hours=1)
WHY = "outside its window; opens Tue 2026-11-24 01:00 CET"
OLD = "sha256:" + "1" * 64


def plan(*devices: str, window: str = NIGHT, strategy: str = "{type: Direct}") -> Plan:
    return plan_of(devices or ("a", "b"), [f"strategy: {strategy}", window])


def order(*, accepted: bool) -> OpenOrder:
    return OpenOrder("order-a", 1, "accepted" if accepted else "sent", EVENING, accepted)


def test_no_wave_opens_outside_it_and_the_pass_knows_until_when() -> None:
    decision = decide(plan(), view_of(waves={}), EVENING)
    assert decision.actions == ()
    assert (decision.holding, decision.wave_due, decision.next_due) == (WHY, OPENS, OPENS)
    assert decision.soon(EVENING) == OPENS, "a pass that may last until then stays"
    assert {one.reason for one in decision.standings.values()} == {WHY}
    assert dict(decision.counts) == {"held": 2}


def test_it_opens() -> None:
    (opened,) = decide(plan(), view_of(waves={}), OPENS).actions
    assert isinstance(opened, MoveWave)
    assert opened.state == "open"


def test_no_device_begins_outside_it_and_each_one_says_why() -> None:
    failed = DeviceView(id="b", attempts=1, failure=Failure(1, "download", "E_X", EVENING - timedelta(hours=1)))
    decision = decide(plan("a", "b"), view_of(failed), CLOSES)
    assert decision.actions == ()
    told = {one.device: (one.state, one.rule) for one in decision.standings.values()}
    assert told == {"a": ("held", "in_window"), "b": ("held", "in_window")}


def test_within_it_all_may_start() -> None:
    decision = decide(plan("a", "b"), view_of(), CLOSES - timedelta(seconds=1))
    assert [type(action) for action in decision.actions] == [Visit, Visit]


def test_what_is_under_way_goes_on() -> None:
    device = DeviceView(id="a", attempts=1, order=order(accepted=True), install="order-a")
    view = view_of(device)
    decision = decide(plan("a", "b"), view, CLOSES)
    assert [action.device for action in decision.actions if isinstance(action, Visit)] == ["a"]
    assert isinstance(next_step(plan("a", "b"), view, device, CLOSES), Resume)


def test_an_order_whose_answer_was_lost_and_that_has_worked_is_finished() -> None:
    there = plan("a")
    device = DeviceView(
        id="a",
        attempts=1,
        order=order(accepted=False),
        ordered=there.release.digest,
        running=there.release.digest,
        by_mandate=True,
    )
    assert isinstance(next_step(there, view_of(device), device, CLOSES), Resume)


def test_an_order_that_the_device_has_not_taken_waits() -> None:
    device = DeviceView(id="a", attempts=1, order=order(accepted=False), ordered="sha256:x", running=OLD)
    step = next_step(plan("a"), view_of(device), device, CLOSES)
    assert isinstance(step, Leave)
    assert step.due == CLOSES + LOOK_AGAIN
    assert step.reason.startswith("outside its window; opens Wed 2026-11-25 01:00 CET")
    near = next_step(plan("a"), view_of(device), device, OPENS - timedelta(minutes=5))
    assert isinstance(near, Leave)
    assert near.due == OPENS


def test_a_device_that_answers_when_the_window_has_just_closed_gets_nothing() -> None:
    device = DeviceView(id="a", running=OLD)
    assert isinstance(next_step(plan("a"), view_of(device), device, CLOSES - timedelta(seconds=1)), Install)
    step = next_step(plan("a"), view_of(device), device, CLOSES)
    assert isinstance(step, Leave)
    assert step.reason.startswith("outside its window")


def test_going_back_asks_no_window() -> None:
    there = plan("a", "b")
    device = DeviceView(id="a", attempts=1, install="order-a", running=there.release.digest, by_mandate=True)
    view = replace(view_of(device), back_since=CLOSES)
    decision = decide(there, view, CLOSES)
    assert [action.device for action in decision.actions if isinstance(action, Visit)] == ["a"]
    assert isinstance(next_step(there, view, device, CLOSES), TakeBack)


def test_a_gate_is_judged_outside_it_and_a_soak_ends() -> None:
    """Stragglers are not looked for meanwhile; they settle the wave all the same."""
    there = plan_of(
        ["a", *"bcdefghijk"],
        ["strategy: {type: Direct, soak: 1h}", NIGHT, "gates: {minReached: {percent: 50}, timeoutPerDevice: 10m}"],
    )
    reached = [DeviceView(id=one, running=there.release.digest, observed_at=CLOSES) for one in "bcdefghijk"]
    away = DeviceView(id="a", unreachable_since=DEEP, misses=9)
    decision = decide(there, view_of(away, *reached), CLOSES)
    (moved,) = decision.actions
    assert isinstance(moved, MoveWave)
    assert moved.state == "soaking"
    assert decision.standings["a"].state == "straggler"
    assert "outside its window" in decision.standings["a"].reason
    soaked = {"wave-1": WaveView("soaking", soak_since=CLOSES - timedelta(hours=1))}
    (moved,) = decide(there, view_of(away, *reached, waves=soaked), CLOSES).actions
    assert isinstance(moved, MoveWave)
    assert moved.state == "passed"


def test_a_straggler_is_looked_for_when_it_opens() -> None:
    there = plan_of(["a", "b"], ["strategy: {type: Direct}", NIGHT, "gates: {minReached: {percent: 0}}"])
    away = DeviceView(id="a", unreachable_since=EVENING - timedelta(hours=9), misses=9)
    here = DeviceView(id="b", running=there.release.digest)
    passed = {"wave-1": WaveView("passed")}
    board = Board(there)
    board.update(view_of(away, here, waves=passed), None, EVENING)
    assert not [action for action in decide_on(board).actions if isinstance(action, Visit)]
    assert board.until == OPENS, "a pass that rests wakes for it"
    board.update(view_of(away, here, waves=passed), (), OPENS)
    assert [action.device for action in decide_on(board).actions if isinstance(action, Visit)] == ["a"]


def test_a_rollout_in_which_nobody_waits_is_not_woken_by_its_window() -> None:
    there = plan("a")
    board = Board(there)
    board.update(
        view_of(DeviceView(id="a", running=there.release.digest), waves={"wave-1": WaveView("passed")}), None, EVENING
    )
    assert board.until is None


def test_a_stop_is_told_before_the_window() -> None:
    decision = decide(plan("a"), view_of(stopped="paused: alice"), EVENING)
    assert decision.standings["a"].reason == "paused: alice"


LOCAL = 'window: {allow: [{cron: "0 1 * * *", duration: 4h, timeZone: device}]}'


@pytest.mark.parametrize(
    ("zone", "may"), [("Europe/Berlin", True), ("America/New_York", False), (None, True), ("Atlantis/Capital", True)]
)
def test_a_window_in_the_zone_of_the_device_is_judged_there(zone: str | None, may: bool) -> None:
    there = replace(plan("a", window=LOCAL), profile=lambda _: Profile("m", "h", "dev", time_zone=zone))
    device = DeviceView(id="a", running=OLD)
    now = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
    step = next_step(there, view_of(device), device, now)
    assert isinstance(step, Install) == may
    if not may:
        assert isinstance(step, Leave)
        assert step.reason == "outside its window; opens Tue 2026-11-24 01:00 EST"


def test_the_windows_of_region_and_rollout_must_both_be_open() -> None:
    day = calendar_of(plan(window='window: {allow: [{cron: "0 2 * * *", duration: 1h}]}').spec.window)
    assert day is not None
    there = plan("a")
    wave = replace(there.waves[0], window=day.windows[0])
    both = replace(there, waves=(wave,))
    held = decide(both, view_of(), OPENS + timedelta(minutes=30))
    assert held.holding == "outside its window; opens Tue 2026-11-24 02:00 UTC"
    assert decide(both, view_of(), OPENS + timedelta(hours=2)).actions


STEPS = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 9)), min_size=1, max_size=25)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS, seed=st.integers(0, 2**32), opened=st.booleans())
def test_as_time_passes_the_kept_board_says_what_a_new_one_says_and_nothing_begins_outside(
    steps: list[tuple[int, int]], seed: int, opened: bool
) -> None:
    spec = ["strategy: {type: Canary, initialPercentage: 20, increments: [100], soak: 1m}", NIGHT]
    there = plan_of([f"d{number}" for number in range(10)], [*spec, "limits: {maxConcurrent: 3}"])
    chance, now = random.Random(seed), EVENING
    view = view_of(waves=OPEN if opened else {})
    board, window = Board(there), Calendar(*filter(None, [there.spec.window]))
    for minutes, number in steps:
        now += timedelta(minutes=minutes)
        device = f"d{number}"
        some = [None, DeviceView(id=device, order=order(accepted=True)), DeviceView(id=device, unreachable_since=now)]
        view = replace(view, devices={**view.devices, device: chance.choice(some) or DeviceView(id=device)})
        board.update(view, {device}, now)
        kept, fresh = decide_on(board), decide(there, view, now)
        assert (kept.actions, kept.holding, kept.next_due) == (fresh.actions, fresh.holding, fresh.next_due)
        assert dict(kept.standings) == dict(fresh.standings)
        assert board.until is None or board.until > now
        if not window.open_at(now):
            assert not [one for one in kept.actions if isinstance(one, MoveWave) and one.state == "open"]
            begun = {one.id for one in view.devices.values() if one.order is not None}
            assert {one.device for one in kept.actions if isinstance(one, Visit)} <= begun
            assert board.until is not None
            assert board.until <= (window.phase(now).until or now)
