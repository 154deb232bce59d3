"""Only what is committed, valid, signed and approved goes out: who can merely write to git changes no device."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.support.world import World, firmware

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """2.5.0 runs on device-001; the agent is up, and every pass from here on must leave it alone."""
    with World(tmp_path_factory.mktemp("commit")) as world:
        world.init()
        world.enroll("device-001")
        world.agent("device-001")
        world.release(firmware("2.5.0"))
        world.reconciled()
        world.add_firmware(firmware("2.6.0"), "2.6.0")
        world.enroll("device-002")
        world.commit("Register 2.6.0, which nobody has approved for anybody")
        yield world


def edit(world: World, path: str, old: str, new: str) -> None:
    file = world.repo / path
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new, 1))


def newer_version(world: World) -> None:
    edit(world, "rollouts/dev/sensors.yaml", "2.5.0", "2.6.0")


def newer_version_and_lock(world: World) -> None:
    newer_version(world)
    world.fwctl("plan", "sensors", "--lock")


def one_more_device(world: World) -> None:
    edit(world, "rollouts/dev/sensors.lock", "device-001", "device-002")


def other_bytes(world: World) -> None:
    """The approved version, with the digest of other bytes that the storage has."""
    newer = (world.repo / "firmware/sensor-v1/2.6.0.yaml").read_text().split("digest: ")[1].split()[0]
    old = (world.repo / "firmware/sensor-v1/2.5.0.yaml").read_text().split("digest: ")[1].split()[0]
    edit(world, "firmware/sensor-v1/2.5.0.yaml", old, newer)
    world.fwctl("plan", "sensors", "--lock")


def weaker_policy(world: World) -> None:
    edit(world, "trust/policy/policy.json", '"maxApprovalDays": 90', '"maxApprovalDays": 91')


def no_trust(world: World) -> None:
    world.git("rm", "--quiet", "-r", "trust")


def nonsense(world: World) -> None:
    (world.repo / "rollouts/dev/sensors.yaml").write_text("spec: {targets: [\n")


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (newer_version, 3, "E_"),
        (newer_version_and_lock, 1, "E_APPROVAL_STALE"),
        (one_more_device, 1, "E_APPROVAL_STALE"),
        (other_bytes, 1, "E_SIG"),
        (weaker_policy, 4, "trust/"),
        (no_trust, 4, "trust/"),
        (nonsense, 3, "rollouts/dev/sensors.yaml"),
    ],
)
def test_a_commit_that_nobody_signed_moves_nothing(
    world: World, change: Callable[[World], None], code: int, says: str
) -> None:
    good = world.git("rev-parse", "HEAD")
    before = world.journal("device-001")
    change(world)
    world.commit("Not approved by anybody")
    ran = world.once()
    assert (ran.code, says in ran.text) == (code, True), ran.text
    with world.ledger() as ledger:
        orders = [order for order in ledger.orders() if order.verb == "install"]
    assert [order.device for order in orders] == ["device-001"]
    assert world.journal("device-001") == before
    world.git("revert", "--no-edit", "HEAD")
    assert world.git("diff", good, "HEAD") == ""
    report = world.reconciled()
    assert report["visits"] == report["swept"]["devices"], "back to what was approved: nothing but looks"


def test_what_is_not_committed_counts_for_nothing(world: World) -> None:
    path = world.repo / "rollouts" / "dev" / "sensors.yaml"
    text = path.read_text()
    path.write_text("spec: {targets: [\n")
    try:
        assert world.reconciled()["visits"] == 0
        ran = world.once("--work-tree", "--format", "json")
        assert (ran.code, json.loads(ran.out)["error"]["code"]) == (3, "E_MANIFESTS"), ran.text
    finally:
        path.write_text(text)
