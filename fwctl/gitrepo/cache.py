"""What follows from bytes alone, kept between runs: safe to delete, to damage and to share at any time.

A result is found again by its kind and by a digest of all that it follows from. It is never trusted further than its
own digest and the code that made it; whatever is wrong with the file, the answer is "not kept", never an error.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

NAME: Final = "cache.db"
MAX_BYTES: Final = 256 * 2**20
_APPLICATION: Final = 0x66776331
"""marks the file as ours: another program's database is replaced"""
_DAY: Final = 86_400
_BUSY: Final = 2.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS results (
  key BLOB PRIMARY KEY, digest BLOB NOT NULL, size INTEGER NOT NULL, used INTEGER NOT NULL, value BLOB NOT NULL
)"""
T = TypeVar("T")


class Cache:
    """Bytes by kind and key in one SQLite file. Results of other code are not seen, and fall out in time.

    `code` names what computes the results; `max_bytes` is what all of them may take.
    """

    def __init__(self, path: Path, *, code: str = "", max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._code = code or code_id()
        self._max = max_bytes
        self._off = False

    def get(self, kind: str, key: str) -> bytes | None:
        """Return what was kept, if it is still what was kept."""
        name = self._name(kind, key)
        row = self._run(lambda db: db.execute(_GET, (name,)).fetchone()) if self._path.exists() else None
        match row:
            case (bytes() as digest, int() as used, bytes() as value) if digest == _seal(name, value):
                if used != _today():
                    self._run(lambda db: db.execute("UPDATE results SET used = ? WHERE key = ?", (_today(), name)))
                return value
            case _:
                return None

    def put(self, kind: str, key: str, value: bytes) -> None:
        """Keep a result, if that is possible; the least recently used ones make room."""
        if len(value) * 4 > self._max:
            return
        name = self._name(kind, key)
        row = (name, _seal(name, value), len(value), _today(), value)

        def write(db: sqlite3.Connection) -> None:
            db.execute(_PUT, row)
            self._prune(db, name)

        self._run(write)

    def _prune(self, db: sqlite3.Connection, newest: bytes) -> None:
        over = db.execute("SELECT total(size) FROM results").fetchone()[0] - self._max
        oldest = db.execute("SELECT key, size FROM results WHERE key != ? ORDER BY used, rowid", (newest,))
        for key, size in oldest.fetchall() if over > 0 else ():
            db.execute("DELETE FROM results WHERE key = ?", (key,))
            over -= size
            if over <= -self._max // 4:
                break

    def _name(self, kind: str, key: str) -> bytes:
        return hashlib.sha256(f"{self._code}\0{kind}\0{key}".encode()).digest()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do one piece of work in one transaction. A broken file is replaced once; a busy or full disk left alone."""
        for last in (False, True):
            if self._off:
                return None
            try:
                with self._open() as db, db:
                    return work(db)
            except sqlite3.DatabaseError as error:
                self._off = last or not _broken(error)
                if not self._off:
                    _remove(self._path)
            except OSError:
                self._off = True
        return None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # made by us, so that nobody else can read it; through no link
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(self._path, timeout=_BUSY)) as db:
            # lost power may cost the file: it is noticed, and nothing but time is lost with it
            db.execute("PRAGMA synchronous = OFF")
            if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
                if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise sqlite3.DatabaseError("not our file")
                db.execute("PRAGMA auto_vacuum = FULL")
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(_TABLE)
            yield db


_GET: Final = "SELECT digest, used, value FROM results WHERE key = ?"
_PUT: Final = "INSERT OR REPLACE INTO results (key, digest, size, used, value) VALUES (?, ?, ?, ?, ?)"


def _seal(name: bytes, value: bytes) -> bytes:
    return hashlib.sha256(name + value).digest()


def _today() -> int:
    return int(time.time()) // _DAY


def _broken(error: sqlite3.DatabaseError) -> bool:
    """Tell damage from a lock, a full disk and missing permissions."""
    if not isinstance(error, sqlite3.OperationalError):
        return True
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF == sqlite3.SQLITE_ERROR


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


@cache
def code_id() -> str:
    """Return what tells this code from any other that might have written results: the digest of its sources."""
    import fwctl
    import fwctl_agent

    hasher = hashlib.sha256(fwctl.__version__.encode())
    for package, rooms in ((fwctl, ("manifests", "rollouts", "reconcile")), (fwctl_agent, ("protocol",))):
        top = Path(package.__file__ or "").parent
        for room in rooms:
            for file in sorted((top / room).rglob("*.py")):
                hasher.update(f"\0{room}/{file.name}\0".encode() + file.read_bytes())
    return hasher.hexdigest()
