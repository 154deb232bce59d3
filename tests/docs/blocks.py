"""Find the commands in a page of the documentation, and run them as a reader would."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.world import IDENTITY, free_address

ROOT = Path(__file__).parents[2]
SECONDS = 110

_MARKED = re.compile(r"^<!-- run: (?P<name>[^>]+?) -->\n```(?:sh|python)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"127\.0\.0\.1:\d{4,5}")


def marked(page: str) -> dict[str, str]:
    """Return the fenced blocks of a page that stand under `<!-- run: NAME -->`, joined by name, in order."""
    found: dict[str, str] = {}
    for match in _MARKED.finditer((ROOT / page).read_text("utf-8")):
        found[match["name"]] = found.get(match["name"], "") + match["text"]
    return found


def typed(block: str) -> list[str]:
    """Return the command lines of a block, continuation lines joined."""
    joined = block.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def at_free_addresses(text: str) -> str:
    """Put an address of this test in the place of each loopback address, the same for the same."""
    known: dict[str, str] = {}
    return _ADDRESS.sub(lambda match: known.setdefault(match[0], free_address()), text)


def environment(folder: Path) -> Mapping[str, str]:
    """Return an environment with keys, state and identity of its own, and this environment's commands."""
    own = {"FWCTL_CONFIG_DIR": str(folder / "config"), "FWCTL_STATE_DIR": str(folder / "state"), "HOME": str(folder)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **IDENTITY, **own, "PATH": path, "FWCTL_CHECKOUT": str(ROOT)}


def run(script: str, *, folder: Path, cwd: Path | None = None) -> str:
    """Run a script in bash, end what it leaves running, and return what it said. It must succeed."""
    log = folder / "said.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"set -euo pipefail\n{at_free_addresses(script)}"],
            cwd=cwd or folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = process.wait(SECONDS)
    finally:
        # What a page starts in the background, a reader stops; here its whole session ends, even after a timeout.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said = log.read_text("utf-8", "replace")
    assert code == 0, f"exit {code}\n{said}"
    return said
