"""Passphrases typed on a terminal: asked for once, never shown."""

from __future__ import annotations

import os
import pty
import select
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.cli.fleet import ENTRY, ENVIRONMENT, Fleet

SECRET = "canary typed here"


def typed(fleet: Fleet, *words: str, answers: tuple[str, ...]) -> tuple[int, str]:
    """Run a command on a terminal of its own and answer its prompts; return its exit code and all that was seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        env = {name: value for name, value in os.environ.items() if not name.startswith("FWCTL_")}
        argv = [sys.executable, "-c", ENTRY, *fleet.options, *words]
        os.execve(sys.executable, argv, env | ENVIRONMENT)
    seen, left = "", list(answers)
    while select.select([terminal], [], [], 60)[0]:
        try:
            part = os.read(terminal, 4096).decode()
        except OSError:  # it has ended
            break
        seen += part
        if left and seen.endswith((": ",)) and ("passphrase of" in seen or "once more" in seen):
            os.write(terminal, f"{left.pop(0)}\n".encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def pem(fleet: Fleet) -> Path:
    return fleet.folder / "config" / "acme" / "keys" / "alice.pem"


def test_a_new_passphrase_is_typed_twice_and_never_shown(planned: Fleet) -> None:
    code, seen = typed(planned, "keys", "protect", "alice", answers=(SECRET, SECRET + "?"))
    assert (code, "error[E_PASSPHRASE_MISMATCH]" in seen) == (3, True), seen
    assert b"ENCRYPTED" not in pem(planned).read_bytes()
    code, seen = typed(planned, "keys", "protect", "alice", answers=(SECRET, SECRET))
    assert (code, "canary" in seen) == (0, False), seen
    load_pem_private_key(pem(planned).read_bytes(), SECRET.encode())
    code, seen = typed(planned, "approve", "sensors", "--yes", answers=(SECRET,))
    assert (code, seen.count("passphrase of the key alice: "), "canary" in seen) == (0, 1, False), seen
