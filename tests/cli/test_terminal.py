"""What a person at a terminal sees that a pipe does not: colour, questions, folded lines."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

from tests.cli.fleet import ENTRY, ENVIRONMENT, Fleet
from tests.cli.waves import canary, complete, soaking


def at_terminal(fleet: Fleet, *words: str, typed: str = "", color: bool = True) -> tuple[int, str]:
    """Run a command with a terminal of 80 columns on all three streams; return its exit code and the screen."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in (os.environ | ENVIRONMENT).items() if name != "NO_COLOR" or not color}
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *fleet.options, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env | {"TERM": "xterm"},
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    screen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the other side has closed
            break
        if not part:
            break
        screen += part
    os.close(ours)
    return process.wait(timeout=20), screen.decode().replace("\r\n", "\n")


def test_a_refusal_to_sign_is_a_no(planned: Fleet) -> None:
    code, screen = at_terminal(planned, "approve", "sensors", typed="n\n")
    assert (code, "Sign this as alice?" in screen, "Nothing was signed." in screen) == (1, True, True)
    assert "approvals/" not in planned.git("ls-files")


def test_a_yes_signs(planned: Fleet) -> None:
    code, screen = at_terminal(planned, "approve", "sensors", typed="y\n")
    assert (code, "Approved by alice" in screen) == (0, True), screen


def test_findings_are_coloured_unless_told_otherwise(fleet: Fleet) -> None:
    fleet.write("groups/bench.yaml", "kind: DeviceGroup\n")
    assert "\x1b[1;31merror" in at_terminal(fleet, "validate")[1]
    assert "\x1b" not in at_terminal(fleet, "validate", color=False)[1]
    assert "\x1b" not in fleet.run("validate").stdout


def test_lines_fit_a_terminal_and_digests_stay_whole(fleet: Fleet) -> None:
    _, screen = at_terminal(fleet, "trust", "status")
    mandate = fleet.prepared().mandate
    assert mandate is not None
    assert mandate.id in screen
    folder = str(fleet.folder)
    assert all(len(line) <= 80 or folder in line for line in screen.splitlines())


def test_a_bar_for_many_devices_leaves_nothing_behind(fleet: Fleet) -> None:
    lines = "".join(f'    - {{id: many-{at}, address: "127.0.0.1:9"}}\n' for at in range(12))
    head = "apiVersion: fwctl/v1\nkind: DeviceInventory\nspec:\n"
    head += "  defaults: {model: m, hardware: h, env: dev}\n  devices:\n"
    fleet.write("devices/many.yaml", head + lines)
    code, screen = at_terminal(fleet, "device", "enroll", "--all", "--out", str(fleet.folder / "out"))
    assert (code, "Enrolling" in screen) == (0, True)
    assert len(list((fleet.folder / "out").iterdir())) == 15


def test_a_rollout_is_watched_with_a_bar_per_wave(planned: Fleet) -> None:
    fleet = complete(canary(planned))
    code, screen = at_terminal(fleet, "status", "sensors", "--watch")
    assert code == 0
    live, _, last = screen.rpartition("Fleet acme")
    assert all(f"wave-{number}" in live for number in (1, 2, 3))
    assert "10/10" in live
    assert "━" in live
    assert "✔ complete" in last
    assert "10/10" not in last


def test_watching_ends_by_ctrl_c(planned: Fleet) -> None:
    fleet = soaking(canary(planned))
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *fleet.options, "status", "sensors", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | ENVIRONMENT,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "dev/sensors  progressing: wave-1 soaks until" in first
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
