"""The command line: every way to start wrongly ends with a message, a remedy and the right exit code."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.agents import Yard, agent


def call(*arguments: str, code: int) -> str:
    """Run fwctl-agent and return stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "fwctl_agent", *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    yard = Yard(tmp_path_factory.mktemp("yard"))
    yard.enroll("device-001")
    return yard


@pytest.fixture
def folder(yard: Yard, tmp_path: Path) -> Path:
    copy = tmp_path / "device-001"
    shutil.copytree(yard.folder / "enrolled" / "device-001", copy)
    return copy


def test_usage_errors_exit_2() -> None:
    call(code=2)
    call("run", code=2)
    call("simulate", "--devices", "0", "--enrolled", "x", code=2)
    call("simulate", "--devices", "٣", "--enrolled", "x", code=2)
    call("simulate", "--devices", "1", "--enrolled", "x", "--boot-delay", "nan", code=2)


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    assert "fwctl device enroll" in call("run", "--config", str(tmp_path / "nothing"), code=3)
    assert "help:" in call("status", "--config", str(tmp_path / "nothing"), code=3)
    assert "help:" in call("simulate", "--devices", "1", "--enrolled", str(tmp_path / "nothing"), code=3)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("agent.toml", b"= junk"),
        ("identity/device.key.pem", b"junk"),
        ("identity/device.cert.pem", b"junk"),
        ("identity/controller-ca.pem", b""),
        ("trust/1.root.json", b"{}"),
        ("trust/1.root.json", b"\xff"),
        ("slots/a.img", b"another image"),
    ],
)
def test_a_damaged_folder_names_what_is_damaged(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    text = call("run", "--config", str(folder), code=3)
    assert str(folder) in text
    assert "help:" in text


def test_a_journal_without_a_whole_copy_is_not_guessed_at(folder: Path) -> None:
    with agent(folder):
        pass
    for copy in folder.glob("state/journal.*"):
        copy.write_bytes(b"torn")
    assert "journal" in call("run", "--config", str(folder), code=3)
    assert "journal" in call("status", "--config", str(folder), code=3)


def test_a_journal_of_another_device_is_refused(yard: Yard, folder: Path) -> None:
    with agent(folder):
        pass
    text = (folder / "agent.toml").read_text().replace('id = "device-001"', 'id = "device-002"')
    (folder / "agent.toml").write_text(text)
    assert "device-001" in call("run", "--config", str(folder), code=3)


def test_a_port_that_is_taken_exits_5(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = (folder / "agent.toml").read_text().replace("port = 0 ", f"port = {port} ")
        (folder / "agent.toml").write_text(text)
        assert "[listen]" in call("run", "--config", str(folder), code=5)


def test_two_agents_on_one_folder_are_refused(folder: Path) -> None:
    with agent(folder) as running:
        assert "another agent" in call("run", "--config", str(folder), code=6)
        assert (folder / "state" / "address").read_text().strip() == running.address


def test_more_devices_than_are_enrolled_are_refused(yard: Yard) -> None:
    assert "not 9" in call("simulate", "--devices", "9", "--enrolled", str(yard.folder / "enrolled"), code=3)


def test_a_device_that_never_started_has_a_status(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fwctl_agent", "status", "--config", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "device-001: never started\n"
