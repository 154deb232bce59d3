"""Canaries over the real simulator: what each class of failure does to the gate, to the device and to the rollout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fwctl.rollouts.cohorts import by_lot
from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World, until

pytestmark = pytest.mark.e2e

FOUR = [f"sim-{number:03}" for number in range(1, 5)]
VICTIM, NEIGHBOUR = by_lot(FOUR, "sensors")[:2]
"""who is in the canary of a fleet of four"""
TWO = "{type: Canary, initialPercentage: 50, increments: [100], soak: %s}"
SOON = ("passInterval: 5m", "passInterval: 1s"), ("confirmWithin: 10m", "confirmWithin: 3s")


@pytest.fixture
def four(tmp_path: Path) -> Iterator[CanaryWorld]:
    with World(tmp_path) as world:
        yield CanaryWorld(world, 4)


def quickly(fleet: CanaryWorld) -> None:
    """Have devices go back after three seconds without a confirm."""
    file = fleet.world.repo / "fleet.yaml"
    text = file.read_text()
    for old, new in SOON:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def fault(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "devices": [VICTIM], **more}


# -- what counts against the gate --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "soak", "attempts", "klass"),
    [
        (fault("unhealthy", versions=[BAD]), "2s", [(1, "health")], "health"),
        (fault("unhealthy", versions=[BAD], late=0.3), "5s", [(1, "")], "health"),
        (fault("silentRevert", versions=[BAD], late=0.3), "5s", [(1, "")], "silent-revert"),
        (fault("fullDisk", versions=[BAD]), "2s", [(1, "install"), (2, "install")], "install"),
        (fault("corrupt", versions=[BAD], where="disk"), "2s", [(1, "install"), (2, "install")], "install"),
    ],
    ids=["in the trial", "in the watch", "silent revert", "full disk", "rotting disk"],
)
def test_what_is_the_firmwares_fault_takes_the_rollout_back(
    four: CanaryWorld, bad: dict[str, Any], soak: str, attempts: list[tuple[int, str]], klass: str
) -> None:
    four.simulate(bad)
    four.settled()
    four.release(BAD, strategy=TWO % soak)
    ended(four.world.once(duration=20), 1)
    assert (four.state(), four.waves()) == ("rolled-back", {"wave-1": "failed"})
    assert four.attempts(VICTIM) == attempts
    assert four.versions() == {GOOD: 4}
    assert four.quarantined() == {VICTIM}
    assert four.touched() == {VICTIM, NEIGHBOUR}, "nobody beyond the canary was ever ordered"
    with four.world.ledger() as ledger:
        events = [(event.kind, event.reason) for event in ledger.events()]
    failed = [reason for kind, reason in events if kind == "wave.failed"]
    assert failed == ["1 of 2 failed (50 %), allowed are 2 %"]
    assert any(kind == "device.quarantined" and (klass in why or "took this" in why) for kind, why in events)


def test_a_refusal_holds_the_rollout_at_once_and_touches_nobody_else(four: CanaryWorld) -> None:
    four.simulate(fault("clock", offset=10 * 365 * 86400))
    four.release(BAD, strategy=TWO % "2s")
    ended(four.world.once(), 1)
    assert (four.state(), four.reason()) == ("held", f"refused: {VICTIM} refused: E_EXPIRED")
    assert four.attempts(VICTIM) == [(1, "refused")]
    assert (four.quarantined(), four.waves()) == (set(), {"wave-1": "open"})
    assert four.touched() <= {VICTIM, NEIGHBOUR}


# -- what does not -----------------------------------------------------------------------------------------------------


def test_a_transfer_that_never_succeeds_is_not_the_firmwares_fault(four: CanaryWorld) -> None:
    four.simulate(fault("corrupt", where="transfer"))
    four.release(BAD, strategy=TWO % "2s")
    ran = four.world.once()
    ended(ran, 0)
    assert "wave-1, minReached: 1 of 2 reached, 90 % are wanted; 1 cannot be" in ran.out
    assert four.attempts(VICTIM) == [(1, "download"), (2, "download")]
    assert (four.quarantined(), four.waves()) == (set(), {"wave-1": "open"}), "inconclusive never promotes"


def test_who_is_not_ready_is_asked_again_and_nothing_counts(four: CanaryWorld) -> None:
    four.simulate(fault("unready", until=3600, reason="on battery"))
    four.release(BAD, strategy=TWO % "1s")
    four.world.once(duration=1)
    assert four.waves() == {"wave-1": "open"}
    assert four.touched() == {VICTIM, NEIGHBOUR}
    (said,) = [one["reason"] for one in four.world.status()["devices"] if one["device"] == VICTIM]
    assert "not ready since" in said


def test_who_is_away_is_a_straggler_and_catches_up(four: CanaryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    away = four.simulate(fault("refuse"), options=())
    four.release(BAD, strategy=TWO % "1s")
    ran = four.world.once(duration=10)
    ended(ran, 0)
    assert "1 straggler" in ran.out
    assert four.waves() == {"wave-1": "open"}
    assert four.attempts(VICTIM) == []
    away.stop()
    four.simulate(options=())
    # Its hour is over.
    monkeypatch.setattr("fwctl.rollouts.standing.STRAGGLER_RETRY", timedelta())
    four.world.forget_summaries()
    report = four.world.reconciled()["rollouts"][0]
    assert (report["state"], report["counts"]) == ("complete", {"reached": 4})
    assert four.attempts(VICTIM) == [(1, "")]


def test_a_device_that_nobody_could_confirm_is_tried_once_more(four: CanaryWorld) -> None:
    quickly(four)
    four.simulate(fault("vanish", phase="trial", how="network", seconds=5, versions=[BAD]))
    four.settled()
    four.release(BAD, strategy=TWO % "0s")
    report = four.world.reconciled()["rollouts"][0]
    assert report["counts"] == {"reached": 4}, report
    assert four.attempts(VICTIM) == [(1, "unconfirmed"), (2, "")]
    assert (four.quarantined(), four.waves()) == (set(), {"wave-1": "passed", "wave-2": "passed"})


def test_a_device_that_took_its_order_and_never_came_back_does_not_hold_the_wave_for_ever(
    four: CanaryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must have gone back by itself long ago: its wave is judged, its place stays taken."""
    monkeypatch.setattr("fwctl.rollouts.standing.GRACE", timedelta(seconds=1))
    quickly(four)
    four.simulate(fault("vanish", phase="trial", how="power", versions=[BAD]))
    four.settled()
    half = "gates: {minReached: {percent: 50}}"
    four.release(BAD, strategy=TWO % "0s", more=half)
    report = four.world.reconciled()["rollouts"][0]
    assert (report["state"], report["counts"]) == ("complete", {"reached": 3, "straggler": 1})
    with four.world.ledger() as ledger:
        (order,) = [one for one in ledger.orders(device=VICTIM, open_only=True) if one.verb == "install"]
    assert order.status in ("accepted", "running")


# -- a bad release -----------------------------------------------------------------------------------------------------


@pytest.fixture
def twenty(tmp_path: Path) -> Iterator[CanaryWorld]:
    with World(tmp_path) as world:
        yield CanaryWorld(world, 20)


def test_a_bad_release_ends_at_the_canary_and_stays_back_until_a_new_round_is_approved(twenty: CanaryWorld) -> None:
    bad = twenty.simulate({"kind": "unhealthy", "versions": [BAD]})
    twenty.settled()
    twenty.release(BAD)
    ran = twenty.world.once(duration=20)
    ended(ran, 1)
    assert "rolled-back" in ran.out
    assert (twenty.versions(), len(twenty.touched())) == ({GOOD: 20}, 2)
    assert twenty.quarantined() == twenty.touched()
    for _ in range(2):
        again = twenty.world.once("--format", "json")
        ended(again, 1)
        assert '"visits": 0' in again.out, "sticky, and quiet (I9)"
    for device in sorted(twenty.quarantined()):
        twenty.world.fwctl("quarantine", "release", device, "--reason", "the sensor was replaced")
    ended(twenty.world.once(), 1)
    assert twenty.versions() == {GOOD: 20}, "whoever leaves quarantine does not start a rolled-back rollout again"
    twenty.release(BAD, more="round: 2", approve=False)
    ended(twenty.world.once(), 1)
    assert twenty.versions() == {GOOD: 20}
    assert bad.running
    twenty.world.fwctl("approve", "sensors", "--yes")
    ended(twenty.world.once(duration=20), 1)
    assert twenty.state() == "rolled-back", "it was tried again, and is still bad"
    assert twenty.versions() == {GOOD: 20}


def test_who_was_away_during_the_rollback_is_taken_back_on_its_return(twenty: CanaryWorld) -> None:
    names = [f"sim-{number:03}" for number in range(1, 21)]
    first, second, third = by_lot(names, "sensors")[:3]
    strategy = "{type: Canary, initialPercentage: 15, increments: [100], soak: 4s}"
    twenty.simulate(
        {"kind": "refuse", "devices": [first], "since": "confirm", "after": 1, "until": 12, "versions": [BAD]},
        {"kind": "unhealthy", "devices": [second], "late": 1, "versions": [BAD]},
    )
    twenty.settled()
    twenty.release(BAD, strategy=strategy)
    ended(twenty.world.once(duration=7), 1)
    assert (twenty.running(first), twenty.running(third)) == (BAD, GOOD)
    assert twenty.state() in ("rolling-back", "rolled-back")
    with twenty.world.ledger() as ledger:
        began = ledger.rollouts()[0].back_since
    ended(twenty.world.once(duration=15), 1)
    assert twenty.versions() == {GOOD: 20}
    with twenty.world.ledger() as ledger:
        (row,) = ledger.rollouts()
    assert (row.state, row.reason, row.back_since) == ("rolled-back", "3 taken back", began)


def test_the_quick_start_of_the_specification_completes(tmp_path: Path) -> None:
    """A canary of 10, 30, 50 and 100 percent on two devices: a wave each, and both are reached."""
    with World(tmp_path) as world:
        two = CanaryWorld(world, 2)
        two.simulate()
        two.release(GOOD, strategy="{type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 1s}")
        ended(world.once(duration=30), 0)
        assert (two.state(), two.versions()) == ("complete", {GOOD: 2})
        assert two.waves() == {"wave-1": "passed", "wave-4": "passed"}


def test_a_newer_commit_does_not_end_the_way_back(twenty: CanaryWorld) -> None:
    """What was bad stays bad: a device that was away comes back from it, whatever somebody has committed since."""
    names = [f"sim-{number:03}" for number in range(1, 21)]
    first, second = by_lot(names, "sensors")[:2]
    strategy = "{type: Canary, initialPercentage: 15, increments: [100], soak: 4s}"
    twenty.simulate(
        {"kind": "refuse", "devices": [first], "since": "confirm", "after": 1, "until": 12, "versions": [BAD]},
        {"kind": "unhealthy", "devices": [second], "late": 1, "versions": [BAD]},
    )
    twenty.settled()
    twenty.release(BAD, strategy=strategy)
    ended(twenty.world.once(duration=7), 1)
    assert twenty.running(first) == BAD
    twenty.release("2.7.0", strategy=strategy, approve=False)

    def back() -> bool:
        ended(twenty.world.once(duration=3), 1)
        return twenty.running(first) == GOOD

    until(back, what=f"{first} to be back", seconds=40)
    assert twenty.versions() == {GOOD: 20}


def test_an_approval_point_holds_until_the_second_approval(twenty: CanaryWorld) -> None:
    twenty.simulate()
    strategy = "{type: Canary, initialPercentage: 10, increments: [100], soak: 0s, approvalBefore: [wave-2]}"
    twenty.release(GOOD, strategy=strategy, approve=False)
    twenty.world.fwctl("approve", "sensors", "--stage", "1", "--yes")
    for _ in range(2):
        ran = twenty.world.once()
        ended(ran, 0)
        assert "wave-2 waits for approval" in ran.out
        assert (twenty.waves(), len(twenty.touched())) == ({"wave-1": "passed"}, 2)
    twenty.world.fwctl("approve", "sensors", "--stage", "2", "--yes")
    report = twenty.world.reconciled()["rollouts"][0]
    assert (report["state"], report["counts"]) == ("complete", {"reached": 20})


def test_a_bad_rollout_beside_a_good_one_holds_up_nobody(twenty: CanaryWorld) -> None:
    """Two rollouts in one pass: one is taken back, the other one completes."""
    twenty.simulate({"kind": "unhealthy", "versions": [BAD]})
    names = [f"sim-{number:03}" for number in range(1, 21)]
    for name, version, devices in (("sensors", BAD, names[:10]), ("others", GOOD, names[10:])):
        twenty.write(version, name=name, targets=f"{{devices: [{', '.join(devices)}]}}")
    twenty.world.commit("Two rollouts")
    for name in ("sensors", "others"):
        twenty.world.fwctl("approve", name, "--yes")
    ended(twenty.world.once(duration=30), 1)
    with twenty.world.ledger() as ledger:
        states = {row.key: str(row.state) for row in ledger.rollouts()}
        versions = {row.id: row.running_version for row in ledger.devices()}
    assert states == {"dev/others": "complete", "dev/sensors": "rolled-back"}
    assert {version for name, version in versions.items() if name in names[10:]} == {GOOD}
    assert BAD not in versions.values()
