"""A new commit in the middle of a rollout: what is under way comes to its end, and nobody gets parts of two plans."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fwctl.state import OrderRow
from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.joiners import declare, grouped
from tests.support.world import World, firmware, until

pytestmark = pytest.mark.e2e

BLUE_GREEN = "{type: BlueGreen, switch: Manual, soak: 1s, retain: 1h}"


def rollout(world: World) -> Path:
    return world.repo / "rollouts" / "dev" / "sensors.yaml"


def removed(world: World) -> None:
    rollout(world).unlink()
    rollout(world).with_suffix(".lock").unlink()


def removed_with_firmware(world: World) -> None:
    removed(world)
    for path in (world.repo / "firmware" / "sensor-v1").glob(f"{BAD}.*"):
        path.unlink()


def commented(world: World) -> None:
    rollout(world).write_text("# only a comment\n" + rollout(world).read_text())


def other_strategy(world: World) -> None:
    rollout(world).write_text(re.sub("strategy: .*", "strategy: {type: Direct}", rollout(world).read_text()))
    world.fwctl("plan", "sensors", "--lock")


def older_version(world: World) -> None:
    rollout(world).write_text(rollout(world).read_text().replace(BAD, GOOD))
    world.fwctl("plan", "sensors", "--lock")


@pytest.mark.parametrize("change", [removed, removed_with_firmware, commented, other_strategy, older_version])
def test_r16_what_is_staged_is_given_back_by_whatever_commit_takes_its_plan_away(
    world: World, change: Callable[[World], None]
) -> None:
    fleet = CanaryWorld(world, 2)
    fleet.simulate()
    fleet.settled()
    fleet.release(BAD, strategy=BLUE_GREEN)
    ended(world.once(duration=10), 0)
    with world.ledger() as ledger:
        mandate = ledger.rollout("dev/sensors").mandate  # type: ignore[union-attr]
        assert {str(one.status) for one in ledger.orders(mandate=mandate)} == {"staged"}
    change(world)
    world.commit("In the middle of it")
    world.once(duration=10)
    with world.ledger() as ledger:
        assert [str(one.status) for one in ledger.orders(mandate=mandate)] == ["settled"] * 4
        assert {one.verb for one in ledger.orders(mandate=mandate)} == {"install", "cancel"}
        assert {one.mandate for one in ledger.orders(open_only=True)} == set()
    assert fleet.versions() == {GOOD: 2}


TELL_TWICE = """
import asyncio, contextlib, fwctl.reconcile.tools as tools
calls, reached = {}, tools.Tools.reached
@contextlib.asynccontextmanager
async def counted(self, device):
    calls[device] = calls.get(device, 0) + 1
    print("twice:" if calls[device] > 1 else "once:", device, flush=True)
    try:
        async with reached(self, device) as link:
            await asyncio.sleep(1)
            yield link
    finally:
        calls[device] -= 1
tools.Tools.reached = counted
"""


def test_r16_a_device_is_not_called_for_two_plans_at_once(world: World) -> None:
    """What is left behind there and another rollout are due in one pass, and every call takes a while."""
    fleet = CanaryWorld(world, 2)
    fleet.simulate()
    fleet.release(GOOD, strategy=BLUE_GREEN)
    ended(world.once(duration=10), 0)
    removed(world)
    fleet.write(BAD, name="others", strategy="{type: Direct}")
    world.commit("Another rollout instead")
    world.fwctl("approve", "others", "--yes")
    running = world.spawn("reconcile", "--once", setup=TELL_TWICE)
    assert running.wait() == 0, running.said()
    assert "once: sim-001" in running.said()
    assert "twice" not in running.said()
    assert nothing_open(world)
    assert fleet.versions() == {BAD: 2}


# -- before the end of what is under way -------------------------------------------------------------------------------


def installs(world: World) -> list[OrderRow]:
    """Return the install orders of the plan that is taken away later."""
    with world.ledger() as ledger:
        row = ledger.rollout("dev/sensors")
        return [one for one in ledger.orders(mandate=row.mandate if row else "") if one.verb == "install"]


def nothing_open(world: World) -> bool:
    with world.ledger() as ledger:
        return not ledger.orders(open_only=True)


def test_r16_a_download_is_cancelled_and_nobody_gets_the_firmware(world: World) -> None:
    fleet = CanaryWorld(world, 2)
    fleet.simulate({"kind": "slow", "bytesPerSecond": 5000})
    fleet.release(BAD, strategy="{type: Direct}")
    running = world.spawn("reconcile", "--once")
    until(lambda: {str(one.status) for one in installs(world)} == {"running"}, what="both downloading")
    running.kill()
    removed(world)
    world.commit("In the middle of it")
    world.once(duration=10)
    assert nothing_open(world)
    assert BAD not in fleet.versions()


def test_r16_a_trial_is_kept_and_the_rest_of_the_way_is_not_gone(world: World) -> None:
    """Whoever is at a stop on the way when its plan goes stays there: it is confirmed, and nothing follows."""
    fleet = CanaryWorld(world, 2)
    fleet.simulate(options=("--memory", "--boot-delay", "3"))
    world.add_firmware(firmware(GOOD), GOOD)
    stop = world.repo / "firmware" / "sensor-v1" / f"{GOOD}.yaml"
    stop.write_text(stop.read_text().rstrip() + "\n  stop: true\n")
    fleet.release(BAD, strategy="{type: Direct}", more="rollback: {allowed: false, automatic: false}")
    world.once(duration=1)  # nothing is begun after it: the device restarts for longer
    first = installs(world)
    assert len(first) == 2
    assert len({one.release for one in first}) == 1, "to the stop"
    removed(world)
    world.commit("In the middle of it")
    until(lambda: world.once().code == 0 and nothing_open(world), what="both have restarted and are confirmed")
    assert fleet.versions() == {GOOD: 2}


# -- devices that leave a plan which stays -----------------------------------------------------------------------------


def test_r16_who_is_targeted_no_more_gives_back_what_it_holds_and_the_others_go_on(world: World) -> None:
    fleet = CanaryWorld(world, 2)
    fleet.simulate()
    fleet.settled()
    grouped(world)
    declare(world, sim_001="prod", sim_002="prod")
    fleet.write(BAD, strategy=BLUE_GREEN, targets="{groups: [sensors]}")
    world.commit("Release")
    world.fwctl("approve", "sensors", "--yes")
    ended(world.once(duration=10), 0)
    assert [str(one.status) for one in installs(world)] == ["staged"] * 2
    declare(world, sim_001="prod", sim_002="spare")
    world.commit("One of them is to be left alone")
    ended(world.once(duration=10), 0)
    with world.ledger() as ledger:
        (left,) = [one for one in ledger.orders(open_only=True) if one.verb == "install"]
        document = ledger.document("sim-002")
    assert (left.device, str(left.status)) == ("sim-001", "staged")
    assert document is not None
    assert document["state"] != "staged", "it does not hold the slot for a plan that it is not in"
    rested = world.once("--format", "json")
    assert '"visits": 0' in rested.out, rested.text


def test_r16_who_is_targeted_no_more_keeps_the_firmware_and_goes_back_with_the_others(world: World) -> None:
    fleet = CanaryWorld(world, 2)
    fleet.simulate()
    fleet.settled()
    grouped(world)
    declare(world, sim_001="prod", sim_002="prod")
    fleet.write(BAD, strategy="{type: Direct}", targets="{groups: [sensors]}")
    world.commit("Release")
    world.fwctl("approve", "sensors", "--yes")
    ended(world.once(duration=10), 0)
    declare(world, sim_001="prod", sim_002="spare")
    world.commit("One of them is to be left alone")
    ended(world.once(duration=10), 0)
    assert fleet.versions() == {BAD: 2}
    said = world.fwctl("rollback", "sensors", "--reason", "it is bad", "--confirm", "sensors")
    assert re.search(r"dropped out: +1 device +will be taken back", said.text)
    world.once(duration=10)
    assert fleet.versions() == {GOOD: 2}
    assert nothing_open(world)


def test_r16_a_late_joiner_that_is_targeted_no_more_comes_to_its_end(world: World) -> None:
    fleet = CanaryWorld(world, 2)
    grouped(world)
    declare(world, sim_001="prod", sim_002="prod")
    fleet.write(GOOD, strategy="{type: Direct}", targets="{groups: [sensors]}", more="lateJoiners: {max: 1}")
    world.commit("Release")
    world.fwctl("approve", "sensors", "--yes")
    time.sleep(1.1)  # an enrolment in the second of the approval is no later one
    declare(world, sim_001="prod", sim_002="prod", sim_003="prod")
    world.commit("One came later")
    fleet.simulate(options=("--memory", "--boot-delay", "2"))
    running = world.spawn("reconcile", "--once")
    until(lambda: "sim-003" in {one.device for one in installs(world)}, what="the late one is under way")
    running.kill()
    declare(world, sim_001="prod", sim_002="prod", sim_003="spare")
    world.commit("It is to be left alone")
    until(lambda: world.once().code == 0 and nothing_open(world), what="its order is over")
    assert fleet.state() == "complete"
