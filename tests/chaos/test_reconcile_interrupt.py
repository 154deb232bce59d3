"""Two reconcilers, Ctrl-C, a confirm that does not come, a disk that is full: the next pass goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwctl_agent.runtime.copies import TwoCopies
from fwctl_agent.runtime.fs import OsFs
from tests.support.disk_image import DiskImage
from tests.support.world import Process, World, firmware, until

IMAGE = firmware("2.5.0")
_LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def device_state(world: World) -> str:
    """Return the state of the device's order, as its journal has it."""
    journal = TwoCopies(OsFs(world.folder / "devices" / "device-001"), "state/journal").load() or {}
    return str((journal.get("job") or {}).get("state"))


def held_up(world: World) -> tuple[Process, Process]:
    """Start a pass that waits for an agent which stands still; return agent and pass."""
    world.enroll("device-001")
    agent = world.agent("device-001")
    world.release(IMAGE)
    agent.send(signal.SIGSTOP)
    running = world.spawn("reconcile", "--once")

    def at_work() -> bool:
        assert running.running, running.said()
        with world.ledger() as ledger:
            return any(event.kind == "rollout.progressing" for event in ledger.events())

    until(at_work, what="the pass to contact the device")
    return agent, running


def test_a_second_reconciler_is_told_who_works_and_changes_nothing(world: World) -> None:
    agent, running = held_up(world.init())
    second = world.once()
    assert (second.code, "E_LOCKED" in second.err) == (6, True), second.text
    assert str(running.pid) in second.err
    agent.send(signal.SIGCONT)
    assert running.wait() == 0, running.said()
    assert world.standings() == {"device-001": "reached"}
    with world.ledger() as ledger:
        assert len([order for order in ledger.orders() if order.verb == "install"]) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_pass_is_completed_by_the_next_one(world: World, number: signal.Signals, code: int) -> None:
    agent, running = held_up(world.init())
    running.send(number)
    assert running.wait() == code, running.said()
    assert "Traceback" not in running.said()
    agent.send(signal.SIGCONT)
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
    assert world.active_bytes("device-001") == IMAGE


def killed_before_the_confirm(world: World) -> DiskImage:
    """Run a pass up to the trial and kill it there: the device runs the new image, and nobody has confirmed it."""
    probe = '[[probes.default.checks]]\nname = "slow"\ntype = "command"\nargv = ["sleep", "0.7"]\n\n[facts]'
    disk = DiskImage(world.folder / "disk", b"factory image, unknown to the fleet\n")
    world.enroll("device-001", settings={"[facts]": probe, **disk.settings()})
    world.agent("device-001")
    world.release(IMAGE)
    running = world.spawn("reconcile", "--once")
    until(lambda: device_state(world) == "trial", what="the trial")
    running.kill()
    return disk


def test_a_restarted_reconciler_confirms_a_device_that_is_in_its_trial(world: World) -> None:
    disk = killed_before_the_confirm(world.init())
    assert device_state(world) == "trial"
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
    assert device_state(world) == "confirmed"
    assert (disk.content(len(IMAGE)), disk.writes()) == (IMAGE, (1, 1))
    with world.ledger() as ledger:
        assert len([order for order in ledger.orders() if order.verb == "install"]) == 1


def test_a_device_that_nobody_confirms_goes_back_and_is_tried_once_more(world: World) -> None:
    disk = killed_before_the_confirm(world.init(pass_interval="1s", confirm_within="4s"))
    until(lambda: device_state(world) == "reverted", what="the device to go back by itself")
    assert world.journal("device-001")["running"]["version"] == "0.0.0"
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
    assert (disk.content(len(IMAGE)), disk.writes()) == (IMAGE, (1, 1))
    with world.ledger() as ledger:
        installs = [order for order in ledger.orders() if order.verb == "install"]
    assert [(order.attempt, order.failure_class) for order in installs] == [(1, "unconfirmed"), (2, "")]


def test_a_full_disk_under_the_ledger_stops_the_pass_and_the_next_one_goes_on(world: World) -> None:
    """THREATS R09: no order leaves that is not written down first."""
    world.init()
    world.enroll("device-001")
    world.agent("device-001")
    world.release(IMAGE)
    size = max(path.stat().st_size for path in world.ledger_file.parent.glob("ledger.db*"))
    stopped = 0
    for room in (0, 16_384, 65_536):
        running = world.spawn("reconcile", "--once", setup=_LIMITED.format(size + room))
        code = running.wait()
        assert code in (0, 5), running.said()
        assert "Traceback" not in running.said()
        if code == 5:
            stopped += 1
            assert "E_DISK" in running.said()
    assert stopped
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
    with world.ledger() as ledger:
        assert (ledger.integrity(), ledger.verify_chain()) == ((), None)
        assert len([order for order in ledger.orders() if order.verb == "install"]) == 1
