"""What becomes of a rollout when real agents restart, refuse to stay healthy, cannot write, or meet a newer plan."""

from __future__ import annotations

import shutil
import signal

from tests.support.disk_image import DiskImage
from tests.support.world import World, firmware, until

OLD, NEW = firmware("2.5.0", 2_000_000), firmware("2.6.0", 2_000_000)
FACTORY = b"factory image, unknown to the fleet\n"


def installs(world: World) -> list[tuple[int, str]]:
    with world.ledger() as ledger:
        return [(order.attempt, order.failure_class) for order in ledger.orders() if order.verb == "install"]


def test_devices_that_reboot_into_the_new_slot_are_asked_again_and_confirmed(world: World) -> None:
    world.init()
    world.enroll_simulated(4)
    world.simulator("--boot-delay", "0.3")
    world.release(OLD)
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 4}
    assert installs(world) == [(1, "")] * 4


def test_firmware_that_is_not_healthy_is_taken_back_and_not_tried_again(world: World) -> None:
    world.init()
    check = '[[probes.default.checks]]\nname = "app"\ntype = "file"\npath = "/nonexistent/app"\n\n[facts]'
    world.enroll("device-001", settings={"[facts]": check, "attempts = 3": "attempts = 1"})
    world.agent("device-001")
    world.release(OLD)
    ran = world.once()
    assert (ran.code, "rolled-back" in ran.out) == (1, True), ran.text
    assert world.journal("device-001")["running"]["version"] == "0.0.0"
    (device,) = world.status()["devices"]
    assert (device["state"], "health (E_PROBE_FAILED)" in device["reason"]) == ("back", True), device
    again = world.once("--format", "json")
    assert (again.code, '"visits": 0' in again.out) == (1, True), again.text
    assert installs(world) == [(1, "health")]


def test_an_installer_that_fails_is_tried_as_often_as_the_rollout_says(world: World) -> None:
    world.init(attempts=2)
    disk = DiskImage(world.folder / "disk", FACTORY)
    program = disk.folder / "installer.py"
    program.write_text(
        program.read_text().replace('if verb == "write":', 'if verb == "write":\n    sys.exit(9)\nif 0:')
    )
    world.enroll("device-001", settings=disk.settings())
    world.agent("device-001")
    world.release(OLD)
    ran = world.once()
    assert (ran.code, "rolled-back" in ran.out) == (1, True), ran.text
    assert installs(world) == [(1, "install"), (2, "install")]
    (device,) = world.status()["devices"]
    assert "E_COMMAND" in device["reason"]
    assert disk.active == "a"


def test_a_newer_plan_replaces_what_an_older_one_left_under_way(world: World) -> None:
    """THREATS R16: a device never gets parts of two plans."""
    world.init()
    disk = DiskImage(world.folder / "disk", FACTORY)
    world.enroll("device-001", settings=disk.settings())
    agent = world.agent("device-001")
    world.release(OLD)
    arrived = world.folder / "devices" / "device-001" / "slots" / "incoming.img"
    running = world.spawn("reconcile", "--once")
    until(lambda: arrived.exists() and arrived.stat().st_size > 0, what="bytes of 2.5.0")
    agent.send(signal.SIGSTOP)
    running.kill()
    agent.send(signal.SIGCONT)
    world.release(NEW, "2.6.0")
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
    assert disk.content(len(NEW)) == NEW
    assert disk.writes()[1] <= 2


def test_an_older_backup_of_the_ledger_flashes_nobody_again(world: World) -> None:
    """THREATS R11: devices know better; the epoch that they have seen is adopted."""
    world.init()
    disk = DiskImage(world.folder / "disk", FACTORY)
    world.enroll("device-001", settings=disk.settings())
    world.agent("device-001")
    backup = world.folder / "backup"
    shutil.copytree(world.ledger_file.parent, backup)
    world.release(OLD)
    world.reconciled()
    first = world.reconciled()["epoch"]
    for file in world.ledger_file.parent.glob("ledger.db*"):
        file.unlink()
    for file in backup.glob("ledger.db*"):
        shutil.copy(file, world.ledger_file.parent)
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
    assert disk.writes() == (1, 1)
    world.release(NEW, "2.6.0")
    report = world.reconciled()
    assert report["rollouts"][0]["counts"] == {"reached": 1}
    assert (disk.writes(), disk.content(len(NEW))) == ((2, 2), NEW)
    assert report["epoch"] >= first


def test_a_device_that_dies_after_accepting_does_not_hold_the_others_up(world: World) -> None:
    world.init(timeout="2s")
    world.enroll("device-001")
    agent = world.agent("device-001")
    world.enroll_simulated(2)
    world.simulator()
    world.release(OLD)
    slot = world.folder / "devices" / "device-001" / "slots" / "b.img"
    running = world.spawn("reconcile", "--once", "--max-duration", 4)
    until(lambda: slot.exists() and slot.stat().st_size > 0, what="the first bytes")
    agent.kill()
    assert running.wait() == 0, running.said()
    standings = world.standings()
    assert (standings["sim-001"], standings["sim-002"]) == ("reached", "reached")
    assert standings["device-001"] in ("in-flight", "straggler")
    (reason,) = [one["reason"] for one in world.status()["devices"] if one["device"] == "device-001"]
    assert "unreachable since" in reason
    world.agent("device-001")
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 3}


def test_a_device_that_has_these_bytes_already_adopts_them_without_a_write(world: World) -> None:
    world.init()
    image = world.folder / "factory.img"
    image.write_bytes(OLD)
    disk = DiskImage(world.folder / "disk", OLD)
    world.enroll("device-001", "--factory", image, "--factory-version", "2.5.0", settings=disk.settings())
    world.agent("device-001")
    world.release(OLD)
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
    assert (disk.active, disk.writes()) == ("a", (0, 0))
