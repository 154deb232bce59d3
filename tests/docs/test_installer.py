"""The installer for U-Boot, with the configuration that its page prints, on a machine that really restarts."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.docs.uboot import INSTALLER, Board
from tests.support.world import Process, World, firmware

pytestmark = pytest.mark.e2e

FACTORY = b"factory image, unknown to the fleet\n"
PAGE = ROOT / "docs" / "how-to" / "use-your-boot-loader.md"


def _configured(toml: str) -> str:
    """Put the tables that the page prints in the place of those that enrolment wrote."""
    found = re.search(r"<!-- toml: boot -->\n```toml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found, "the page has no configuration"
    tables = found[1].replace("/usr/local/lib/fwctl/uboot-ab", str(INSTALLER)).replace("seconds = 45", "seconds = 1")
    changed, count = re.subn(r"^\[boot\].*?(?=^\[probes)", lambda _: tables, toml, flags=re.DOTALL | re.MULTILINE)
    assert count == 1
    return changed


def test_a_bad_image_falls_back_and_the_next_one_is_tried_confirmed_and_marked_good(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.init()
        board = Board(tmp_path / "board", FACTORY)
        folder = world.enroll("device-001")
        (folder / "agent.toml").write_text(_configured((folder / "agent.toml").read_text()))
        machine = Process(board.command(folder), tmp_path / "machine.log", board.environment)
        world.keep(machine).listening()

        world.release(b"BROKEN" + firmware("2.5.0"), "2.5.0")
        broken = world.once()
        assert broken.code == 1, broken.text
        assert "E_BOOT" in world.fwctl("device", "show", "device-001").out
        assert world.journal("device-001")["running"]["version"] == "0.0.0"

        world.fwctl("quarantine", "release", "device-001", "--reason", "2.5.0 was broken, not the device")
        world.release(image := firmware("2.6.0"), "2.6.0")
        assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
        assert (board.folder / "b").read_bytes()[: len(image)] == image
        assert json.loads((board.folder / "env.json").read_text())["fwctl_good"] == "b"
        assert "fwctl_trial" not in json.loads((board.folder / "env.json").read_text())


@pytest.mark.parametrize(
    ("words", "says"),
    [(["write", "a"], "slot a is running"), (["write", "c"], "no slot is called c"), (["erase"], "no such verb")],
)
def test_the_installer_refuses_what_would_do_harm(tmp_path: Path, words: list[str], says: str) -> None:
    board = Board(tmp_path / "board", FACTORY)
    done = subprocess.run(
        [INSTALLER, *words], input=b"x", env=board.environment, capture_output=True, check=False, timeout=20
    )
    assert done.returncode != 0
    assert says in done.stderr.decode()
    assert (board.folder / "a").read_bytes() == FACTORY
