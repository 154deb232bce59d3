"""A new commit in the middle of a rollout: what is under way comes to its end, and nobody gets parts of two plans."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World

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
