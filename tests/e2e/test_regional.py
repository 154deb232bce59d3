"""Regional over the TLS simulator: one region that fails stops the others and takes all back; windows hold a region."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.canary import BAD, GOOD, CanaryWorld, ended
from tests.support.world import World

pytestmark = pytest.mark.e2e

REGIONS = ("eu", "us", "asia")
DEVICES = 12
INNER = "inner: {type: Canary, initialPercentage: 25, increments: [100], soak: 1s}, soak: 1s"
NEVER_NOW = 'window: {allow: [{cron: "0 0 29 2 *", duration: 1m}]}'


def fleet_of(world: World, *faults: Mapping[str, Any]) -> CanaryWorld:
    """Return a fleet of twelve devices, dealt to three regions in turn, all on the good version."""
    fleet = CanaryWorld(world, DEVICES)
    path = world.repo / "devices" / "simulated.yaml"
    dealt = re.sub(
        r"\{id: sim-(\d+),", lambda found: f"{found[0]} region: {REGIONS[int(found[1]) % 3]},", path.read_text()
    )
    path.write_text(dealt)
    fleet.simulate(*faults)
    fleet.settled()
    return fleet


def region_of(device: str) -> str:
    return REGIONS[int(device.removeprefix("sim-")) % 3]


def in_region(region: str) -> list[str]:
    names = [f"sim-{number:03}" for number in range(1, DEVICES + 1)]
    return [name for name in names if region_of(name) == region]


def regional(*steps: str, order: str) -> str:
    return f"{{type: Regional, regions: [{', '.join(steps)}], order: {order}, {INNER}}}"


def test_a_second_region_that_fails_takes_all_back_and_the_third_never_starts(world: World) -> None:
    fleet = fleet_of(world, {"kind": "unhealthy", "devices": in_region("us"), "versions": [BAD]})
    fleet.release(BAD, strategy=regional("{name: eu}", "{name: us}", "{name: asia}", order="Sequential"))
    ended(world.once(duration=40), 1)
    assert fleet.state() == "rolled-back"
    assert fleet.waves() == {"eu/wave-1": "passed", "eu/wave-2": "passed", "us/wave-1": "failed"}
    assert fleet.versions() == {GOOD: DEVICES}
    assert {region_of(device) for device in fleet.touched()} == {"eu", "us"}
    assert set(in_region("eu")) < fleet.touched()
    assert "us/wave-1: 1 of 1 failed" in world.run("explain", "sensors").text
    status = world.run("status", "sensors").text
    assert re.search(r"├─ eu +4 devices  ✔ passed: ↩ 4 back", status), status
    assert re.search(r"├─ us +4 devices  ✖ failed: ", status), status
    assert re.search(r"└─ asia +4 devices  · waiting: · 4 untouched", status), status


def test_in_parallel_a_closed_window_holds_its_region_and_a_failed_one_takes_back_the_others(world: World) -> None:
    fleet = fleet_of(world, {"kind": "unhealthy", "devices": in_region("asia"), "versions": [BAD]})
    steps = ("{name: eu}", f"{{name: us, {NEVER_NOW}}}", "{name: asia}")
    fleet.release(BAD, strategy=regional(*steps, order="Parallel"))
    ended(world.once(duration=40), 1)
    assert fleet.state() == "rolled-back"
    assert fleet.waves()["asia/wave-1"] == "failed"
    assert not [wave for wave in fleet.waves() if wave.startswith("us/")], "its window never opened"
    assert fleet.touched() & set(in_region("us")) == set()
    assert fleet.versions() == {GOOD: DEVICES}
    assert "asia/wave-1: 1 of 1 failed" in world.run("explain", "sensors").text
