"""From an empty folder to a device that runs what git says: as a person types it, and from then on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.disk_image import DiskImage
from tests.support.world import IDENTITY, Process, World, firmware, free_address

pytestmark = pytest.mark.e2e


def test_ten_commands_lead_from_an_empty_folder_to_an_updated_device(world: World) -> None:
    """Each command is typed as the one before printed it; only names that fwctl cannot know are filled in."""
    fleet = world.folder / "acme"
    fleet.mkdir()
    (world.folder / "app.bin").write_bytes(image := firmware("2.5.0"))
    address, printed, typed = free_address(), ["fwctl init"], 0
    folders = {"FWCTL_STATE_DIR": str(world.state), "FWCTL_CONFIG_DIR": str(world.config)}
    env = os.environ | IDENTITY | folders | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    known = {"127.0.0.1:8443": address, "FILE": "../app.bin", "MODEL": "sensor-v1", "VERSION": "2.5.0", "NAME": "app"}

    def printed_command(start: str) -> str:
        line = next(line for line in printed if line.startswith(start))
        for placeholder, name in known.items():
            line = line.replace(placeholder, name)
        return line

    def follow(start: str, more: str = "") -> str:
        """Type the printed command that begins with `start`; return its answer."""
        nonlocal typed
        line, typed = printed_command(start) + more, typed + 1
        done = subprocess.run(
            ["sh", "-c", line], cwd=fleet, env=env, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if line.startswith("fwctl"):
            assert "Next: " in done.stderr, line
            printed[:] = [one.strip() for one in done.stderr.partition("Next: ")[2].splitlines()]
        return done.stdout

    follow("fwctl init")
    follow("fwctl device enroll")
    run = printed_command("fwctl-agent run")
    typed += 1
    agent = Process(
        ["sh", "-c", f"cd {fleet} && exec {run}"], world.folder / "agent.log", env | {"PYTHONUNBUFFERED": "1"}
    )
    world.keep(agent).listening()
    follow("fwctl firmware add")
    follow("fwctl rollout create", " --strategy Direct")
    follow("fwctl plan")
    follow("git add -A && git commit")
    assert ".key.pem" not in world.git("ls-files", cwd=fleet), "a device's key must never be committed"
    follow("fwctl approve", " --yes")
    follow("fwctl reconcile --once")
    assert "1 reached" in follow("fwctl status")
    assert typed <= 10
    slots = fleet / run.split()[-1] / "slots"
    assert (slots / "current").resolve().read_bytes() == image


def test_one_pass_reaches_real_and_simulated_devices(world: World) -> None:
    world.init()
    for name in ("device-001", "device-002"):
        world.enroll(name)
        world.agent(name)
    world.enroll_simulated(20)
    world.simulator()
    world.release(image := firmware("2.5.0"))
    report = world.reconciled()
    assert (report["visits"], report["rollouts"][0]["counts"]) == (22, {"reached": 22})
    assert all(world.active_bytes(name) == image for name in ("device-001", "device-002"))
    assert (world.folder / "simulated" / "sim-007" / "slots" / "current").resolve().read_bytes() == image
    with world.ledger() as ledger:
        assert ledger.verify_chain() is None
        (mandate,) = {order.mandate for order in ledger.orders()}
        assert {outcome.result for outcome in ledger.outcomes(mandate)} == {"confirmed"}
        assert len({outcome.device for outcome in ledger.outcomes(mandate)}) == 22


def test_a_second_version_follows_and_the_same_pass_again_changes_nothing(world: World) -> None:
    world.init()
    world.enroll("device-001")
    world.agent("device-001")
    world.release(firmware("2.5.0"))
    world.reconciled()
    assert world.journal("device-001")["running"]["version"] == "2.5.0"
    newer = world.release(firmware("2.6.0"), "2.6.0", approve=False)
    waiting = world.once()
    assert (waiting.code, "not-approved" in waiting.out) == (1, True), waiting.text
    assert world.journal("device-001")["running"]["version"] == "2.5.0"
    assert world.git("rev-parse", "HEAD") == newer
    world.fwctl("approve", "sensors", "--yes")
    assert world.reconciled()["visits"] == 1
    journal = world.journal("device-001")
    assert (journal["running"]["version"], journal["current"]) == ("2.6.0", "a")
    with world.ledger() as ledger:
        events = [event.kind for event in ledger.events()]
    again = [world.once("--format", "json") for _ in range(2)]
    assert [ran.code for ran in again] == [0, 0]
    assert all('"visits": 0' in ran.out for ran in again)
    assert world.journal("device-001") == journal
    with world.ledger() as ledger:
        assert [event.kind for event in ledger.events()] == events, "an idle pass has nothing to say"


def test_a_lost_ledger_is_missed_and_rebuilt_without_flashing_again(world: World) -> None:
    world.init()
    disk = DiskImage(world.folder / "disk", b"factory image, unknown to the fleet\n")
    world.enroll("device-001", settings=disk.settings())
    world.enroll_simulated(3)
    world.agent("device-001")
    world.simulator()
    world.release(firmware("2.5.0"))
    world.reconciled()
    journal = world.journal("device-001")
    for file in world.ledger_file.parent.glob("ledger.db*"):
        file.unlink()
    refused = world.once()
    assert (refused.code, "--new-ledger" in refused.err) == (3, True), refused.text
    assert not world.ledger_file.exists()
    assert world.reconciled("--new-ledger")["rollouts"][0]["counts"] == {"reached": 4}
    assert world.journal("device-001") == journal
    world.release(firmware("2.6.0"), "2.6.0")
    report = world.reconciled()
    assert report["rollouts"][0]["counts"] == {"reached": 4}
    assert report["epoch"] > 1, "an epoch that devices have seen is never used again"
    assert disk.writes() == (2, 2)


def test_the_commit_of_a_remote_repository_is_applied_and_a_rewind_refused(world: World) -> None:
    world.init()
    world.enroll("device-001")
    world.agent("device-001")
    first = world.release(firmware("2.5.0"))
    bare = world.folder / "remote.git"
    world.git("clone", "--quiet", "--bare", str(world.repo), str(bare))
    branch = world.git("rev-parse", "--abbrev-ref", "HEAD")
    world.location = f"file://{bare}"
    assert world.reconciled()["commit"] == first
    world.location = str(world.repo)
    second = world.release(firmware("2.6.0"), "2.6.0")
    world.git("push", "--quiet", str(bare), branch)
    world.location = f"file://{bare}"
    assert world.reconciled()["commit"] == second
    with world.ledger() as ledger:
        assert ledger.meta("last_applied_commit") == second
        assert {row.commit for row in ledger.rollouts()} == {second}
    journal = world.journal("device-001")
    world.git("update-ref", f"refs/heads/{branch}", first, cwd=bare)
    rewound = world.once()
    assert (rewound.code, "E_GIT_REWIND" in rewound.err) == (4, True), rewound.text
    assert world.journal("device-001") == journal
    with world.ledger() as ledger:
        assert ledger.meta("last_applied_commit") == second
