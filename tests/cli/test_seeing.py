"""What people see of a rollout in waves: plan, status, following, report, history and explanations, word for word."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.cli.fleet import Fleet

_CANARY = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {name: sensors}
spec:
  firmware: {model: sensor-v1, version: "2.5.0"}
  targets: {groups: [bench]}
  strategy: {type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 90s, approvalBefore: [wave-2]}
  gates: {health: {limits: {temperature: {max: 80}}}}
"""
_ROLLING = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {name: sensors}
spec:
  firmware: {model: sensor-v1, version: "2.5.0"}
  targets: {groups: [bench]}
  strategy: {type: Rolling, batchSize: 50%, maxUnavailable: 1, soak: 15m}
  rollback: {automatic: false}
"""


@pytest.mark.parametrize("manifest", [_CANARY, _ROLLING], ids=["canary", "rolling"])
def test_a_plan_tells_shares_stages_gates_and_merged_steps(
    planned: Fleet, manifest: str, snapshot: SnapshotAssertion
) -> None:
    planned.write("rollouts/dev/sensors.yaml", manifest)
    (planned.tree / "rollouts/dev/sensors.lock").unlink()
    assert str(planned.run("plan", "sensors")) == snapshot


@pytest.mark.parametrize("strategy", ["Canary", "Rolling", "Direct"])
def test_create_writes_the_smallest_manifest(planned: Fleet, strategy: str, snapshot: SnapshotAssertion) -> None:
    answer = planned.ok(
        *("rollout", "create", "other", "--firmware", "sensor-v1@2.5.0", "--device", "sensor-3"),
        *("--strategy", strategy),
    )
    assert str(answer) == snapshot
    assert ("strategy" in (planned.tree / "rollouts/dev/other.yaml").read_text()) == (strategy != "Canary")
