"""Files that say what devices were seen to run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fwctl.cli.observed import read_observed
from fwctl.errors import InputError
from fwctl_agent.protocol.fields import VERSION
from tests.fuzz.run import ACCEPTED, Target, Wrong


def observed() -> Target:
    """JSON, JSON Lines and CSV: refused with one code, or versions only."""
    folder = tempfile.TemporaryDirectory()

    def judge(data: bytes) -> str:
        file = Path(folder.name) / "seen"
        file.write_bytes(data)
        try:
            found = read_observed(file)
        except InputError as error:
            if error.code != "E_OBSERVED" or "\x1b" in error.message:
                raise Wrong(f"{error.code}: {error.message!r}") from error
            return error.code
        if not all(VERSION.fullmatch(version) for version in found.values()):
            raise Wrong(f"no versions: {found}")
        return ACCEPTED

    lines = b'{"id": "a", "version": "1.0.0"}\n{"id": "b", "running": {"version": "2.0.0"}}\n'
    whole = b'{"devices": [{"id": "a", "version": null}, {"id": "b", "running": {"version": "2.0.0"}}]}'
    return Target("observed", (b"id,version\na,1.0.0\nb,2.0.0\n", lines, whole), judge, json=False)
