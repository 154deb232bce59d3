"""What a person's word does to a real fleet: every verb over git, the ledger and simulated devices behind TLS."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fwctl.state import Ledger, acquire_lease
from tests.support.world import IDENTITY, Ran, World, firmware

OLD, NEW = firmware("2.5.0"), firmware("2.6.0")
WHY = "the sensors in Lyon report no data"
CANARY = "{type: Canary, initialPercentage: 50, increments: [100], soak: 1h}"


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


def fleet(world: World, strategy: str = CANARY, count: int = 4, *simulator: str) -> World:
    """Release 2.5.0 by a strategy to simulated devices; nothing has run yet."""
    world.init()
    world.enroll_simulated(count)
    world.simulator(*simulator)
    world.add_firmware(OLD, "2.5.0")
    world.fwctl("rollout", "create", "sensors", "--firmware", "sensor-v1@2.5.0", "--all")
    path = world.repo / "rollouts" / "dev" / "sensors.yaml"
    lines = [line for line in path.read_text().splitlines() if "strategy" not in line]
    path.write_text("\n".join([*lines, f"  strategy: {strategy}"]) + "\n")
    world.fwctl("plan", "sensors", "--lock")
    world.commit("Plan")
    world.fwctl("approve", "sensors", "--yes")
    return world


def once(world: World) -> dict[str, Any]:
    """Run one pass, whatever it answers, and return what it says about the rollout."""
    ran = world.once("--format", "json", duration=8)
    assert ran.code in (0, 1), ran.text
    rollout: dict[str, Any] = json.loads(ran.out)["rollouts"][0]
    return rollout


def runs(world: World) -> list[str]:
    """Return the versions that the devices report to a connection of our own."""
    found = []
    with world.ledger() as ledger:
        for row in ledger.devices():
            found.append(row.running_version)
    return sorted(found)


def kinds(world: World) -> list[str]:
    with world.ledger() as ledger:
        return [event.kind for event in ledger.events(rollout="dev/sensors")]


def said(ran: Ran) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ran.out)
    return answer


def test_a_paused_rollout_waits_until_it_is_resumed(world: World) -> None:
    fleet(world, "{type: Direct}")
    world.fwctl("pause", "sensors", "--reason", WHY)
    paused = once(world)
    assert (paused["state"], paused["counts"]) == ("paused", {"held": 4})
    assert f"alice: {WHY}" in paused["reason"]
    world.fwctl("resume", "sensors", "--reason", "it was the gateway")
    assert once(world)["counts"] == {"reached": 4}
    moves = [kind for kind in kinds(world) if kind.startswith("rollout.")]
    assert moves[-3:] == ["rollout.paused", "rollout.progressing", "rollout.complete"]


def test_pausing_twice_says_so_and_commits_nothing(world: World) -> None:
    fleet(world, "{type: Direct}")
    world.fwctl("pause", "sensors", "--reason", WHY)
    head = world.git("rev-parse", "HEAD")
    again = world.fwctl("pause", "sensors", "--reason", "once more")
    assert f"dev/sensors is paused already (alice: {WHY}). Nothing was changed." in again.out
    assert world.git("rev-parse", "HEAD") == head


def test_a_promoted_wave_is_not_waited_for(world: World) -> None:
    fleet(world)
    soaking = once(world)
    assert (soaking["state"], soaking["counts"]) == ("progressing", {"reached": 2, "held": 2})
    answer = said(world.fwctl("promote", "sensors", "--reason", "tested on the bench", "--format", "json"))
    assert answer["written"]["promoted"] == ["wave-1"]
    assert once(world)["counts"] == {"reached": 4}
    with world.ledger() as ledger:
        passed = next(event for event in ledger.events(rollout="dev/sensors") if event.kind == "wave.passed")
    assert passed.reason == "promoted by alice: tested on the bench"


def test_an_abort_leaves_what_is_done_and_starts_nothing_more(world: World) -> None:
    fleet(world)
    once(world)
    answer = said(world.fwctl("abort", "sensors", "--keep", "--reason", WHY, "--format", "json"))
    assert [(one["who"], one["devices"]) for one in answer["effects"]] == [("queued", 2), ("done", 2)]
    aborted = once(world)
    assert (aborted["state"], aborted["counts"]) == ("aborted", {"reached": 2, "held": 2})
    assert runs(world).count("2.5.0") == 2
    refused = world.run("resume", "sensors", "--reason", "changed my mind")
    assert (refused.code, "goes on only with a new approval" in refused.err) == (2, True), refused.text
    assert once(world)["state"] == "aborted"


def test_an_abort_at_once_takes_devices_back_without_another_pass(world: World) -> None:
    fleet(world)
    once(world)
    ran = world.fwctl(
        "abort", "sensors", "--revert", "--now", "--confirm", "sensors", "--reason", WHY, "--format", "json"
    )
    answer = said(ran)
    assert answer["now"]["state"] == "rolled-back", ran.text
    assert answer["now"]["counts"] == {"back": 2, "untouched": 2}
    assert set(runs(world)) == {"0.0.0"}


def test_a_rollback_at_once_takes_every_device_back_and_stays(world: World) -> None:
    fleet(world, "{type: Direct}")
    assert once(world)["counts"] == {"reached": 4}
    with world.ledger() as ledger:
        applied = ledger.meta("last_applied_commit")
    answer = said(
        world.fwctl("rollback", "sensors", "--now", "--confirm", "dev/sensors", "--reason", WHY, "--format", "json")
    )
    assert (answer["now"]["state"], answer["now"]["counts"]) == ("rolled-back", {"back": 4})
    assert runs(world) == ["0.0.0"] * 4
    with world.ledger() as ledger:
        asked = next(event for event in ledger.events(rollout="dev/sensors") if event.kind == "control.now")
        assert ledger.meta("last_applied_commit") == applied, "a part of a commit is not the commit"
    assert (asked.actor, asked.reason, asked.data["verb"]) == ("alice", WHY, "rollback")
    assert once(world)["state"] == "rolled-back"
    again = world.fwctl("rollback", "sensors", "--confirm", "sensors", "--reason", WHY)
    assert "goes back already" in again.out
    assert runs(world) == ["0.0.0"] * 4


def test_a_rollback_waits_for_the_next_pass_unless_told_otherwise(world: World) -> None:
    fleet(world, "{type: Direct}")
    once(world)
    world.fwctl("rollback", "sensors", "--confirm", "sensors", "--reason", WHY)
    assert runs(world) == ["2.5.0"] * 4
    assert once(world)["state"] == "rolled-back"
    assert runs(world) == ["0.0.0"] * 4


def test_devices_that_are_just_restarting_are_taken_back_too(world: World) -> None:
    fleet(world, "{type: Direct}", 4, "--boot-delay", "2")
    begun = world.once("--format", "json", duration=1)
    assert said(begun)["rollouts"][0]["counts"] == {"in-flight": 4}, begun.text
    ran = world.fwctl("rollback", "sensors", "--now", "--confirm", "sensors", "--reason", WHY, "--format", "json")
    answer = said(ran)
    assert [(one["who"], one["devices"]) for one in answer["effects"]] == [("in flight", 4)]
    assert answer["now"]["state"] == "rolled-back", ran.text
    assert set(runs(world)) == {"0.0.0"}


def test_at_once_never_installs(world: World) -> None:
    fleet(world, "{type: Direct}")
    answer = said(world.fwctl("pause", "sensors", "--now", "--reason", WHY, "--format", "json"))
    assert answer["now"]["state"] == "paused"
    with world.ledger() as ledger:
        assert (ledger.orders(), ledger.devices()) == ((), ())


def test_at_once_beside_another_reconciler_is_left_to_that_one(world: World) -> None:
    fleet(world, "{type: Direct}")
    once(world)
    with Ledger.open(world.ledger_file) as ledger:
        lease = acquire_lease(ledger, holder="the daemon", now=datetime.now(UTC), ttl=timedelta(minutes=1))
        with lease:
            ran = world.run("rollback", "sensors", "--now", "--confirm", "sensors", "--reason", WHY)
    assert ran.code == 6, ran.text
    assert "E_LOCKED" in ran.err
    assert "the daemon" in ran.err
    assert "picks the commit up at its next pass" in ran.err
    assert once(world)["state"] == "rolled-back"


def test_what_is_approved_afterwards_starts_afresh(world: World) -> None:
    fleet(world, "{type: Direct}")
    world.fwctl("abort", "sensors", "--reason", WHY)
    assert once(world)["state"] == "aborted"
    world.release(NEW, "2.6.0")
    assert once(world)["counts"] == {"reached": 4}


def test_a_device_in_quarantine_is_passed_over_until_it_is_released(world: World) -> None:
    fleet(world, "{type: Direct}")
    world.fwctl("quarantine", "add", "sim-001", "--reason", "it smokes")
    assert once(world)["counts"] == {"reached": 3, "held": 1}
    rows = said(world.fwctl("quarantine", "list", "--format", "json"))["quarantine"]
    assert [(row["device"], row["reason"], row["actor"]) for row in rows] == [("sim-001", "it smokes", "alice")]
    world.fwctl("quarantine", "release", "sim-001", "--reason", "a new fan")
    assert once(world)["counts"] == {"reached": 4}
    with world.ledger() as ledger:
        told = [(event.kind, event.reason, event.actor) for event in ledger.events(device="sim-001")]
    assert ("device.quarantined", "it smokes", "alice") in told
    assert ("device.released", "a new fan", "alice") in told
