"""Find the commands in a page of the documentation, and run them as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.world import IDENTITY, free_address

ROOT = Path(__file__).parents[2]
SECONDS = 90

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
    """Run a script in bash, stop what it leaves running, and return what it said. It must succeed."""
    log, where = folder / "said.log", cwd or folder
    # What a page starts in the background, a reader stops; here the shell does it at its end.
    whole = f"set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n{at_free_addresses(script)}"
    with log.open("wb") as out:
        done = subprocess.run(
            ["bash", "-c", whole],
            cwd=where,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
    said = log.read_text("utf-8", "replace")
    assert done.returncode == 0, f"exit {done.returncode}\n{said}"
    return said
