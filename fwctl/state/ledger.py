"""The ledger: one SQLite file, one way to write (`apply`), any number of readers."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Self

from fwctl.errors import Busy, FwctlError, InputError, WorldError
from fwctl.state import faults
from fwctl.state.events import Chain
from fwctl.state.form import APPLICATION_ID, VERSION
from fwctl.state.pass_queries import PassQueries
from fwctl.state.revision import settle_revision

if TYPE_CHECKING:
    from sqlite_utils import Database

    from fwctl.state.changes import Change

_CACHE_KIB = 64 * 1024
"""for the writer: SQLite's own 2 MB would be read anew all the time while a hundred thousand devices write"""

_CHECKPOINT = 4000
"""pages in the write-ahead log before they are folded in: a page that is written often is folded in once"""


class Ledger(PassQueries):
    """What happened. Queries come from `Queries`; writes go through `apply` and are fenced by the lease's epoch."""

    def __init__(self, path: Path, conn: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        super().__init__(path, reader)
        self._conn = conn
        self._write_lock = RLock()
        self._broken: FwctlError | None = None

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new ledger, complete or not at all, readable by its owner alone.

        Raises InputError E_LEDGER_EXISTS when the file is there, WorldError E_DISK when the disk refuses.
        """
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
        with faults.sqlite_errors(path), _alone(path.parent):
            if path.exists():
                raise InputError(
                    "there is a ledger already",
                    code="E_LEDGER_EXISTS",
                    place=str(path),
                    remedy="Run the command without --new-ledger, or move the old ledger away first.",
                )
            # SQLite would play the log of a deleted ledger into the new one
            for stale in ("-wal", "-shm", "-journal"):
                path.with_name(f"{path.name}{stale}").unlink(missing_ok=True)
            try:
                os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                _lay_out(fresh)
                fresh.rename(path)
                _sync(path.parent)
            finally:
                for left in path.parent.glob(f"{fresh.name}*"):
                    left.unlink(missing_ok=True)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, readonly: bool = False, busy_seconds: float = 10.0) -> Self:
        """Open a ledger and bring it to this version's format (unless read-only).

        A write waits at most `busy_seconds` for another process that is writing.
        Raises InputError E_LEDGER_MISSING, E_LEDGER_CORRUPT, E_LEDGER_NEWER or (read-only) E_LEDGER_OLDER.
        """
        if not path.is_file():
            raise faults.missing(path)
        with faults.sqlite_errors(path):
            conn = _connect(path, readonly=readonly, busy_seconds=busy_seconds)
            try:
                _check_format(conn, path, readonly=readonly)
                if not readonly:
                    _bring_up_to_date(conn)
                    _assert_durable(conn, path)
                return cls(path, conn, _connect(path, readonly=True))
            except BaseException:
                conn.close()
                raise

    @cached_property
    def _db(self) -> Database:
        return _database(self._conn)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded in by the last one."""
        super().close()
        with self._write_lock:
            self._conn.close()

    def apply(self, changes: Sequence[Change], *, epoch: int) -> None:
        """Apply all changes in one durable transaction, or none of them.

        Raises Busy E_FENCED when the lease has moved on, WorldError E_LEDGER_TRANSITION for a contradiction,
        E_DISK when the disk fails (then this ledger takes no more writes until it is opened again).
        """
        failed = self.apply_groups([changes], epoch=epoch)[0]
        if failed is not None:
            raise failed

    def apply_groups(self, groups: Sequence[Sequence[Change]], *, epoch: int) -> list[Exception | None]:
        """Apply independent groups in one durable transaction; return what went wrong with each, None if nothing.

        A group that contradicts the ledger is undone alone. Raises as `apply` does for what concerns all.
        """
        from fwctl.state.changes import SummaryStored

        with self.transaction(epoch=epoch) as conn:
            chain, touched, results = Chain(conn), set[int](), list[Exception | None]()
            for number, group in enumerate(groups):
                failed = self._group(conn, chain, group, touched, number)
                results.append(failed)
            summaries = {
                change.rollout: (number, change.revision)
                for number, group in enumerate(groups)
                for change in group
                if isinstance(change, SummaryStored) and results[number] is None
            }
            settle_revision(conn, touched, summaries)
            return results

    @contextmanager
    def transaction(self, *, epoch: int | None) -> Iterator[sqlite3.Connection]:
        """Open a write transaction, fenced unless `epoch` is None (only the lease itself writes unfenced)."""
        with self._write_lock:
            if self._broken is not None:
                raise self._broken
            try:
                with faults.sqlite_errors(self.path), self._db.atomic():
                    self._fence(epoch)
                    yield self._conn
            except WorldError as error:
                if error.code == "E_DISK":
                    self._broken = error  # after a failed fsync nobody knows what the disk holds
                raise

    def rewrite(self, *, epoch: int) -> None:
        """Write the file anew without its free space, and fold the log in. Needs as much disk again for a while.

        Raises as `transaction` does; a kill in the middle leaves the file as it was.
        """
        with self._write_lock:
            with self.transaction(epoch=epoch):
                pass  # fenced; the file lock of the lease keeps others of this host away
            with faults.sqlite_errors(self.path):
                self._conn.execute("VACUUM")
                self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _fence(self, epoch: int | None) -> None:
        # A write as the first statement takes the write lock at once, so that nothing can change after the check.
        condition, values = ("", ()) if epoch is None else (" AND epoch = ?", (epoch,))
        statement = f"UPDATE lease SET id = 1 WHERE id = 1{condition}"  # noqa: S608
        if self._conn.execute(statement, values).rowcount != 1:
            raise Busy(
                f"another reconciler has taken over (this one holds epoch {epoch})",
                code="E_FENCED",
                place=str(self.path),
                remedy="Let the other one work; see who it is: fwctl status",
            )

    def _group(
        self, conn: sqlite3.Connection, chain: Chain, group: Sequence[Change], touched: set[int], number: int
    ) -> Exception | None:
        from fwctl.state.apply import apply_group

        try:
            with _undone_alone(conn, chain):
                if apply_group(conn, chain, group):
                    touched.add(number)
        except FwctlError as error:
            return error
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError) as error:
            return faults.explain(error, self.path)
        except (ValueError, TypeError, OverflowError) as error:
            return error  # a value that cannot be stored: the caller's, not the batch's
        return None


@contextmanager
def _undone_alone(conn: sqlite3.Connection, chain: Chain) -> Iterator[None]:
    """Undo the block alone when it fails. One name for all savepoints: SQLite compiles the statement once."""
    before = chain.seq, chain.hash
    conn.execute("SAVEPOINT one_group")
    try:
        yield
    except BaseException:
        if conn.in_transaction:  # a full disk has ended it already
            conn.execute("ROLLBACK TO one_group")
            conn.execute("RELEASE one_group")
        chain.seq, chain.hash = before
        raise
    conn.execute("RELEASE one_group")


def _connect(path: Path, *, readonly: bool, busy_seconds: float = 10.0) -> sqlite3.Connection:
    mode = "ro" if readonly else "rw"  # never "rwc": a ledger is only ever made by create()
    conn = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=busy_seconds, check_same_thread=False
    )
    try:
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    except BaseException:
        conn.close()
        raise
    return conn


def _database(conn: sqlite3.Connection) -> Database:
    from sqlite_utils import Database  # imported late: 45 ms that who only reads need not pay

    return Database(conn, execute_plugins=False)


def _bring_up_to_date(conn: sqlite3.Connection) -> None:
    from fwctl.state.schema import migrations

    conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    db = _database(conn)
    db.enable_wal()
    migrations.apply(db)


def _check_format(conn: sqlite3.Connection, path: Path, *, readonly: bool) -> None:
    application = conn.execute("PRAGMA application_id").fetchone()[0]
    version = conn.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID or version < 1:
        raise faults.foreign(path)
    if version > VERSION:
        raise faults.newer(path, version, VERSION)
    if readonly and version < VERSION:
        raise InputError(
            f"the ledger has format {version}, this fwctl reads {VERSION}",
            code="E_LEDGER_OLDER",
            place=str(path),
            remedy="Bring it up to date: fwctl reconcile --once",
        )


def _assert_durable(conn: sqlite3.Connection, path: Path) -> None:
    """Refuse to work on a ledger that could lose what it confirmed (THREATS R08)."""
    asked: Callable[[str], object] = lambda name: conn.execute(f"PRAGMA {name}").fetchone()[0]  # noqa: E731
    settings = (asked("journal_mode"), asked("synchronous"), asked("foreign_keys"))
    if settings != ("wal", 2, 1):
        raise WorldError(
            f"SQLite refuses durable settings here: journal_mode, synchronous, foreign_keys are {settings}",
            code="E_LEDGER_DURABILITY",
            place=str(path),
            remedy="Put the state folder on a local disk (network file systems cannot hold a ledger).",
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep every other maker of a ledger out of the folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lay_out(path: Path) -> None:
    from fwctl.state.schema import migrations

    conn = _connect(path, readonly=False)
    try:
        migrations.apply(_database(conn))
    finally:
        conn.close()
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
