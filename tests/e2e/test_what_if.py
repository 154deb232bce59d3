"""What a simulation predicts of a canary, against the same canary on the TLS simulator."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

DEVICES = int(os.environ.get("FWCTL_TEST_DEVICES", "40"))
STRICT = os.environ.get("FWCTL_TEST_STRICT") == "1"
RESTART, SOAK = 1, 2
STRATEGY = f"{{type: Canary, initialPercentage: 10, increments: [100], soak: {SOAK}s}}"
SHARE, SECONDS = 0.25, 3.0
"""a prediction may be wrong by a quarter of the real time, or by so many seconds if that is more"""
ASSUMED = (f"restart={RESTART}s", "probes=0s", "bandwidth=100MiB", "late=0", "broken=0", "longest=60s")


def predicted(world: World, *options: object) -> dict[str, Any]:
    given = [word for one in ASSUMED for word in ("--assume", one)]
    ran = world.fwctl("plan", "sensors", "--simulate", "--runs", 3, "--format", "json", *given, *options)
    made: dict[str, Any] = json.loads(ran.out)
    return made


def lasted(fleet: CanaryWorld) -> float:
    with fleet.world.ledger() as ledger:
        (row,) = ledger.rollouts()
        assert row.started_at is not None
        assert row.finished_at is not None
        return (row.finished_at - row.started_at).total_seconds()


def test_the_prediction_for_a_canary_agrees_with_a_real_run_of_it(world: World) -> None:
    fleet = CanaryWorld(world, DEVICES, timeout="1m")
    fleet.simulate(
        {"kind": "unhealthy", "share": 1.0, "versions": [BAD]}, options=("--memory", "--boot-delay", str(RESTART))
    )
    for version, rate, code, outcome in ((GOOD, 0.0, 0, "complete"), (BAD, 1.0, 1, "rolled-back")):
        fleet.release(version, strategy=STRATEGY)
        made = predicted(world, "--failure-rate", rate)
        ended(world.once(duration=60), code)
        run, real = made["runs"][0], lasted(fleet)
        print(f"{version}: {DEVICES} devices, predicted {run['seconds']:.1f} s, real {real:.0f} s")  # noqa: T201
        assert (run["outcome"], fleet.state()) == (outcome, outcome)
        assert {wave["name"]: wave["state"] for wave in made["typical"]["waves"] if wave["state"]} == fleet.waves()
        assert run["ordered"] == len(fleet.touched())
        tolerance = max(SECONDS, SHARE * real)
        assert run["seconds"] - real <= tolerance
        # How long a busy machine takes is no property of ours; `FWCTL_TEST_STRICT=1` asks for it all the same.
        assert not STRICT or real - run["seconds"] <= tolerance
