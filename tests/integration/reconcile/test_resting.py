"""A pass where nothing has changed: it contacts nobody and reads nothing of the fleet, until something changes.

Whether a pass rested is seen from outside: the bytes of every manifest but `fleet.yaml` are damaged in git meanwhile,
so that a pass that reads one of them ends with E_GIT.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwctl.reconcile.summary import FLEET
from fwctl.state import Ledger, OrderIntended, SetMeta, acquire_lease
from tests.support.canary import GOOD, CanaryWorld
from tests.support.world import World

pytestmark = pytest.mark.e2e

DIRECT = "{type: Direct}"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CanaryWorld]:
    """Three devices that run what they should; they are switched off, so that whoever calls them is left alone."""
    with World(tmp_path) as world:
        fleet = CanaryWorld(world, 3)
        simulator = fleet.simulate()
        fleet.write(GOOD, strategy=DIRECT)
        world.commit("Release")
        world.fwctl("approve", "sensors", "--yes", "--days", "1")
        assert world.once(duration=60).code == 0
        assert fleet.state() == "complete"
        simulator.stop()
        yield fleet


@contextlib.contextmanager
def damaged(world: World) -> Iterator[None]:
    """Keep the sizes and the beginnings of every file of HEAD but `fleet.yaml`, and lose the rest."""
    kept: dict[Path, bytes] = {}
    for line in world.git("ls-tree", "-r", "-l", "HEAD").splitlines():
        head, path = line.split("\t")
        blob = head.split()[2]
        file = world.repo / ".git/objects" / blob[:2] / blob[2:]
        if path != "fleet.yaml" and file not in kept:
            kept[file] = file.read_bytes()
            file.chmod(0o600)
            press = zlib.compressobj()
            start = press.compress(zlib.decompress(kept[file])[:64]) + press.flush(zlib.Z_SYNC_FLUSH)
            file.write_bytes(start + b"\xff" * 64)
    try:
        yield
    finally:
        for file, data in kept.items():
            file.write_bytes(data)


def rests(world: World, *options: str) -> bool:
    """Run a pass; say whether it read nothing."""
    with damaged(world):
        ran = world.once("--format", "json", *options)
    report = json.loads(ran.out)
    if "error" in report:
        assert report["error"]["code"] == "E_GIT", ran.text
        return False
    assert (ran.code, report["visits"]) == (0, 0), ran.text
    return True


def revision(world: World) -> tuple[int, int]:
    """Return what every write would move: the ledger's revision, and its last event."""
    with world.ledger() as ledger:
        return ledger.revision(), max(row.seq for row in ledger.events())


def test_a_pass_at_rest_says_the_same_and_does_nothing(fleet: CanaryWorld) -> None:
    world = fleet.world
    before = revision(world)
    world.forget_summaries()
    first = world.reconciled()
    assert rests(world)
    second = world.reconciled()
    assert second["rollouts"] == first["rollouts"]
    assert second["epoch"] > first["epoch"], "it held the lease"
    assert revision(world) == before
    assert fleet.running("sim-001") == GOOD


def test_the_devices_are_not_called(fleet: CanaryWorld) -> None:
    """They are switched off: a call would be written down as one that failed."""
    assert rests(fleet.world)
    with fleet.world.ledger() as ledger:
        assert [row.failure_count for row in ledger.devices()] == [0, 0, 0]


# -- what ends the rest ------------------------------------------------------------------------------------------------


def _write(world: World, *changes: OrderIntended | SetMeta) -> None:
    with (
        Ledger.open(world.ledger_file) as ledger,
        acquire_lease(ledger, holder="test", now=datetime.now(UTC), ttl=timedelta(minutes=1)) as lease,
    ):
        ledger.apply(changes, epoch=lease.epoch)


def _other_root(world: World) -> None:
    path = world.keystore.root_path
    path.write_text(path.read_text() + "\n")


CHANGES: dict[str, Callable[[World], object]] = {
    "a commit": lambda world: world.commit("Another"),
    "another pinned root": _other_root,
    "a device in quarantine": lambda world: world.fwctl("quarantine", "add", "sim-001", "--reason", "it smokes"),
    "summaries that are gone": World.forget_summaries,
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_is_worked_on(fleet: CanaryWorld, what: str) -> None:
    world = fleet.world
    assert rests(world)
    CHANGES[what](world)
    assert not rests(world)
    assert world.once().code == 0
    assert rests(world), "until the next change"


def test_a_ledger_that_is_made_anew_knows_nothing(fleet: CanaryWorld) -> None:
    world = fleet.world
    assert rests(world, "--new-ledger"), "there is one already, and it stays"
    world.ledger_file.rename(world.folder / "lost.db")
    assert world.once("--format", "json").code != 0
    assert not rests(world, "--new-ledger")


def test_a_work_tree_is_always_read(fleet: CanaryWorld) -> None:
    """It is no commit, so nothing that was written down is about it."""
    assert rests(fleet.world)
    (fleet.world.repo / "devices" / "simulated.yaml").write_text("nonsense: true\n")
    answer = fleet.world.once("--work-tree")
    assert "E_MANIFESTS" in answer.err


# -- time --------------------------------------------------------------------------------------------------------------


def _later(world: World, statement: str, *values: object) -> None:
    """Let time go by: what lies ahead comes nearer, and nothing else changes."""
    with contextlib.closing(sqlite3.connect(world.ledger_file)) as ledger, ledger:
        assert ledger.execute(statement, values).rowcount == 1


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_end_of_an_approval_is_the_end_of_the_rest(fleet: CanaryWorld) -> None:
    world, now = fleet.world, datetime.now(UTC)
    with world.ledger() as ledger:
        (row,) = [row for row in ledger.summaries() if row.rollout == "dev/sensors"]
    assert row.valid_until is not None
    assert row.valid_until <= now + timedelta(days=1), "the approval holds for a day"
    _later(world, "UPDATE summaries SET valid_until = ? WHERE rollout = 'dev/sensors'", _text(now + timedelta(hours=1)))
    assert rests(world)
    assert not rests(world, "--max-duration", "7200"), "it would come while the pass runs"
    _later(world, "UPDATE summaries SET valid_until = ? WHERE rollout = 'dev/sensors'", _text(now))
    assert not rests(world)


def test_an_order_that_was_left_behind_is_looked_after_when_it_is_due(fleet: CanaryWorld) -> None:
    world, now = fleet.world, datetime.now(UTC)
    now = now.replace(microsecond=0)
    with world.ledger() as ledger:
        (done, *_) = ledger.orders(device="sim-001")
    left = _left(done.release, "sim-001", now + timedelta(hours=1))
    _write(world, left, _left(done.release, "gone-001", now, order="d" * 64))
    assert not rests(world), "the ledger has changed"
    assert world.once().code == 0
    assert rests(world), "one is not due, and nobody can reach a device that has left the inventory"
    with world.ledger() as ledger:
        (row,) = [row for row in ledger.summaries() if row.rollout == FLEET]
    assert row.valid_until == left.due_at
    _later(world, "UPDATE orders SET due_at = ? WHERE id = ?", _text(now), left.order)
    _later(world, "UPDATE summaries SET valid_until = ? WHERE rollout = ?", _text(now), FLEET)
    assert not rests(world)


def _left(release: str, device: str, due: datetime, *, order: str = "e" * 64) -> OrderIntended:
    """Return an order of a plan that is gone."""
    return OrderIntended(
        at=due,
        order=order,
        device=device,
        rollout="dev/sensors",
        mandate="f" * 64,
        verb="install",
        release=release,
        attempt=1,
        stage=1,
        wave="wave-1",
        refers_to="",
        body={},
        due_at=due,
        reason="may start",
    )


# -- two at once -------------------------------------------------------------------------------------------------------


def test_two_reconcilers_at_rest_are_still_two(fleet: CanaryWorld) -> None:
    world = fleet.world
    with (
        Ledger.open(world.ledger_file) as ledger,
        acquire_lease(ledger, holder="somebody else", now=datetime.now(UTC), ttl=timedelta(minutes=1)),
    ):
        ran = world.once()
        assert (ran.code, "error[E_LOCKED]" in ran.err, "somebody else" in ran.err) == (6, True, True), ran.text
    assert rests(world)
