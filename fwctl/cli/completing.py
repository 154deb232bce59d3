"""Names for the shell's completion: from file names, a scan of the work tree, and the ledger; no manifest is parsed.

It runs at every press of TAB, so it imports nothing heavy, bounds what it reads, and says nothing when it fails.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import typer

_DEVICE = re.compile(r"^\s*-\s*(?:\{\s*)?id:\s*[\"']?([a-z0-9][a-z0-9-]{0,62})", re.MULTILINE)
_FILES = 200
_OFFERED = 100
"""names at most: more would only scroll by"""
_BYTES = 1 << 20


def rollouts(context: typer.Context, incomplete: str) -> list[str]:
    """Return the rollouts of the work tree, as `env/name` and, where that is enough, as `name`."""
    keys = ["/".join(path.with_suffix("").parts[-2:]) for path in _files(context, "rollouts/*/*.yaml")]
    names = [key.partition("/")[2] for key in keys]
    alone = [name for name in names if names.count(name) == 1]
    return _starting(incomplete, [*alone, *keys] if "/" not in incomplete else keys)


def devices(context: typer.Context, incomplete: str) -> list[str]:
    """Return the first devices of the inventory that begin so; of a long file, those near its beginning."""
    found: set[str] = set()
    for pattern, names in _INVENTORIES.items():
        for path in _files(context, pattern):
            with path.open("rb") as file:
                found.update(names(file.read(_BYTES).decode("utf-8", "replace"), incomplete))
    found.update(_recorded(context, incomplete))
    return sorted(found)[:_OFFERED]


def _in_yaml(text: str, start: str) -> list[str]:
    return _starting(start, _DEVICE.findall(text))


def _in_csv(text: str, start: str) -> list[str]:
    head, _, rows = text.partition("\n")
    at = head.strip().split(",").index("id") if "id" in head.strip().split(",") else -1
    if at < 0:
        return []
    before = r"[^,\n]*," * at
    return re.findall(rf"^{before}({re.escape(start)}[a-z0-9-]*)", rows, re.MULTILINE)


def _in_jsonl(text: str, start: str) -> list[str]:
    return re.findall(rf'"id"\s*:\s*"({re.escape(start)}[a-z0-9-]*)"', text)


_INVENTORIES = {"devices/**/*.yaml": _in_yaml, "devices/**/*.csv": _in_csv, "devices/**/*.jsonl": _in_jsonl}


def _recorded(context: typer.Context, start: str) -> list[str]:
    """Return names that the ledger knows, which it finds by their beginning however many there are."""
    import sqlite3

    path = _ledger(context)
    if path is None:
        return []
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.2)) as conn:
            question = "SELECT id FROM devices WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
            return [row[0] for row in conn.execute(question, (start, f"{start}\U0010ffff", _OFFERED))]
    except sqlite3.Error:
        return []


def _ledger(context: typer.Context) -> Path | None:
    """Find the ledger where the command line and the environment put it; the platform's own place costs too much."""
    base = context.find_root().params.get("state_dir") or os.environ.get("FWCTL_STATE_DIR")
    root = _root(context)
    if root is None or not base:
        return None
    found = re.search(r"^\s*repoId:\s*[\"']?([A-Za-z0-9._-]+)", (root / "fleet.yaml").read_text("utf-8"), re.MULTILINE)
    path = Path(base).absolute() / found[1] / "ledger.db" if found else None
    return path if path is not None and path.is_file() else None


def groups(context: typer.Context, incomplete: str) -> list[str]:
    """Return the groups."""
    return _starting(incomplete, [path.stem for path in _files(context, "groups/*.yaml")])


def firmware(context: typer.Context, incomplete: str) -> list[str]:
    """Return the firmware as `model@version`."""
    found = [f"{path.parent.name}@{path.name.removesuffix('.yaml')}" for path in _files(context, "firmware/*/*.yaml")]
    return _starting(incomplete, found)


def rollouts_or_devices(context: typer.Context, incomplete: str) -> list[str]:
    """Return what events can be about."""
    return [*rollouts(context, incomplete), *devices(context, incomplete)]


def _files(context: typer.Context, pattern: str) -> Iterator[Path]:
    root = _root(context)
    try:
        yield from sorted(root.glob(pattern))[:_FILES] if root else ()
    except OSError:
        return


def _root(context: typer.Context) -> Path | None:
    """Find the top of the repository that the command line names so far."""
    named = context.find_root().params.get("location") or "."
    start = Path(named).absolute()
    return next((folder for folder in (start, *start.parents) if (folder / "fleet.yaml").is_file()), None)


def _starting(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)][:_OFFERED]
