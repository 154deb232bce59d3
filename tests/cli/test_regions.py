"""What people see of a Regional rollout: the plan, status, explain and the report, by region."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from fwctl.state import WaveMoved, WaveState
from tests.cli.fleet import ENVIRONMENT, Fleet
from tests.cli.waves import KEY, Story

INVENTORY = """\
apiVersion: fwctl/v1
kind: DeviceInventory
spec:
  defaults: {model: sensor-v1, hardware: rev-a, env: dev}
  devices:
"""
MANIFEST = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {name: sensors}
spec:
  firmware: {model: sensor-v1, version: "2.5.0"}
  targets: {selector: {matchExpressions: [{key: region, operator: Exists}]}}
  strategy:
    type: Regional
    order: ORDER
    regions:
      - {name: eu, window: {allow: [{cron: "0 1 * * *", duration: 4h, timeZone: Europe/Berlin}]}}
      - {name: us, strategy: {type: Rolling, batchSize: 2, maxUnavailable: 1, soak: 10s}}
      - {name: asia}
    inner: {type: Canary, initialPercentage: 25, increments: [100], soak: 30s}
    soak: 90s
    approvalBefore: [asia]
"""


def regional(fleet: Fleet, order: str) -> Fleet:
    """Make the planned fleet's rollout go by regions: four devices in eu and us each, one in asia."""
    regions = ["eu"] * 4 + ["us"] * 4 + ["asia"]
    lines = [
        f'    - {{id: {region}-{at}, region: {region}, address: "127.0.0.1:9"}}\n' for at, region in enumerate(regions)
    ]
    fleet.write("devices/street.yaml", INVENTORY + "".join(lines))
    fleet.write("rollouts/dev/sensors.yaml", MANIFEST.replace("ORDER", order))
    fleet.ok("plan", "sensors", "--lock")
    fleet.commit("By region")
    fleet.ok("approve", "sensors", "--yes")
    return fleet


@pytest.fixture(scope="session")
def made(stages: Callable[[str], Fleet], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fleet]:
    top = tmp_path_factory.mktemp("regional")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        fleets = {order: regional(stages("planned").copy(top / order), order) for order in ("Sequential", "Parallel")}
    return lambda order: fleets[order]


@pytest.fixture
def sequential(made: Callable[[str], Fleet], tmp_path: Path) -> Fleet:
    return made("Sequential").copy(tmp_path / "work")


@pytest.fixture
def parallel(made: Callable[[str], Fleet], tmp_path: Path) -> Fleet:
    return made("Parallel").copy(tmp_path / "work")


class Regions(Story):
    """Writes what happens to waves of regions."""

    def go(self, at: int, name: str, state: str, reason: str) -> None:
        moved = WaveMoved(
            at=self.time(at), rollout=KEY, mandate=self.mandate, wave=name, state=WaveState(state), reason=reason
        )
        self.changes.append(moved)

    def passes(self, at: int, name: str) -> int:
        """Open a wave, confirm its devices, and let it pass; return when that was."""
        (wave,) = [wave for wave in self.prepared.plan.waves if wave.name == name]
        size = len(wave.devices)
        self.go(at, name, "open", f"{size} devices may start")
        for count, device in enumerate(wave.devices):
            self.confirmed(at + 5 + count, device)
        self.go(at + 10, name, "passed", f"{size} of {size} reached, 0 failed")
        return at + 11


def first_region(fleet: Fleet, length: int) -> Regions:
    story = Regions(fleet, length)
    story.factory(*story.prepared.plan.members)
    story.rollout(0, "waiting", "it may start")
    story.rollout(1, "progressing", "devices are due")
    story.passes(story.passes(2, "eu/wave-1"), "eu/wave-2")
    return story


def failed(fleet: Fleet) -> Fleet:
    """The second region fails and all go back; the third never begins."""
    story = first_region(fleet, 120)
    first, second = story.waves[2]
    story.go(30, "us/wave-1", "open", "2 devices may start")
    story.confirmed(36, first)
    story.unhealthy(38, second)
    story.go(39, "us/wave-1", "failed", "1 of 2 failed (50 %), allowed are 2 %")
    why = "us/wave-1: 1 of 2 failed (50 %), allowed are 2 %"
    story.rollout(39, "rolling-back", why, "maxFailureRate")
    back = [*story.waves[0], *story.waves[1], first]
    for at, device in enumerate(back):
        story.back(42 + at, device, 40)
    story.rollout(50, "rolled-back", "6 taken back")
    return story.write()


@pytest.mark.parametrize("order", ["Sequential", "Parallel"])
def test_a_plan_tells_regions_with_their_shares_windows_and_order(
    made: Callable[[str], Fleet], order: str, snapshot: SnapshotAssertion
) -> None:
    answer = made(order).ok("plan", "sensors")
    assert answer.stdout == snapshot


def test_status_has_a_line_for_each_region(sequential: Fleet, snapshot: SnapshotAssertion) -> None:
    story = first_region(sequential, 120)
    story.go(30, "us/wave-1", "open", "2 devices may start")
    story.confirmed(36, story.waves[2][0])
    fleet = story.write()
    assert fleet.run("status").stdout == snapshot(name="all")
    assert fleet.run("status", "sensors").stdout == snapshot(name="one")


def test_status_of_regions_side_by_side(parallel: Fleet) -> None:
    """Times of the window of eu change with the clock, so that they are not compared as a whole."""
    story = Regions(parallel, 60)
    story.factory(*story.prepared.plan.members)
    story.rollout(1, "progressing", "devices are due")
    story.passes(2, "us/wave-1")
    told = story.write().run("status", "sensors").stdout
    (eu,) = [line for line in told.splitlines() if line.startswith("  ├─ eu ")]
    assert "· waiting: ‖ 4 held, window op" in eu
    (us,) = [line for line in told.splitlines() if line.startswith("  ├─ us ")]
    assert "▶ open: ✔ 2 reached" in us


def test_status_and_report_in_json_have_the_regions(sequential: Fleet) -> None:
    fleet = failed(sequential)
    (rollout,) = json.loads(fleet.run("status", "--format", "json").stdout)["rollouts"]
    told = [(one["name"], one["state"], one["size"], one["counts"]) for one in rollout["regions"]]
    assert told == [
        ("eu", "passed", 4, {"back": 4}),
        ("us", "failed", 4, {"back": 2, "untouched": 2}),
        ("asia", "waiting", 1, {"untouched": 1}),
    ]
    assert [wave["region"] for wave in rollout["waves"]] == ["eu", "eu", "us", "us", "asia"]
    report = json.loads(fleet.run("rollout", "report", "sensors", "--format", "json").stdout)
    assert [one["name"] for one in report["regions"]] == ["eu", "us", "asia"]


def test_a_failed_region_in_status_explain_and_report(sequential: Fleet, snapshot: SnapshotAssertion) -> None:
    fleet = failed(sequential)
    assert fleet.run("status").stdout == snapshot(name="status")
    assert fleet.run("explain", "sensors").stdout == snapshot(name="explain")
    assert fleet.run("rollout", "report", "sensors").stdout == snapshot(name="report")


def test_the_page_and_the_drawing_have_a_row_for_each_region(sequential: Fleet) -> None:
    page = failed(sequential).run("rollout", "report", "sensors", "--format", "html").stdout
    assert "<h2>Regions</h2>" in page
    assert page.count('<line class="region"') == 2, "asia never began"
    assert '<text class="name" x="0" y="27">eu</text>' in page
    assert '<text class="name" x="12" y="57">wave-1</text>' in page
