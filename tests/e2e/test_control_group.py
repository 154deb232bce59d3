"""The comparison with a control group: updated devices that report worse numbers, and fail no probe, are taken back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

DEVICES = 20
STRATEGY = "{type: Canary, initialPercentage: 50, increments: [100], soak: 1s}"
COMPARE = "gates: {health: {compareWithControl: {metrics: [crash_rate], confidence: 0.99, minSample: %d}}}"


def reports(value: int, **more: object) -> Mapping[str, object]:
    return {"kind": "facts", "facts": {"crash_rate": value}, **more}


def fleet_of(world: World, *faults: Mapping[str, object]) -> CanaryWorld:
    fleet = CanaryWorld(world, DEVICES, timeout="1m")
    fleet.simulate(*faults)
    fleet.settled()
    return fleet


def test_worse_numbers_alone_take_a_canary_back(world: World) -> None:
    fleet = fleet_of(world, reports(3), reports(12, versions=[BAD]))
    fleet.release(BAD, strategy=STRATEGY, more=COMPARE % 5)
    ended(world.once(duration=30), 1)
    assert (fleet.state(), fleet.waves()) == ("rolled-back", {"wave-1": "failed"})
    assert fleet.versions() == {GOOD: DEVICES}
    assert len(fleet.touched()) == DEVICES // 2
    assert fleet.quarantined() == set(), "no probe failed"
    with world.ledger() as ledger:
        told = [event.reason for event in ledger.events() if event.kind == "rollout.rolling-back"]
    assert any("crash_rate: updated +9 since before (median) against control +0, p = " in one for one in told), told
    assert any("over 10/10 devices" in one for one in told), told


def test_a_healthy_one_passes_and_one_with_too_few_to_compare_with_holds(world: World) -> None:
    fleet = fleet_of(world, reports(3))
    fleet.release(BAD, strategy=STRATEGY, more=COMPARE % 5)
    ended(world.once(duration=30), 0)
    assert (fleet.state(), fleet.waves()) == ("complete", {"wave-1": "passed", "wave-2": "passed"})
    fleet.release("2.7.0", strategy=STRATEGY, more=COMPARE % 11)
    world.once(duration=6)
    assert (fleet.state(), fleet.waves()) == ("progressing", {"wave-1": "soaking"})
    assert len(fleet.touched()) == DEVICES // 2
    told = world.fwctl("status", "sensors").text
    assert "crash_rate is reported by 10 updated and 10 control devices, 11 of each are wanted" in told
