"""`kill -9` of the loop before and after each thing that it writes down in a canary that goes back (R04, R14, R15).

The process kills itself in the middle of its write: nothing of a group of changes is there, or all of it is.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fwctl.rollouts.cohorts import by_lot
from tests.support.canary import GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

FOUR = [f"sim-{number:03}" for number in range(1, 5)]
VICTIM, NEIGHBOUR = by_lot(FOUR, "sensors")[:2]
STRATEGY = "{type: Canary, initialPercentage: 50, increments: [100], soak: 2s}"

SUICIDE = """
import os, signal
from fwctl.state.ledger import Ledger
write = Ledger.apply_groups
def is_it(change):
    return type(change).__name__ == {kind!r} and {attributes!r} == {{
        name: str(getattr(change, name)) for name in {attributes!r}
    }}
def killing(self, groups, *, epoch):
    now = any(is_it(change) for group in groups for change in group)
    done = None if now and {before!r} else write(self, groups, epoch=epoch)
    if now:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
Ledger.apply_groups = killing
"""

STEPS: dict[str, tuple[str, dict[str, str]]] = {
    "waiting": ("RolloutMoved", {"state": "waiting"}),
    "wave open": ("WaveMoved", {"state": "open"}),
    "progressing": ("RolloutMoved", {"state": "progressing"}),
    "order intended": ("OrderIntended", {"verb": "install"}),
    "order running": ("OrderMoved", {"status": "running"}),
    "confirm intended": ("OrderIntended", {"verb": "confirm"}),
    "outcome received": ("OutcomeReceived", {"result": "confirmed"}),
    "wave soaking": ("WaveMoved", {"state": "soaking"}),
    "quarantined": ("Quarantined", {}),
    "wave failed": ("WaveMoved", {"state": "failed"}),
    "rolling back": ("RolloutMoved", {"state": "rolling-back"}),
    "revert intended": ("OrderIntended", {"verb": "revert"}),
    "reverted": ("OutcomeReceived", {"result": "reverted"}),
    "rolled back": ("RolloutMoved", {"state": "rolled-back"}),
}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CanaryWorld]:
    with World(tmp_path) as world:
        yield CanaryWorld(world, 4)


def end_of(fleet: CanaryWorld) -> dict[str, Any]:
    """Return all that must not depend on when the loop was killed."""
    with fleet.world.ledger() as ledger:
        assert (ledger.integrity(), ledger.verify_chain()) == ((), None)
        (row,) = ledger.rollouts()
        orders = ledger.orders(mandate=row.mandate)
        mine = {order.id for order in orders}
        soaks = [
            event.at
            for event in ledger.events(rollout=row.key)
            if event.kind == "wave.soaking" and event.data["mandate"] == row.mandate
        ]
        (wave,) = ledger.waves(row.key, row.mandate)
        settled = [e.order for e in ledger.events() if e.kind == "order.settled" and e.order in mine]
    assert soaks == [wave.soak_since], "a soak begins once (R14)"
    assert len(settled) == len(set(settled)), "an order ends once (I3)"
    return {
        "state": str(row.state),
        "reason": row.reason,
        "wave": (wave.wave, str(wave.state), wave.reason),
        "orders": sorted((order.device, order.verb, order.attempt, str(order.status)) for order in orders),
        "versions": fleet.versions(),
        "quarantine": fleet.quarantined(),
    }


EXPECTED = {
    "state": "rolled-back",
    "reason": "1 taken back",
    "wave": ("wave-1", "failed", "1 of 2 failed (50 %), allowed are 2 %"),
    "orders": sorted(
        [
            (VICTIM, "install", 1, "settled"),
            (VICTIM, "confirm", 1, "settled"),
            (NEIGHBOUR, "install", 1, "settled"),
            (NEIGHBOUR, "confirm", 1, "settled"),
            (NEIGHBOUR, "revert", 1, "settled"),
        ]
    ),
    "versions": {GOOD: 4},
    "quarantine": {VICTIM},
}


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("half", [0, 1], ids=["forward", "back"])
def test_a_loop_killed_at_any_step_of_a_rollback_ends_as_if_it_had_not_been(
    fleet: CanaryWorld, before: bool, half: int
) -> None:
    steps = list(STEPS.items())[half * 7 : half * 7 + 7]
    versions = [f"2.6.{turn}" for turn in range(len(steps) + 1)]
    fleet.simulate({"kind": "silentRevert", "devices": [VICTIM], "versions": versions, "late": 0.3})
    fleet.settled()
    for version, (name, (kind, attributes)) in zip(versions, steps, strict=False):
        fleet.release(version, strategy=STRATEGY)
        setup = SUICIDE.format(kind=kind, attributes=attributes, before=before)
        killed = fleet.world.spawn("reconcile", "--once", "--max-duration", 20, setup=setup)
        assert killed.wait() == -signal.SIGKILL, f"{name}: {killed.said()}"
        ended(fleet.world.once(duration=20), 1)
        assert end_of(fleet) == EXPECTED, name
        fleet.world.fwctl("quarantine", "release", VICTIM, "--reason", "the next turn needs it")


def test_the_same_seed_gives_the_same_decisions_twice(tmp_path: Path) -> None:
    """Who is hit, who was ordered, how each attempt ended, and what was judged: only times differ."""
    stories = []
    for run in ("first", "second"):
        (folder := tmp_path / run).mkdir()
        with World(folder) as world:
            fleet = CanaryWorld(world, 40)
            fleet.simulate({"kind": "unhealthy", "share": 0.3, "versions": ["2.6.0"]}, seed=7)
            fleet.settled()
            fleet.release("2.6.0")
            ended(world.once(duration=20), 1)
            with world.ledger() as ledger:
                (row,) = ledger.rollouts()
                orders = [(o.device, o.verb, o.attempt, o.wave, o.failure_class) for o in ledger.orders()]
                waves = [(w.wave, str(w.state), w.reason) for w in ledger.waves(row.key, row.mandate)]
            stories.append((row.reason, sorted(orders), waves, fleet.quarantined(), fleet.versions()))
    assert stories[0] == stories[1]
    assert stories[0][3], "somebody was hit"
