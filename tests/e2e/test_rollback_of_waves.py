"""`rollback.scope: wave` on simulated devices over mutual TLS: who stays, who goes back, and what comes after."""

from __future__ import annotations

import json

import pytest

from fwctl.rollouts.cohorts import by_lot
from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

DEVICES = 8
NEXT = "2.7.0"
FIRST = by_lot([f"sim-{number:03}" for number in range(1, DEVICES + 1)], "sensors")[:2]
"""who is in the first wave"""
KEEPS = f"wave-1 (2 devices) keeps sensor-v1@{BAD}"


def half_back(world: World) -> CanaryWorld:
    """Return a fleet whose second wave went back: there the firmware makes ill, not in the first wave."""
    fleet = CanaryWorld(world, DEVICES, timeout="1m")
    others = [f"sim-{number:03}" for number in range(1, DEVICES + 1) if f"sim-{number:03}" not in FIRST]
    fleet.simulate({"kind": "unhealthy", "devices": others, "versions": [BAD]})
    fleet.settled()
    strategy = "{type: Canary, initialPercentage: 25, increments: [50, 100], soak: 1s}"
    fleet.release(BAD, strategy=strategy, more="rollback: {scope: wave}")
    ended(world.once(duration=60), 1)
    assert (fleet.state(), fleet.waves()) == ("rolled-back", {"wave-1": "passed", "wave-2": "failed"})
    assert fleet.versions() == {BAD: 2, GOOD: 6}
    return fleet


def test_what_had_passed_stays_and_everything_says_so_until_a_person_takes_it_back(world: World) -> None:
    fleet = half_back(world)
    assert fleet.reason().endswith(KEEPS)
    again = world.once("--format", "json")
    ended(again, 1)
    assert json.loads(again.out)["visits"] == 0, "sticky, and quiet (I9)"
    status = json.loads(world.run("status", "sensors", "--format", "json").out)["rollouts"][0]
    assert status["reason"].endswith(KEEPS)
    assert [wave["counts"].get("reached", 0) for wave in status["waves"]] == [2, 0, 0]
    for words in (("explain", "sensors"), ("rollout", "report", "sensors"), ("events", "--for", "sensors")):
        assert KEEPS in world.run(*words).out, words
    assert f"runs {BAD} and keeps it: wave-1 had passed" in world.run("explain", FIRST[0]).out
    assert json.loads(world.fwctl("drift", "--format", "json").out)["drift"] == []
    word = ("rollback", "sensors", "--reason", "all of it", "--confirm", "sensors")
    world.run(*word, "--now")
    assert (fleet.versions(), fleet.state()) == ({GOOD: DEVICES}, "rolled-back")
    assert "keep" not in fleet.reason()
    assert "goes back already" in world.run(*word).text


def test_the_next_release_takes_the_mixed_fleet_along(world: World) -> None:
    fleet = half_back(world)
    for device in sorted(fleet.quarantined()):
        world.fwctl("quarantine", "release", device, "--reason", "looked at")
    fleet.release(NEXT, strategy="{type: Direct}", approve=False)
    passed = world.once("--format", "json", duration=2)
    assert json.loads(passed.out)["visits"] == 0, "a newer commit does not take back what is kept"
    assert fleet.versions() == {BAD: 2, GOOD: 6}
    world.fwctl("approve", "sensors", "--yes")
    ended(world.once(duration=60), 0)
    assert fleet.versions() == {NEXT: DEVICES}
