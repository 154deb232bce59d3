"""Direct and Rolling on simulated devices over mutual TLS, with devices that the firmware makes ill.

Canary is in test_waves.py, Regional in test_regional.py, BlueGreen in test_blue_green.py.
"""

from __future__ import annotations

import pytest

from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

DEVICES = 12


def test_direct_goes_back_on_everybody_when_too_many_get_ill(world: World) -> None:
    fleet = CanaryWorld(world, DEVICES, timeout="1m")
    fleet.simulate({"kind": "unhealthy", "share": 0.25, "versions": [BAD]}, seed=3)
    fleet.settled()
    fleet.release(BAD, strategy="{type: Direct, soak: 1s}")
    ended(world.once(duration=60), 1)
    assert (fleet.state(), fleet.waves()) == ("rolled-back", {"wave-1": "failed"})
    assert fleet.versions() == {GOOD: DEVICES}
    assert len(fleet.touched()) == DEVICES, "Direct asks everybody at once"
    # One still in its trial when the gate is over is told to go back before it can fail.
    ill = {device for device in fleet.touched() if "health" in dict(fleet.attempts(device)).values()}
    assert fleet.quarantined() == ill
    assert 1 <= len(ill) <= DEVICES // 4


def test_rolling_stops_at_the_batch_that_gets_ill_and_never_begins_the_next(world: World) -> None:
    fleet = CanaryWorld(world, DEVICES, timeout="1m")
    fleet.simulate({"kind": "unhealthy", "share": 1.0, "versions": [BAD]}, seed=3)
    fleet.settled()
    fleet.release(BAD, strategy="{type: Rolling, batchSize: 4, maxUnavailable: 2, soak: 1s}")
    ended(world.once(duration=60), 1)
    assert (fleet.state(), fleet.waves()) == ("rolled-back", {"wave-1": "failed"})
    assert fleet.versions() == {GOOD: DEVICES}
    # Two at a time: when the first has failed, no more than one beside it has begun.
    assert 1 <= len(fleet.touched()) <= 4
    assert fleet.quarantined() <= fleet.touched()


def test_rolling_gets_through_when_few_are_ill(world: World) -> None:
    fleet = CanaryWorld(world, DEVICES, timeout="1m")
    fleet.simulate({"kind": "unhealthy", "share": 0.08, "versions": [BAD]}, seed=3)
    fleet.settled()
    more = "gates: {maxFailureRate: {percent: 40}, minReached: {percent: 50}}"
    fleet.release(BAD, strategy="{type: Rolling, batchSize: 4, soak: 1s}", more=more)
    ended(world.once(duration=60), 0)
    assert fleet.state() == "complete"
    assert fleet.waves() == {f"wave-{number}": "passed" for number in (1, 2, 3)}
    assert fleet.versions() == {BAD: DEVICES - 1, GOOD: 1}
