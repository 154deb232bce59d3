"""Devices on the simulator that must pass a stop, a loop that is killed between two, and a way back that is none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.canary import CanaryWorld, ended
from tests.support.world import World, firmware

pytestmark = pytest.mark.e2e

OLD, STOP, TARGET = "1.0.0", "2.0.0", "2.5.0"


def manifest(world: World, version: str) -> Path:
    return world.repo / "firmware" / "sensor-v1" / f"{version}.yaml"


def add_stop(fleet: CanaryWorld, version: str = STOP) -> None:
    """Register a firmware that every device must pass."""
    fleet.world.add_firmware(firmware(version), version)
    path = manifest(fleet.world, version)
    path.write_text(path.read_text().rstrip() + "\n  stop: true\n")


def ordered(fleet: CanaryWorld, device: str) -> list[tuple[int, str, str]]:
    """Return the install orders of a device under the mandate of now: attempt, version, class of failure."""
    world = fleet.world
    ran = world.fwctl("firmware", "list", "--format", "json")
    versions = {one["release"]: one["version"] for one in json.loads(ran.out)["firmware"]}
    with world.ledger() as ledger:
        (row,) = ledger.rollouts()
        orders = ledger.orders(mandate=row.mandate, device=device)
        return [(one.attempt, versions[one.release], one.failure_class) for one in orders if one.verb == "install"]


def some_ahead(world: World) -> CanaryWorld:
    """Return a fleet of which the first half runs what comes before the stop, and the rest the stop itself."""
    fleet = CanaryWorld(world, 4)
    fleet.simulate()
    fleet.settled(OLD)
    add_stop(fleet)
    half = "{devices: [sim-003, sim-004]}"
    fleet.write(STOP, name="sensors", strategy="{type: Direct}")
    path = world.repo / "rollouts" / "dev" / "sensors.yaml"
    path.write_text(path.read_text().replace("{all: true}", half))
    world.fwctl("plan", "sensors", "--lock")
    world.commit("Half of them first")
    world.fwctl("approve", "sensors", "--yes")
    ended(world.once(duration=30), 0)
    assert fleet.versions() == {OLD: 2, STOP: 2}
    return fleet


def test_devices_below_a_stop_go_over_it_and_others_directly(world: World) -> None:
    fleet = some_ahead(world)
    fleet.release(TARGET, strategy="{type: Direct}", more="rollback: {allowed: false, automatic: false}")
    shown = world.fwctl("plan", "sensors").out
    assert "stops: 2.0.0 (for everybody below it)" in shown
    assert "ways:  2 directly, 2 over 2.0.0" in shown

    ended(world.once(duration=30), 0)
    assert fleet.versions() == {TARGET: 4}
    assert fleet.state() == "complete"
    for device in ("sim-001", "sim-002"):
        assert ordered(fleet, device) == [(1, STOP, ""), (2, TARGET, "")]
    for device in ("sim-003", "sim-004"):
        assert ordered(fleet, device) == [(1, TARGET, "")]
    with world.ledger() as ledger:
        assert not [one for one in ledger.outcomes(ledger.rollouts()[0].mandate) if one.failure_class]
    again = world.once()
    ended(again, 0)
    assert len(ordered(fleet, "sim-001")) == 2, "nothing is installed twice"


def test_what_comes_between_two_stops_is_made_up_by_the_next_pass(world: World) -> None:
    """A pass that is killed when the first stop is confirmed leaves the rest to the next one."""
    fleet = CanaryWorld(world, 2)
    fleet.simulate()
    fleet.settled(OLD)
    add_stop(fleet)
    add_stop(fleet, "2.2.0")
    fleet.release(TARGET, strategy="{type: Direct}", more="rollback: {allowed: false, automatic: false}")
    kill = (
        "import os, signal, fwctl.reconcile.account as a\n"
        "record = a.Account.record\n"
        "async def once(self, *args, **more):\n"
        "    outcome = await record(self, *args, **more)\n"
        "    if outcome.result == 'confirmed': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return outcome\n"
        "a.Account.record = once\n"
    )
    killed = world.spawn("reconcile", "--once", "--max-duration", 15, setup=kill)
    assert killed.wait() == -9
    assert TARGET not in fleet.versions()
    ended(world.once(duration=30), 0)
    assert fleet.versions() == {TARGET: 2}
    for device in ("sim-001", "sim-002"):
        orders = ordered(fleet, device)
        assert [version for _, version, _ in orders] == [STOP, "2.2.0", TARGET]
        assert [attempt for attempt, _, _ in orders] == [1, 2, 3]


def test_who_came_over_a_stop_stays_when_the_rollout_goes_back(world: World) -> None:
    fleet = some_ahead(world)
    fleet.release(TARGET, strategy="{type: Direct}")
    said = world.run("validate")
    assert said.code == 1
    assert re.search(r"E_NO_WAY_BACK.*come from 1\.0\.0 cannot go back: it came over 2\.0\.0", said.out, re.DOTALL)
    ended(world.once(duration=30), 0)
    world.fwctl("rollback", "sensors", "--reason", "it is not good", "--confirm", "sensors")
    ended(world.once(duration=30), 1)
    assert fleet.state() == "rolled-back"
    assert fleet.versions() == {STOP: 2, TARGET: 2}
    assert "2 taken back, 2 stay: it came over 2.0.0: its slots hold no older image" in fleet.reason()


def test_observed_devices_without_a_path_are_told_before_anything_starts(world: World) -> None:
    fleet = CanaryWorld(world, 3)
    fleet.simulate()
    fleet.settled(OLD)
    world.add_firmware(firmware(TARGET), TARGET)
    path = manifest(world, TARGET)
    path.write_text(path.read_text().rstrip() + '\n  requiresFrom: {atLeast: "2.0.0"}\n')
    world.git("add", "-A")
    for name in path.parent.glob(f"{TARGET}.*.dsse.json"):
        name.unlink()
    world.fwctl("firmware", "sign", f"sensor-v1@{TARGET}")
    rollout = world.repo / "rollouts" / "dev" / "sensors.yaml"
    rollout.write_text(rollout.read_text().replace(OLD, TARGET))
    world.fwctl("plan", "sensors", "--lock")
    seen = world.folder / "seen.json"
    seen.write_text(world.fwctl("device", "list", "--format", "json").out)

    said = world.run("validate", "--observed", seen)
    assert said.code == 1
    assert "3 of 3 seen targets have no legal path to 2.5.0: 3 (sim-001, sim-002, sim-003) on 1.0.0" in said.out

    world.commit("Release it all the same")
    world.fwctl("approve", "sensors", "--yes")
    world.once(duration=20)
    assert ordered(fleet, "sim-001") == [], "nobody was ordered what it would refuse"
    assert fleet.versions() == {OLD: 3}
    assert fleet.reason().endswith("0 of 3 reached, 3 without a legal path")
    shown = world.run("status", "sensors").out
    assert "sim-001  held: no legal path leads from 1.0.0 to 2.5.0" in shown
    assert "without a legal path" in shown
