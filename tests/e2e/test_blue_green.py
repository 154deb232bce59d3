"""BlueGreen over the TLS simulator: everybody stages, everybody switches, and everybody switches back at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World, until

pytestmark = pytest.mark.e2e

DEVICES = int(os.environ.get("FWCTL_TEST_DEVICES", "12"))
STRATEGY = "{type: BlueGreen, switch: %s, soak: %s, retain: %s}"


def fleet_of(world: World, *faults: Mapping[str, object], options: tuple[str, ...] = ("--memory",)) -> CanaryWorld:
    fleet = CanaryWorld(world, DEVICES)
    fleet.simulate(*faults, options=options)
    fleet.settled()
    return fleet


def verbs(fleet: CanaryWorld) -> dict[tuple[str, str], int]:
    """Return how many orders of the mandate of now stand how, by verb; each device has at most one of a verb."""
    with fleet.world.ledger() as ledger:
        (row,) = ledger.rollouts()
        orders = ledger.orders(mandate=row.mandate)
    assert max(Counter((order.device, order.verb) for order in orders).values()) == 1, "each order once"
    return dict(Counter((order.verb, str(order.status)) for order in orders))


def downloads(fleet: CanaryWorld) -> int:
    """Return how many orders of the mandate of now ever had bytes sent."""
    with fleet.world.ledger() as ledger:
        return sum(event.kind == "order.running" for event in ledger.events())


def test_all_stage_then_all_switch_then_all_switch_back_without_a_download(world: World) -> None:
    fleet = fleet_of(world)
    fleet.release(BAD, strategy=STRATEGY % ("Manual", "1s", "1h"))
    ended(world.once(duration=20), 0)
    assert (fleet.state(), fleet.waves()) == ("progressing", {"wave-1": "open"})
    assert fleet.versions() == {GOOD: DEVICES}, "nobody has switched"
    assert verbs(fleet) == {("install", "staged"): DEVICES}
    status = world.fwctl("status", "sensors")
    assert f"{DEVICES} of {DEVICES} staged; fwctl promote makes the switch of wave-1" in status.text
    sent = downloads(fleet)

    world.fwctl("promote", "sensors", "--reason", "it is quiet now")
    ended(world.once(duration=20), 0)
    assert (fleet.state(), fleet.waves()) == ("progressing", {"wave-1": "passed"})
    assert fleet.versions() == {BAD: DEVICES}
    assert verbs(fleet) == {(verb, "settled"): DEVICES for verb in ("install", "activate", "confirm")}
    assert "keeps the old slots until" in world.fwctl("status", "sensors").text

    ended(world.run("rollback", "sensors", "--reason", "customers call", "--confirm", "sensors", "--now"), 0)
    assert (fleet.state(), fleet.versions()) == ("rolled-back", {GOOD: DEVICES})
    assert downloads(fleet) == sent, "nothing was sent again to switch, nor to switch back"


def test_a_gate_that_fails_while_staging_frees_every_slot_and_nobody_has_switched(world: World) -> None:
    full = {"kind": "fullDisk", "devices": ["sim-003", "sim-005", "sim-007"], "versions": [BAD]}
    fleet = fleet_of(world, full)
    fleet.release(BAD, strategy=STRATEGY % ("Automatic", "1s", "1h"), more="rollback: {automatic: false}")
    ended(world.once(duration=30), 1)
    assert (fleet.state(), fleet.waves()) == ("rolled-back", {"wave-1": "failed"})
    assert fleet.versions() == {GOOD: DEVICES}
    with world.ledger() as ledger:
        events = list(ledger.events())
        states = {row.state for row in ledger.devices()}
    kinds = Counter(event.kind for event in events)
    assert (kinds["wave.switching"], kinds["order.switching"]) == (0, 0)
    assert kinds["order.staged"] > 0
    assert any(one.kind == "rollout.rolling-back" and "while staging; no device" in one.reason for one in events)
    assert "staged" not in states, "no slot is held any more"


def test_failures_after_the_switch_take_everybody_back(world: World) -> None:
    ill = {"kind": "unhealthy", "devices": ["sim-003"], "versions": [BAD]}
    fleet = fleet_of(world, ill)
    fleet.release(BAD, strategy=STRATEGY % ("Automatic", "1s", "1h"))
    ended(world.once(duration=30), 1)
    assert (fleet.state(), fleet.waves()) == ("rolled-back", {"wave-1": "failed"})
    assert fleet.versions() == {GOOD: DEVICES}
    assert fleet.quarantined() == {"sim-003"}


def test_with_restarts_it_ends_complete_when_retain_is_over(world: World) -> None:
    fleet = fleet_of(world, options=("--memory", "--boot-delay", "1"))
    fleet.release(BAD, strategy=STRATEGY % ("Automatic", "1s", "2s"))
    ended(world.once(duration=30), 0)
    assert fleet.waves() == {"wave-1": "passed"}
    until(lambda: world.once(duration=5).code == 0 and fleet.state() == "complete", what="the end of retain")
    assert fleet.versions() == {BAD: DEVICES}
    with world.ledger() as ledger:
        kinds = [event.kind for event in ledger.events() if event.kind.startswith("wave.")]
    assert kinds[-4:] == ["wave.open", "wave.switching", "wave.soaking", "wave.passed"]


def lose_the_ledger(world: World) -> None:
    for path in world.ledger_file.parent.glob(f"{world.ledger_file.name}*"):
        path.unlink()


def test_a_lost_ledger_learns_who_holds_the_firmware_and_the_switch_goes_on(world: World) -> None:
    fleet = fleet_of(world)
    fleet.release(BAD, strategy=STRATEGY % ("Manual", "1s", "1h"))
    ended(world.once(duration=20), 0)
    lose_the_ledger(world)
    ended(world.once("--new-ledger", duration=20), 0)
    assert (fleet.waves(), verbs(fleet)) == ({"wave-1": "open"}, {("install", "staged"): DEVICES})
    assert fleet.versions() == {GOOD: DEVICES}
    assert downloads(fleet) == 0, "they have it already"
    world.fwctl("promote", "sensors", "--reason", "it is quiet now")
    ended(world.once(duration=20), 0)
    assert (fleet.versions(), downloads(fleet)) == ({BAD: DEVICES}, 0)


def test_another_rollout_frees_slots_that_a_lost_ledger_knows_nothing_of(world: World) -> None:
    """R16: the order that waits there is rebuilt from what the device says, cancelled, and the new one goes on."""
    fleet = fleet_of(world)
    fleet.release(BAD, strategy=STRATEGY % ("Manual", "1s", "1h"))
    ended(world.once(duration=20), 0)
    lose_the_ledger(world)
    fleet.release("2.7.0", strategy="{type: Direct}")
    ran = world.once("--new-ledger", duration=25)
    ended(ran, 0)
    assert (fleet.state(), fleet.versions()) == ("complete", {"2.7.0": DEVICES})
    with world.ledger() as ledger:
        assert ledger.verify_chain() is None
