"""From an empty folder to a device that runs what git says: as a person types it, and from then on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import IDENTITY, World, firmware, Process, free_address

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
    follow("fwctl rollout create")
    follow("fwctl plan")
    follow("git add -A && git commit")
    assert ".key.pem" not in world.git("ls-files", cwd=fleet), "a device's key must never be committed"
    follow("fwctl approve", " --yes")
    follow("fwctl reconcile --once")
    assert "1 reached" in follow("fwctl status")
    assert typed <= 10
    slots = fleet / run.split()[-1] / "slots"
    assert (slots / "current").resolve().read_bytes() == image
