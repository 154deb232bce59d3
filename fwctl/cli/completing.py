"""Names for the shell's completion: from file names and a scan of the work tree, without parsing a manifest.

It runs at every press of TAB, so it imports nothing heavy, bounds what it reads, and says nothing when it fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer

_DEVICE = re.compile(r"^\s*-\s*(?:\{\s*)?id:\s*[\"']?([a-z0-9][a-z0-9-]{0,62})", re.MULTILINE)
_FILES = 200
_BYTES = 1 << 20


def rollouts(context: typer.Context, incomplete: str) -> list[str]:
    """Return the rollouts of the work tree, as `env/name` and, where that is enough, as `name`."""
    keys = ["/".join(path.with_suffix("").parts[-2:]) for path in _files(context, "rollouts/*/*.yaml")]
    names = [key.partition("/")[2] for key in keys]
    alone = [name for name in names if names.count(name) == 1]
    return _starting(incomplete, [*alone, *keys] if "/" not in incomplete else keys)


def devices(context: typer.Context, incomplete: str) -> list[str]:
    """Return the devices of the inventory."""
    found: set[str] = set()
    for path in _files(context, "devices/**/*.yaml"):
        with path.open("rb") as file:
            found.update(_DEVICE.findall(file.read(_BYTES).decode("utf-8", "replace")))
    return _starting(incomplete, sorted(found))


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
    return [name for name in names if name.startswith(incomplete)]
