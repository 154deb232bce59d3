"""The sweep over the real simulator: what happens to devices that nothing is due for comes out, and nothing is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.canary import GOOD, CanaryWorld
from tests.support.world import Ran, World, until

pytestmark = pytest.mark.e2e

PERIOD = 2
VICTIM = "sim-002"
DIRECT = "{type: Direct, soak: 0s}"


@pytest.fixture
def four(tmp_path: Path) -> Iterator[CanaryWorld]:
    with World(tmp_path) as world:
        fleet = CanaryWorld(world, 4)
        world.commit("Four devices")
        yield fleet


def often(fleet: CanaryWorld) -> None:
    """Have the fleet looked at within two seconds."""
    file = fleet.world.repo / "fleet.yaml"
    text = file.read_text().replace("passInterval: 5m", f"passInterval: 1s\n  sweep: {{period: {PERIOD}s}}")
    assert "sweep" in text
    file.write_text(text)
    fleet.world.commit("Look often")


def updated(fleet: CanaryWorld) -> None:
    fleet.release(GOOD, strategy=DIRECT)
    assert fleet.world.reconciled()["rollouts"][0]["counts"] == {"reached": 4}


def passed(fleet: CanaryWorld) -> dict[str, Any]:
    """Run a pass, whatever it ends with."""
    report: dict[str, Any] = json.loads(fleet.world.once("--format", "json").out)
    return report


def drifted(ran: Ran) -> dict[str, tuple[str, bool]]:
    found = json.loads(ran.out)["drift"]
    return {one["device"]: (one["kind"], one["quarantined"]) for one in found}


def orders(fleet: CanaryWorld) -> int:
    with fleet.world.ledger() as ledger:
        return len(ledger.orders())


def test_a_device_that_went_back_long_after_its_soak_is_found(four: CanaryWorld) -> None:
    often(four)
    four.simulate({"kind": "silentRevert", "devices": [VICTIM], "late": 2})
    updated(four)
    sent = orders(four)
    assert four.world.fwctl("drift").out.startswith("No drift among 4 devices; oldest look")
    swept: list[dict[str, int]] = []

    def went_back() -> bool:
        time.sleep(1)
        swept.append(passed(four)["swept"])
        return four.running(VICTIM) != GOOD

    until(went_back, what="the revert to be seen")
    assert swept[-1]["drifted"] == 1
    assert all(one["drifted"] == 0 for one in swept[:-1])
    ran = four.world.run("drift", "--format", "json")
    assert ran.code == 1, ran.text
    assert drifted(ran) == {VICTIM: ("went-back", True)}
    (told,) = json.loads(ran.out)["drift"]
    assert (told["expectedVersion"], told["rollout"]) == (GOOD, "dev/sensors")
    assert orders(four) == sent, "a sweep sends nothing"
    assert "it runs another image" in four.world.fwctl("events", "--for", VICTIM).out
    assert four.world.run("drift", "--max", "1").code == 0


def test_devices_that_vanish_are_found_and_devices_that_return_are_forgiven(four: CanaryWorld) -> None:
    often(four)
    simulator = four.simulate(options=())
    updated(four)
    simulator.stop()

    def vanished() -> bool:
        time.sleep(1)
        passed(four)
        return len(drifted(four.world.run("drift", "--format", "json"))) == 4

    until(vanished, what="the fleet to have vanished")
    ran = four.world.run("drift")
    assert ran.code == 1
    assert "vanished (4): has not answered for more than two periods of the sweep" in ran.out
    assert "E_UNREACHABLE" in ran.out
    four.simulate(options=())

    def back() -> bool:
        time.sleep(1)
        passed(four)
        return four.world.run("drift").code == 0

    until(back, what="the fleet to be back")


def test_a_device_that_no_rollout_wants_is_looked_at_by_the_first_pass_and_then_left_alone(four: CanaryWorld) -> None:
    four.simulate()
    ran = four.world.run("drift")
    assert (ran.code, ran.out.count("no pass has looked for it yet")) == (1, 4)
    first, second = passed(four), passed(four)
    assert (first["visits"], first["swept"]) == (4, {"devices": 4, "unreachable": 0, "drifted": 0})
    assert (second["visits"], second["swept"]["devices"]) == (0, 0)
    assert "No drift among 4 devices" in four.world.fwctl("drift").out


def test_whom_a_rollout_wants_the_sweep_leaves_to_it(four: CanaryWorld) -> None:
    four.simulate()
    four.release(GOOD, strategy=DIRECT)
    report = four.world.reconciled()
    assert report["swept"]["devices"] == 0
    assert (report["rollouts"][0]["counts"], four.world.reconciled()["visits"]) == ({"reached": 4}, 0)


def test_a_device_that_is_no_longer_in_git_is_told_and_not_contacted(four: CanaryWorld) -> None:
    four.simulate()
    assert passed(four)["swept"]["devices"] == 4
    file = four.world.repo / "devices" / "simulated.yaml"
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if VICTIM not in line))
    four.world.commit("Away with it")
    ran = four.world.run("drift", "--format", "json")
    assert drifted(ran) == {VICTIM: ("unknown-device", False)}
    assert passed(four)["visits"] == 0


def test_a_pass_that_is_killed_while_it_sweeps_loses_nothing(four: CanaryWorld) -> None:
    often(four)
    four.simulate({"kind": "slow", "delay": 0.5, "devices": ["sim-003", "sim-004"]})
    updated(four)
    time.sleep(PERIOD + 1)

    def looked() -> int:
        with four.world.ledger() as ledger:
            return sum(int(row.observed_at.timestamp()) for row in ledger.devices() if row.observed_at)

    before = looked()
    victim = four.world.spawn("reconcile", "--once")
    until(lambda: looked() > before or not victim.running, what="the first look to be recorded")
    victim.kill()
    with four.world.ledger() as ledger:
        assert (ledger.integrity(), ledger.verify_chain()) == ((), None)
    time.sleep(PERIOD + 1)
    assert passed(four)["swept"]["devices"] == 4
    assert four.versions() == {GOOD: 4}
