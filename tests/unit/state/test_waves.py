"""Waves and quarantine in the ledger: idempotent, forwards only, and an older ledger keeps everything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fwctl.errors import WorldError
from fwctl.state import (
    Lease,
    Ledger,
    Quarantined,
    QuarantineReleased,
    RolloutState,
    WaveMoved,
    WaveState,
)
from tests.unit.state.support import NOW, ROLLOUT, later, rollout

W = WaveState


def wave(state: WaveState, seconds: int = 0, *, name: str = "wave-1", mandate: str = "m1", why: str = "") -> WaveMoved:
    reason = why or f"because {state}"
    return WaveMoved(at=later(seconds), rollout=ROLLOUT, mandate=mandate, wave=name, state=state, reason=reason)


@pytest.fixture
def begun(ledger: Ledger, lease: Lease) -> Ledger:
    ledger.apply([rollout()], epoch=lease.epoch)
    return ledger


def kinds(ledger: Ledger) -> list[str]:
    return [event.kind for event in ledger.events()][1:]


def test_a_wave_leaves_its_whole_story(begun: Ledger, lease: Lease) -> None:
    for seconds, state in enumerate((W.OPEN, W.SOAKING, W.PASSED)):
        begun.apply([wave(state, seconds)], epoch=lease.epoch)
    (row,) = begun.waves(ROLLOUT, "m1")
    assert (row.wave, row.state, row.reason) == ("wave-1", W.PASSED, "because passed")
    assert (row.opened_at, row.soak_since, row.judged_at) == (NOW, later(1), later(2))
    assert kinds(begun) == ["wave.open", "wave.soaking", "wave.passed"]
    assert [event.data.get("wave") for event in begun.events(rollout=ROLLOUT)][1:] == ["wave-1"] * 3
    assert begun.verify_chain() is None


def test_a_soak_begins_once(begun: Ledger, lease: Lease) -> None:
    """THREATS R14: whoever says again that the wave soaks does not start the soak anew."""
    begun.apply([wave(W.OPEN), wave(W.SOAKING, 1), wave(W.SOAKING, 50, why="another word")], epoch=lease.epoch)
    (row,) = begun.waves(ROLLOUT, "m1")
    assert (row.soak_since, row.opened_at, row.reason) == (later(1), NOW, "another word")
    assert kinds(begun) == ["wave.open", "wave.soaking"]


@pytest.mark.parametrize(
    "states", [(W.OPEN, W.PASSED), (W.OPEN, W.FAILED), (W.OPEN, W.SOAKING, W.FAILED), (W.OPEN, W.SOAKING, W.PASSED)]
)
def test_the_same_verdict_again_changes_nothing(begun: Ledger, lease: Lease, states: tuple[WaveState, ...]) -> None:
    for state in states:
        begun.apply([wave(state)], epoch=lease.epoch)
    before, events = begun.waves(ROLLOUT, "m1"), kinds(begun)
    begun.apply([wave(states[-1], 99)], epoch=lease.epoch)
    assert (begun.waves(ROLLOUT, "m1"), kinds(begun)) == (before, events)
    assert (before[0].judged_at, before[0].soak_since) == (NOW, NOW if W.SOAKING in states else None)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((W.OPEN, W.PASSED), W.OPEN),
        ((W.OPEN, W.PASSED), W.SOAKING),
        ((W.OPEN, W.FAILED), W.PASSED),
        ((W.OPEN, W.FAILED), W.SOAKING),
        ((W.OPEN, W.FAILED), W.OPEN),
        ((W.OPEN, W.SOAKING), W.OPEN),
    ],
)
def test_a_judged_wave_is_not_judged_again(
    begun: Ledger, lease: Lease, first: tuple[WaveState, ...], then: WaveState
) -> None:
    for state in first:
        begun.apply([wave(state)], epoch=lease.epoch)
    before = begun.waves(ROLLOUT, "m1")
    with pytest.raises(WorldError) as caught:
        begun.apply([wave(then, 5)], epoch=lease.epoch)
    assert caught.value.code == "E_LEDGER_TRANSITION"
    assert begun.waves(ROLLOUT, "m1") == before


def test_a_wave_that_has_passed_may_fail_after_all(begun: Ledger, lease: Lease) -> None:
    begun.apply([wave(W.OPEN), wave(W.PASSED, 1), wave(W.FAILED, 2)], epoch=lease.epoch)
    (row,) = begun.waves(ROLLOUT, "m1")
    assert (row.state, row.judged_at) == (W.FAILED, later(2))


def test_a_new_mandate_has_waves_of_its_own(begun: Ledger, lease: Lease) -> None:
    begun.apply([wave(W.OPEN), wave(W.FAILED, 1)], epoch=lease.epoch)
    begun.apply([rollout(mandate="m2"), wave(W.OPEN, 2, mandate="m2")], epoch=lease.epoch)
    assert [row.state for row in begun.waves(ROLLOUT, "m2")] == [W.OPEN]
    assert [row.state for row in begun.waves(ROLLOUT, "m1")] == [W.FAILED]


def test_waves_need_a_rollout(ledger: Ledger, lease: Lease) -> None:
    with pytest.raises(WorldError):
        ledger.apply([wave(W.OPEN)], epoch=lease.epoch)
    assert ledger.waves(ROLLOUT, "m1") == ()


def test_the_way_back_is_timed_from_its_first_record(begun: Ledger, lease: Lease) -> None:
    for seconds in (5, 60):
        begun.apply([rollout(RolloutState.ROLLING_BACK, at=later(seconds))], epoch=lease.epoch)
    begun.apply([rollout(RolloutState.ROLLED_BACK, at=later(90))], epoch=lease.epoch)
    row = begun.rollout(ROLLOUT)
    assert row is not None
    assert (row.back_since, row.finished_at) == (later(5), later(90))
    begun.apply([rollout(mandate="m2", at=later(99))], epoch=lease.epoch)
    fresh = begun.rollout(ROLLOUT)
    assert fresh is not None
    assert (fresh.back_since, fresh.finished_at) == (None, None), "a new mandate starts afresh"


def test_what_had_passed_is_kept_until_somebody_takes_back_everything(begun: Ledger, lease: Lease) -> None:
    back = rollout(RolloutState.ROLLING_BACK, at=later(5))
    first = [wave(W.OPEN), wave(W.PASSED, 1), wave(W.OPEN, 2, name="wave-2"), wave(W.FAILED, 3, name="wave-2")]
    begun.apply([*first, replace(back, keeps=True)], epoch=lease.epoch)
    row = begun.rollout(ROLLOUT)
    assert row is not None
    assert (row.back_since, row.back_keeps) == (later(5), True)
    assert begun.keeping("m1") == {"wave-1"}
    assert begun.keeping("m2") == frozenset()
    begun.apply([rollout(RolloutState.ROLLED_BACK, at=later(9))], epoch=lease.epoch)
    begun.apply([replace(back, at=later(60), rule="control")], epoch=lease.epoch)
    wider = begun.rollout(ROLLOUT)
    assert wider is not None
    assert (wider.back_since, wider.back_keeps, wider.finished_at) == (later(60), False, None), "the deadline is new"
    assert begun.keeping("m1") == frozenset()
    begun.apply([replace(back, at=later(70), keeps=True)], epoch=lease.epoch)
    assert begun.keeping("m1") == frozenset(), "who has been told to go back is not told to stay"


def test_who_is_told_to_go_back_is_not_kept_by_the_same_words(begun: Ledger, lease: Lease) -> None:
    back = rollout(RolloutState.ROLLING_BACK, at=later(5))
    begun.apply([replace(back, keeps=True)], epoch=lease.epoch)
    begun.apply([replace(back, at=later(6))], epoch=lease.epoch)
    row = begun.rollout(ROLLOUT)
    assert row is not None
    assert (row.back_since, row.back_keeps) == (later(6), False)


def test_the_first_reason_for_a_quarantine_stays(begun: Ledger, lease: Lease) -> None:
    first = Quarantined(at=NOW, device="device-1", reason="health", rollout=ROLLOUT)
    begun.apply([first], epoch=lease.epoch)
    begun.apply([first, Quarantined(at=later(9), device="device-1", reason="alice", actor="alice")], epoch=lease.epoch)
    (row,) = begun.quarantine()
    assert (row.device, row.reason, row.rollout, row.actor, row.since) == ("device-1", "health", ROLLOUT, "fwctl", NOW)
    assert kinds(begun) == ["device.quarantined"]


def test_a_release_is_told_once_and_a_device_may_go_back_into_quarantine(begun: Ledger, lease: Lease) -> None:
    let_go = QuarantineReleased(at=later(1), device="device-1", reason="mended", actor="alice")
    begun.apply([let_go], epoch=lease.epoch)
    assert kinds(begun) == [], "it was not in quarantine"
    begun.apply([Quarantined(at=NOW, device="device-1", reason="health"), let_go, let_go], epoch=lease.epoch)
    assert begun.quarantine() == ()
    begun.apply([Quarantined(at=later(2), device="device-1", reason="again")], epoch=lease.epoch)
    assert [row.reason for row in begun.quarantine()] == ["again"]
    assert kinds(begun) == ["device.quarantined", "device.released", "device.quarantined"]
    (released,) = [event for event in begun.events() if event.kind == "device.released"]
    assert (released.actor, released.reason, released.device) == ("alice", "mended", "device-1")
