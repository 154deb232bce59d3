"""`rollout create`: one command for each strategy, and everything that it refuses."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.cli.fleet import Fleet

FIRMWARE = "sensor-v1@2.5.0"
INVENTORY = """\
apiVersion: fwctl/v1
kind: DeviceInventory
spec:
  defaults: {model: sensor-v1, hardware: rev-a, env: prod}
  devices:
    - {id: street-1, region: eu, address: "127.0.0.1:9"}
    - {id: street-2, region: eu, address: "127.0.0.1:9"}
    - {id: street-3, region: us, address: "127.0.0.1:9"}
"""


@pytest.fixture
def wide(planned: Fleet) -> Fleet:
    """A fleet with two environments, one of them in two regions."""
    planned.write("devices/street.yaml", INVENTORY)
    return planned


def written(fleet: Fleet) -> set[str]:
    """Return which rollouts were written."""
    names = fleet.git("status", "--porcelain", "-uall", "rollouts").split()
    return {name for name in names if name.endswith(".yaml")}


def test_one_device_gets_its_firmware_directly_by_one_command(planned: Fleet, snapshot: SnapshotAssertion) -> None:
    answer = planned.ok("rollout", "create", "--device", "sensor-3", "--firmware", FIRMWARE)
    assert str(answer) == snapshot
    assert written(planned) == {"rollouts/dev/sensor-3-2.5.0.yaml"}
    plan = planned.ok("plan", "dev/sensor-3-2.5.0", "--lock")
    assert "sensor-v1 2.5.0, Direct" in plan.stdout


@pytest.mark.parametrize(
    ("words", "key", "strategy"),
    [
        ("--group bench --replaces sensors", "dev/bench-2.5.0", "Canary"),
        ("--all --env prod", "prod/sensor-v1-2.5.0", "Canary"),
        ("--device street-3", "prod/street-3-2.5.0", "Direct"),
        ("--device street-3 --strategy Canary", "prod/street-3-2.5.0", "Canary"),
        ("--device street-1 --device street-2", "prod/sensor-v1-2.5.0", "Canary"),
        ("mine --device street-1 --device street-2 --strategy Rolling --soak 90s", "prod/mine", "Rolling"),
        ("--all --env prod --region us --region eu", "prod/sensor-v1-2.5.0", "Regional"),
        ("--all --env prod --strategy Regional --region us --region eu --soak 2h", "prod/sensor-v1-2.5.0", "Regional"),
    ],
)
def test_name_environment_and_strategy_follow_from_the_devices(
    wide: Fleet, words: str, key: str, strategy: str, snapshot: SnapshotAssertion
) -> None:
    answer = wide.ok("rollout", "create", *words.split(), "--firmware", FIRMWARE)
    assert str(answer) == snapshot
    assert written(wide) == {f"rollouts/{key}.yaml"}
    assert f"sensor-v1 2.5.0, {strategy}" in wide.ok("plan", key).stdout


@pytest.mark.parametrize(
    "words",
    [
        "--device sensor-1",
        "--all --env prod --strategy Regional",
        "--group bench --strategy Regional",
        "--all --env prod --strategy Direct --region eu",
        "--all --env prod --region eu",
        "--all --env prod --region eu --region us --region eu",
        "--all --device sensor-3",
        "--all --env prod --strategy Rolling --soak soon",
        "--device street-1 --env dev",
        "--device sensor-3 --replaces nobody",
        "--device street-4",
        "--device street-1 --device sensor-3",
        "--device sensor-3,street-1",
        "Sensor_3 --device sensor-3",
    ],
)
def test_what_would_not_validate_is_not_written(wide: Fleet, words: str, snapshot: SnapshotAssertion) -> None:
    answer = wide.run("rollout", "create", *words.split(), "--firmware", FIRMWARE)
    assert answer.exit_code in (2, 3)
    assert str(answer) == snapshot
    assert written(wide) == set()


@pytest.mark.parametrize("firmware", ["sensor-v1", "sensor-v1@", "@2.5.0", "sensor-v1@2.5.0@1"])
def test_firmware_is_a_model_and_a_version(wide: Fleet, firmware: str) -> None:
    answer = wide.run("rollout", "create", "--device", "sensor-3", "--firmware", firmware)
    assert answer.exit_code == 2
    assert "firmware is MODEL@VERSION" in answer.stderr
    assert written(wide) == set()


def test_the_name_that_follows_from_a_version_in_capitals_is_one(wide: Fleet) -> None:
    text = (wide.tree / "firmware" / "sensor-v1" / "2.5.0.yaml").read_text()
    wide.write(
        "firmware/sensor-v1/2.6.0-RC1.yaml", text.replace("2.5.0", "2.6.0-RC1").replace("Counter: 1", "Counter: 2")
    )
    wide.ok("rollout", "create", "--device", "sensor-3", "--firmware", "sensor-v1@2.6.0-RC1")
    assert written(wide) == {"rollouts/dev/sensor-3-2.6.0-rc1.yaml"}


def test_a_name_that_would_be_too_long_is_asked_for(wide: Fleet, snapshot: SnapshotAssertion) -> None:
    device, version = "d" * 60, "2.5.0-rc.1+build.7"
    answer = wide.run("rollout", "create", "--device", device, "--firmware", f"sensor-v1@{version}")
    assert answer.exit_code == 2
    assert str(answer) == snapshot
