"""A large canary that goes back by itself, with the times that it took."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

DEVICES = int(os.environ.get("FWCTL_TEST_DEVICES", "200"))
STRATEGY = "{type: Canary, initialPercentage: 50, increments: [100], soak: 4s}"
DEADLINE = timedelta(minutes=2)


def rollback_times(fleet: CanaryWorld) -> list[timedelta]:
    """Return how long after the recorded gate failure each device had proved that it is back, shortest first."""
    with fleet.world.ledger() as ledger:
        (row,) = ledger.rollouts()
        assert row.back_since is not None
        mine = {order.id for order in ledger.orders(mandate=row.mandate) if order.verb == "revert"}
        outcomes = [one for one in ledger.outcomes(row.mandate) if one.result == "reverted" and one.order in mine]
        return sorted(one.received_at - row.back_since for one in outcomes)


def test_late_health_failures_take_a_large_canary_back_within_the_deadline(world: World) -> None:
    """One in twenty gets ill after it was confirmed."""
    fleet = CanaryWorld(world, DEVICES, timeout="1m")
    fleet.simulate({"kind": "unhealthy", "share": 0.05, "late": 1, "versions": [BAD]}, seed=3)
    fleet.settled()
    fleet.release(BAD, strategy=STRATEGY)
    ended(world.once(duration=60), 1)
    assert (fleet.state(), fleet.waves()) == ("rolled-back", {"wave-1": "failed"})
    assert fleet.versions() == {GOOD: DEVICES}
    assert len(fleet.touched()) == DEVICES // 2
    ill, times = fleet.quarantined(), rollback_times(fleet)
    assert ill
    # Who got ill after the rollback had begun went back by itself.
    assert DEVICES // 2 * 0.9 <= len(times) <= DEVICES // 2 - len(ill)
    p50, p95 = (times[len(times) * share // 100] for share in (50, 95))
    print(f"{DEVICES} devices, {len(ill)} ill, {len(times)} taken back: p50 {p50}, p95 {p95}, max {times[-1]}")  # noqa: T201
    assert times[-1] < DEADLINE
