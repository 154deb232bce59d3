"""How the ledger is read: committed rows only, through a read-only connection, and never a lock held for long."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from fwctl.state import faults

PAGE = 1000


class Reader:
    """One read-only connection that any thread may ask."""

    def __init__(self, path: Path, reader: sqlite3.Connection) -> None:
        self.path = path
        self._reader = reader
        self._read_lock = RLock()

    def close(self) -> None:
        """Close the reading connection."""
        with self._read_lock:
            self._reader.close()

    def ask(self, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a statement that only this package writes."""
        with self._read_lock, faults.sqlite_errors(self.path):
            return self._reader.execute(statement, values).fetchall()

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.ask(statement, values)

    def _paged(
        self, statement: str, values: Sequence[Any], start: tuple[Any, ...], *, limit: int = -1
    ) -> Iterator[tuple[Any, ...]]:
        """Stream rows page by page; a slow consumer holds up nobody and keeps no old pages of the log alive.

        The statement ends with the place to go on from and the size of a page; its first columns, as many as
        `start` has, say where a row is. Each page sees what is committed by then.
        """
        while limit:
            size = PAGE if limit < 0 else min(PAGE, limit)
            page = self._rows(statement, (*values, *start, size))
            for row in page:
                yield row[len(start) :]
            if len(page) < size:
                return
            start = page[-1][: len(start)]
            limit -= len(page) if limit > 0 else 0
