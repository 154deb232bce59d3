"""Devices that come after the approval: they join on the real wire, after the others and as many as it allows."""

from __future__ import annotations

import time

import pytest

from tests.support.canary import GOOD, CanaryWorld, ended
from tests.support.joiners import declare, grouped
from tests.support.world import World

pytestmark = pytest.mark.e2e


def test_a_late_joiner_joins_one_too_many_does_not_and_who_was_there_before_is_left_alone(world: World) -> None:
    fleet = CanaryWorld(world, 3, timeout="1m")
    grouped(world)
    declare(world, sim_001="prod", sim_002="prod", sim_003="spare")
    fleet.write(GOOD, strategy="{type: Direct}", targets="{groups: [sensors]}", more="lateJoiners: {max: 1}")
    world.commit("Release")
    world.fwctl("approve", "sensors", "--yes")
    time.sleep(1.1)  # an enrolment in the second of the approval is no later one
    declare(world, sim_001="prod", sim_002="prod", sim_003="prod", sim_004="prod", sim_005="prod")
    world.commit("Two more came, and one that was there is to be in it")
    fleet.simulate()
    ended(world.once(), 0)
    ended(world.once(), 0)
    ran = fleet.versions()
    assert fleet.waves() == {"wave-1": "passed", "late": "passed"}
    assert fleet.state() == "complete"
    assert len(fleet.touched() & {"sim-004", "sim-005"}) == 1, ran
    assert {"sim-001", "sim-002"} < fleet.touched()
    assert "sim-003" not in fleet.touched()
    assert fleet.quarantined() == set()
    ended(world.once(), 0)
    assert len(fleet.touched()) == 3, "nobody takes a second seat"
