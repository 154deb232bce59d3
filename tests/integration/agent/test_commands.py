"""The `command` installer: a device with its own programs, here a shell script and a file-backed block image."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.protocol.statements import InstallOrder, Outcome
from fwctl_agent.runtime.assemble import assemble
from fwctl_agent.runtime.device import Device
from fwctl_agent.runtime.steps import Restart
from tests.support.agents import FACTORY, Yard, agent, outcome_of
from tests.support.signing import image_of

IMAGE = image_of("firmware 2.5.0", 150_000)
BLOCK = 4096
SLOT_BLOCKS = 64
SCRIPT = f"""#!/bin/sh
set -eu
cd "$(dirname "$0")"
case "${{2:-}}" in a) at=0 ;; b) at={SLOT_BLOCKS} ;; *) at= ;; esac
echo "$1 ${{2:-}}" >> log
if [ -e "broken-$1" ]; then sh "broken-$1"; fi
case "$1" in
  write) dd of=disk.img bs={BLOCK} seek=$at conv=notrunc iflag=fullblock 2>/dev/null ;;
  readback) dd if=disk.img bs={BLOCK} skip=$at count={SLOT_BLOCKS} 2>/dev/null | head -c "$3" ;;
  activate|revert|markGood) printf %s "$2" > env.new; mv env.new env ;;
  status) cat env ;;
esac
"""


@dataclass
class Board:
    """A device folder whose installer is the script, and the disk that the script writes to."""

    yard: Yard
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = self.yard.enroll("device-001")
        self.disk = self.folder / "disk.img"
        self.disk.write_bytes(FACTORY.ljust(2 * SLOT_BLOCKS * BLOCK, b"\0"))
        (self.folder / "env").write_text("a")
        script = self.folder / "board.sh"
        script.write_text(SCRIPT)
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        argv = {
            "write": ["{slot}"],
            "readback": ["{slot}", "{length}"],
            "activate": ["{slot}"],
            "markGood": ["{slot}"],
            "revert": ["{slot}"],
            "status": [],
        }
        lines = [f"{name} = {[str(script), name, *rest]}".replace("'", '"') for name, rest in argv.items()]
        settings = self.folder / "agent.toml"
        installer = 'type = "command"\ntimeout = 1\n' + "\n".join(lines) + "\n# was: slots"
        settings.write_text(settings.read_text().replace('type = "slots"', installer))

    def break_command(self, name: str, script: str = "exit 3") -> None:
        (self.folder / f"broken-{name}").write_text(script)

    def mend(self, name: str) -> None:
        (self.folder / f"broken-{name}").unlink()

    def slot(self, name: str, length: int) -> bytes:
        start = 0 if name == "a" else SLOT_BLOCKS * BLOCK
        return self.disk.read_bytes()[start : start + length]

    def log(self) -> list[str]:
        return (self.folder / "log").read_text().split("\n")

    def power_on(self) -> Device:
        return assemble(self.folder)

    def to_end(self, device: Device) -> tuple[InstallOrder, Outcome | None]:
        """Install the image as far as it goes without a confirm."""
        request, order, _ = self.yard.fleet.install_request("device-001", IMAGE)
        device.put_order(order.id, request)
        intake = device.open_image(order.id, 0, len(IMAGE))
        assert intake is not None
        assert device.feed(intake, IMAGE)
        device.close_image(intake)
        device.advance()
        reply = device.reply(order.id)
        assert reply is not None
        return order, outcome_of(reply) if reply.outcome else None


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(Yard(tmp_path))


def test_an_update_goes_through_the_devices_own_programs(board: Board) -> None:
    request, order, _ = board.yard.fleet.install_request("device-001", IMAGE)
    confirm, confirm_request = board.yard.follow_up("confirm", order)
    with agent(board.folder) as running, board.yard.client("device-001", running.address) as client:
        client.put(order, request)
        assert client.push(order, IMAGE)[1]["state"] == "trial"
        assert outcome_of(client.put(confirm, confirm_request)[1]).result == "confirmed"
        revert, revert_request = board.yard.follow_up("revert", order)
        assert outcome_of(client.put(revert, revert_request)[1]).running.version == "1.0.0"
    assert board.slot("b", len(IMAGE)) == IMAGE
    assert board.slot("a", len(FACTORY)) == FACTORY
    steps = [line for line in board.log() if line and not line.startswith(("status", "readback"))]
    assert steps == ["write b", "activate b", "markGood b", "revert a"]
    assert (board.folder / "env").read_text() == "a"


@pytest.mark.parametrize(
    ("command", "script", "code"),
    [
        ("write", "exit 3", "E_COMMAND"),
        ("write", "sleep 60", "E_COMMAND"),
        ("write", "kill -9 $$", "E_COMMAND"),
        ("readback", "exit 3", "E_COMMAND"),
        ("readback", "cat /dev/zero", "E_HASH"),
        ("readback", "printf short; kill -9 $PPID", "E_COMMAND"),
        ("activate", "exit 3", "E_COMMAND"),
    ],
)
def test_a_program_that_fails_ends_the_order_and_nothing_else(
    board: Board, command: str, script: str, code: str
) -> None:
    device = board.power_on()
    board.break_command(command, script)
    _, outcome = board.to_end(device)
    assert outcome is not None
    assert (outcome.result, outcome.klass, outcome.code) == ("failed", "install", code)
    assert outcome.running.version == "1.0.0"
    assert (board.folder / "env").read_text() == "a"


def test_what_was_not_written_as_it_was_sent_is_never_activated(board: Board) -> None:
    device = board.power_on()
    spoil = f"printf X | dd of=disk.img bs=1 seek={SLOT_BLOCKS * BLOCK} conv=notrunc 2>/dev/null"
    board.break_command("readback", spoil)
    _, outcome = board.to_end(device)
    assert outcome is not None
    assert outcome.code == "E_HASH"
    assert not [line for line in board.log() if line.startswith("activate")]


def test_a_boot_loader_that_fell_back_is_believed(board: Board) -> None:
    settings = board.folder / "agent.toml"
    settings.write_text(settings.read_text().replace('reboot = "none"', 'reboot = "exit"'))
    device = board.power_on()
    order, _ = board.to_end(device)
    assert device.advance() == Restart()
    (board.folder / "env").write_text("a")  # what its own boot count does
    device = board.power_on()
    device.advance()
    reply = device.reply(order.id)
    assert reply is not None
    outcome = outcome_of(reply)
    assert (outcome.result, outcome.klass, outcome.code) == ("reverted", "health", "E_BOOT")


def test_a_mark_good_that_fails_reverts(board: Board) -> None:
    device = board.power_on()
    order, _ = board.to_end(device)
    board.break_command("markGood")
    confirm, request = board.yard.follow_up("confirm", order)
    device.probed(True, ())
    device.put_order(confirm.id, request)
    device.advance()
    reply = device.reply(order.id)
    assert reply is not None
    assert outcome_of(reply).result == "reverted"
    assert (board.folder / "env").read_text() == "a"


@pytest.mark.parametrize("status", ["printf c", "exit 1", "sleep 60"])
def test_a_status_that_says_nothing_useful_stops_the_start(board: Board, status: str) -> None:
    board.break_command("status", status + "; exit 1")
    with pytest.raises(ConfigError, match="installer"):
        board.power_on()


def test_a_missing_program_stops_the_start(board: Board) -> None:
    (board.folder / "board.sh").rename(board.folder / "gone.sh")
    with pytest.raises(ConfigError, match="cannot be started"):
        board.power_on()
    assert read_settings(board.folder).installer == "command"
