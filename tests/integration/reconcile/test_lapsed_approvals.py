"""Approvals that end in the middle of a rollout: nothing new is sent, what was begun is finished, and it says why."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.canary import BAD as NEW
from tests.support.canary import GOOD, CanaryWorld, ended
from tests.support.people import approve_for, approvers, revoke
from tests.support.world import World

pytestmark = pytest.mark.e2e

TWO = "{type: Canary, initialPercentage: 50, increments: [100], soak: 1s}"
RESTARTS = ("--memory", "--boot-delay", "3")


def halfway(world: World, *faults: dict[str, Any]) -> CanaryWorld:
    """Return four devices on 2.5.0, and a canary of 2.6.0 that bob or carol must approve."""
    fleet = CanaryWorld(world, 4)
    fleet.simulate(*faults, options=RESTARTS)
    fleet.settled()
    fleet.release(NEW, strategy=TWO, approve=False)
    approvers(world, "bob", "carol")
    return fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CanaryWorld]:
    with World(tmp_path) as world:
        yield halfway(world)


def orders(world: World, verb: str = "install") -> set[str]:
    with world.ledger() as ledger:
        (row,) = ledger.rollouts()
        return {one.device for one in ledger.orders(mandate=row.mandate) if one.verb == verb}


def begun(fleet: CanaryWorld) -> set[str]:
    """Run a pass that ends while the first wave restarts; return its devices."""
    fleet.world.once(duration=1)
    first = orders(fleet.world)
    assert (len(first), fleet.waves()) == (2, {"wave-1": "open"})
    assert set(fleet.versions()) == {GOOD}, "they are on their way"
    return first


def says(world: World, *words: str) -> None:
    """Check what people are told, by each command that tells it."""
    status, explain = world.fwctl("status", "sensors"), world.fwctl("explain", "sensors")
    for ran in (status, explain):
        for word in words:
            assert word in ran.out, ran.text
        assert "fwctl approve dev/sensors" in ran.next, ran.text


def test_a24_a_revoked_approver_in_the_middle_pauses_the_rest_and_another_approval_goes_on(fleet: CanaryWorld) -> None:
    world = fleet.world
    world.fwctl("approve", "sensors", "--as", "bob", "--yes")
    first = begun(fleet)
    version = revoke(world, "bob")
    ended(world.once(duration=15), 1)
    assert orders(world) == first, "nothing new was sent"
    assert orders(world, "confirm") == first, "what was begun is kept"
    assert fleet.versions() == {GOOD: 2, NEW: 2}
    assert fleet.waves() == {"wave-1": "passed"}
    why = f"bob: revoked in policy version {version}"
    says(world, "not-approved", "paused: E_SIG_THRESHOLD", why, "may approve: carol")
    with world.ledger() as ledger:
        assert [one.reason for one in ledger.events() if "paused: E_SIG_THRESHOLD" in one.reason], "it is in the chain"
    again = world.once("--format", "json")
    assert (again.code, json.loads(again.out)["visits"]) == (1, 0), "a pass with nothing to do contacts nobody"
    world.fwctl("approve", "sensors", "--as", "carol", "--yes")
    ended(world.once(duration=20), 0)
    assert (fleet.versions(), fleet.state()) == ({NEW: 4}, "complete")


def test_a24_an_order_that_no_device_has_taken_is_withdrawn(fleet: CanaryWorld) -> None:
    """The intent is written, the simulator is away: nobody knows whether the order arrived."""
    world = fleet.world
    world.fwctl("approve", "sensors", "--as", "bob", "--yes")
    world.processes[-1].stop()
    world.once(duration=2)
    revoke(world, "bob")
    world.processes[-1].listening()
    ended(world.once(duration=10), 1)
    assert (fleet.versions(), fleet.quarantined()) == ({GOOD: 4}, set())
    with world.ledger() as ledger:
        assert {one.code for one in ledger.orders()} <= {"", "E_NEVER_ARRIVED"}, "no device had to refuse it"


def test_a14_an_approval_that_ends_in_the_middle_pauses_the_rest_until_it_is_renewed(fleet: CanaryWorld) -> None:
    world = fleet.world
    expires = approve_for(world, "bob", timedelta(seconds=4))
    first = begun(fleet)
    time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()))
    ended(world.once(duration=15), 1)
    assert (orders(world), fleet.versions()) == (first, {GOOD: 2, NEW: 2})
    says(world, "not-approved", "paused: E_EXPIRED", "bob: expired at", "may approve: bob, carol")
    world.fwctl("approve", "sensors", "--as", "bob", "--renew", "--yes")
    ended(world.once(duration=20), 0)
    assert (fleet.versions(), fleet.state()) == ({NEW: 4}, "complete")


def test_a14_an_approval_that_ends_during_a_pass_sends_nothing_more(fleet: CanaryWorld) -> None:
    world = fleet.world
    approve_for(world, "bob", timedelta(seconds=3))
    world.once(duration=15)
    with world.ledger() as ledger:
        assert {one.code for one in ledger.orders()} == {""}, "no device had to refuse anything"
    assert len(orders(world)) == 2
    ended(world.once(duration=15), 1)
    assert fleet.versions() == {GOOD: 2, NEW: 2}
    assert fleet.state() == "waiting"


def test_a24_what_was_begun_goes_back_although_nobody_approves_it_any_more(tmp_path: Path) -> None:
    """The gate of an open wave holds whoever still approves: two of two get ill after the revocation."""
    with World(tmp_path) as world:
        fleet = halfway(world, {"kind": "unhealthy", "share": 1.0, "versions": [NEW]})
        world.fwctl("approve", "sensors", "--as", "bob", "--yes")
        begun(fleet)
        revoke(world, "bob")
        ended(world.once(duration=20), 1)
        assert (fleet.state(), fleet.waves()) == ("rolled-back", {"wave-1": "failed"})
        assert fleet.versions() == {GOOD: 4}


def test_a_complete_rollout_stays_complete_when_its_approvals_end(fleet: CanaryWorld) -> None:
    world = fleet.world
    world.fwctl("approve", "sensors", "--as", "bob", "--yes")
    ended(world.once(duration=30), 0)
    revoke(world, "bob")
    ended(world.once(duration=5), 0)
    assert (world.status()["state"], fleet.versions()) == ("complete", {NEW: 4})
