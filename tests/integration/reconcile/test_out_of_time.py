"""A pass that ends before its work does leaves the rest of it to the next pass, which must not rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.canary import BAD, CanaryWorld
from tests.support.world import World

pytestmark = pytest.mark.e2e


def test_who_is_due_when_a_pass_runs_out_of_time_is_visited_by_the_next(tmp_path: Path) -> None:
    """Everybody has been seen just now, so that no look of a sweep is due: nothing else ends a rest."""
    with World(tmp_path) as world:
        fleet = CanaryWorld(world, 60)
        fleet.simulate()
        fleet.settled()
        fleet.release(BAD, strategy="{type: Direct, soak: 0s}", more="limits: {maxConcurrent: 1}")
        world.once(duration=1)
        assert fleet.state() == "progressing", "one second is not enough for all"
        world.once(duration=60)
        assert (fleet.state(), fleet.versions()) == ("complete", {BAD: 60})
