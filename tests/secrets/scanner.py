"""Search everything that a world of processes has written for marked secrets, in every form they may have taken."""

from __future__ import annotations

import base64
import re
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

_LEAST: Final = 12
"""bytes of a form that are worth searching for: a shorter one would be found by chance; the value itself always is"""


@dataclass(frozen=True)
class Mark:
    """One secret. `name` says which, for the message; the value is never shown."""

    name: str
    value: bytes

    def __repr__(self) -> str:
        return f"Mark({self.name})"

    @cached_property
    def forms(self) -> tuple[bytes, ...]:
        """The value as it is, in hex, in both alphabets of base64 at every offset, and percent-encoded."""
        value = self.value
        found = {value, value.hex().encode(), value.hex().upper().encode(), value.hex(" ").encode()}
        found |= {quote(value).encode(), quote(value, safe="").encode(), quote_plus(value).encode()}
        for shift in range(3):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                # what stands before and behind decides the first and the last digits: only those between are sure
                text = encode(b"\0" * shift + value + b"\0\0")
                found.add(text[(0, 2, 3)[shift] : 4 * ((shift + len(value)) // 3)])
        return tuple(sorted({value} | {form for form in found if len(form) >= _LEAST}))


@dataclass(frozen=True)
class Hit:
    """A secret where it must not be."""

    mark: str
    where: str


def pem_marks(name: str, pem: bytes) -> list[Mark]:
    """Mark the body of a private key file, line by line, and the raw private value within.

    Lines that hold only the public half are left out: it stands in certificates too.
    """
    lines = [line for line in pem.splitlines() if re.fullmatch(rb"[A-Za-z0-9+/=]{24,}", line)]
    whole = base64.b64decode(b"".join(lines))
    # PKCS#8 holds the private value of Ed25519 and of P-256 as an octet string of 32 bytes
    at = whole.find(b"\x04\x20") + 2
    known, start = at >= 2 and b"ENCRYPTED" not in pem, 0
    marks = [Mark(f"{name}, raw", whole[at : at + 32])] if known else []
    for number, line in enumerate(lines, 1):
        end = start + 3 * len(line) // 4
        if not known or (start < at + 32 and end > at):
            marks.append(Mark(f"{name}, line {number}", line))
        start = end
    return marks


def scan(
    marks: Iterable[Mark], *, folders: Iterable[Path], texts: Mapping[str, str | bytes], meant: Iterable[Path]
) -> list[Hit]:
    """Return where the marks stand, in the files below `folders` and in `texts`.

    `meant` are the files, or folders, that may hold secrets: nothing else may, under any name.
    """
    allowed = [path.resolve() for path in meant]
    pieces: dict[str, bytes] = {
        name: text.encode(errors="replace") if isinstance(text, str) else text for name, text in texts.items()
    }
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if (
                path.is_file()
                and not path.is_symlink()
                and not any(path.resolve().is_relative_to(one) for one in allowed)
            ):
                pieces |= _contents(path)
        pieces |= {f"{repo}: git objects": data for repo in _repositories(folder) for data in [_objects(repo)]}
    every = list(marks)
    return [Hit(mark.name, where) for where, data in pieces.items() for mark in every if _holds(data, mark)]


def _holds(data: bytes, mark: Mark) -> bool:
    return any(form in data for form in mark.forms)


def _contents(path: Path) -> dict[str, bytes]:
    """Return a file's bytes, what base64 within them says, and the values of a database."""
    data = path.read_bytes()
    found = {str(path): data, f"{path}: base64 in it": b"\n".join(_decoded(data))}
    if data.startswith(b"SQLite format 3\0"):
        found[f"{path}: rows"] = b"\n".join(_rows(path))
    return found


def _decoded(data: bytes, depth: int = 2) -> Iterator[bytes]:
    """Yield what long runs of base64 hold: envelopes stand in journals, and in envelopes."""
    for run in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", data):
        try:
            inner = base64.b64decode(run + b"=" * (-len(run) % 4))
        except ValueError:
            continue
        yield inner
        if depth > 1:
            yield from _decoded(inner, depth - 1)


def _rows(path: Path) -> Iterator[bytes]:
    """Yield every value of every table, with what only the write-ahead log holds."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in db.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    data = value if isinstance(value, bytes) else str(value).encode(errors="replace")
                    yield data
                    yield from _decoded(data)
    db.close()


def _repositories(folder: Path) -> list[Path]:
    return [head.parent for head in folder.rglob("HEAD") if (head.parent / "objects").is_dir()]


def _objects(repo: Path) -> bytes:
    """Return all objects of a repository, unpacked."""
    argv = ["git", f"--git-dir={repo}", "cat-file", "--batch-all-objects", "--batch", "--buffer"]
    data = subprocess.run(argv, capture_output=True, check=True).stdout
    return data + b"\n".join(_decoded(data))
