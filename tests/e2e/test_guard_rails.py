"""The loop keeps to guard rails and to the life cycle of firmware, with real devices over TLS."""

from __future__ import annotations

import pytest

from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

POLICY = "apiVersion: fwctl/v1\nkind: RolloutPolicy\nmetadata: {name: careful}\nspec:\n  rules: "
FREEZE = '{freezes: [{from: "2020-01-01T00:00:00Z", until: "2099-01-01T00:00:00Z", reason: holidays}]}\n'


def guard(world: World, rules: str) -> None:
    folder = world.repo / "policies"
    folder.mkdir(exist_ok=True)
    (folder / "careful.yaml").write_text(POLICY + rules)
    world.commit("Guard rails")
    world.fwctl("trust", "guard-rails")


def test_a27_nothing_starts_against_a_guard_rail_and_the_way_back_stays_open(world: World) -> None:
    fleet = CanaryWorld(world, 4)
    fleet.simulate()
    fleet.settled()
    # An approved rollout, and then a rule that it breaks.
    fleet.release(BAD, strategy="{type: Direct}")
    guard(world, "{minimumSoak: 15m}\n")
    ran = world.once(duration=20)
    assert "E_GUARD_RAIL" in ran.out + ran.err
    assert (fleet.touched(), fleet.versions()) == (set(), {GOOD: 4})
    # Loosened in the commit alone: nobody can tell what was signed.
    (world.repo / "policies" / "careful.yaml").write_text(POLICY + "{minimumSoak: 0s}\n")
    world.commit("Loosen it")
    ran = world.once(duration=20)
    assert "E_GUARD_RAIL_MISSING" in ran.out + ran.err
    assert fleet.versions() == {GOOD: 4}
    # A freeze that is signed holds like a closed window.
    guard(world, FREEZE)
    ran = world.once(duration=20)
    assert "frozen until 2099" in ran.out + ran.err
    assert fleet.versions() == {GOOD: 4}
    # Without it everybody goes; then the firmware is withdrawn, a freeze is back, and still everybody goes back.
    guard(world, "{minimumSoak: 0s}\n")
    ended(world.once(duration=30), 0)
    assert fleet.versions() == {BAD: 4}
    guard(world, FREEZE)
    world.fwctl("firmware", "withdraw", f"sensor-v1@{BAD}", "--reason", "it burns")
    world.commit("Withdraw it")
    world.fwctl("rollback", "sensors", "--reason", "it burns", "--confirm", "sensors")
    world.once(duration=30)
    assert (fleet.state(), fleet.versions()) == ("rolled-back", {GOOD: 4})
