"""What SQLite's errors mean to the person who must act."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fwctl.errors import Busy, FwctlError, InputError, WorldError
from fwctl.state.transitions import transition_error

_REBUILD = "Put a copy back, or rebuild it from git and the devices: fwctl reconcile --once --new-ledger"


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn every sqlite3 error of the block into one of ours, by its result code and never by its text."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except OSError as error:
        raise _disk(path, error.strerror or "the disk failed") from error


def explain(error: sqlite3.Error, path: Path) -> FwctlError:
    """Return the error for one failure of SQLite: Busy, InputError or WorldError."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    place = str(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(
            "another process is writing to the ledger",
            code="E_LOCKED",
            place=place,
            remedy="Wait for it to finish, then run the command again.",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return InputError("the ledger is damaged", code="E_LEDGER_CORRUPT", place=place, remedy=_REBUILD)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
        return _disk(path, "the disk is full" if code == sqlite3.SQLITE_FULL else "the disk failed")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return WorldError(
            "the ledger cannot be opened or written",
            code="E_LEDGER_ACCESS",
            place=place,
            remedy="Check owner and permissions of the state folder and of the files in it.",
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return transition_error(place, str(error))
    return WorldError(
        f"the ledger refused a statement: {error}", code="E_LEDGER", place=place, remedy="Report this as a bug."
    )


def _disk(path: Path, why: str) -> WorldError:
    return WorldError(
        f"the ledger could not be written: {why}",
        code="E_DISK",
        place=str(path),
        remedy="Make space or mend the disk, then run the command again; nothing half-written was kept.",
    )


def missing(path: Path) -> InputError:
    """Return the error for a ledger that is not there."""
    return InputError(
        "there is no ledger here",
        code="E_LEDGER_MISSING",
        place=str(path),
        remedy="If this fleet was never reconciled from here: fwctl reconcile --once --new-ledger; "
        "else name its folder with --state-dir",
    )


def foreign(path: Path) -> InputError:
    """Return the error for a file that is no ledger."""
    return InputError("this file is no ledger of fwctl", code="E_LEDGER_CORRUPT", place=str(path), remedy=_REBUILD)


def newer(path: Path, version: int, ours: int) -> InputError:
    """Return the error for a ledger that a later fwctl has written."""
    return InputError(
        f"the ledger has format {version}, this fwctl knows {ours}",
        code="E_LEDGER_NEWER",
        place=str(path),
        remedy="Use the fwctl that wrote it, or a newer one.",
    )
