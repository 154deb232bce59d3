"""Questions that stay cheap at a hundred thousand devices: names, the newest events, streams, sizes."""

from __future__ import annotations

from collections.abc import Iterator

from fwctl.state import building as build
from fwctl.state.reader import Reader
from fwctl.state.rows import DeviceRow, EventRow, LedgerSize, OrderRow
from fwctl.state.times import from_text

_PRAGMAS = ("PRAGMA page_size", "PRAGMA page_count", "PRAGMA freelist_count")
_COUNTS = (
    "SELECT count(*) FROM devices",
    "SELECT count(*) FROM orders",
    "SELECT count(*) FROM outcomes",
    "SELECT seq FROM anchor",
)
_AFTER_ALL = "\U0010ffff"


class Listing(Reader):
    """What lists and counts ask; every answer reads an index or one page, never documents or bodies."""

    def stream_devices(self, *, mandate: str | None = None) -> Iterator[DeviceRow]:
        """Stream all devices, or those that run what a mandate brought, by id."""
        words, values = ("", ()) if mandate is None else ("running_mandate = ? AND ", (mandate,))
        statement = f"SELECT id, {build.DEVICE[7:]} WHERE {words}id > ? ORDER BY id LIMIT ?"
        return (build.device(row) for row in self._paged(statement, values, ("",)))

    def stream_orders(self, *, mandate: str) -> Iterator[OrderRow]:
        """Stream the orders of a mandate, by device, then in the order they were meant."""
        statement = (
            f"SELECT device, number, {build.ORDER[7:]} WHERE mandate = ? AND (device, number) > (?, ?)"
            " ORDER BY device, number LIMIT ?"
        )
        return (build.order(row) for row in self._paged(statement, (mandate,), ("", 0)))

    def names(self, prefix: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return the first ids of devices that begin so."""
        statement = "SELECT id FROM devices WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        return tuple(str(row[0]) for row in self._rows(statement, (prefix, prefix + _AFTER_ALL, limit)))

    def latest_events(
        self, *, limit: int, before: int | None = None, rollout: str | None = None, device: str | None = None
    ) -> tuple[EventRow, ...]:
        """Return the newest events, newest first, at most `limit`, of those with a number below `before`."""
        where, values = events_of(rollout, device)
        statement = f"{build.EVENT} WHERE {where}seq < ? ORDER BY seq DESC LIMIT ?"
        end = self.last_seq() + 1 if before is None else before
        return tuple(build.event(row) for row in self._rows(statement, (*values, end, limit)))

    def last_seq(self) -> int:
        """Return the number of the newest event, 0 for none."""
        rows = self._rows("SELECT seq FROM events ORDER BY seq DESC LIMIT 1")
        return int(rows[0][0]) if rows else 0

    def size(self) -> LedgerSize:
        """Return what the ledger holds and takes."""
        (page, pages, free), counts = self._numbers(_PRAGMAS), self._numbers(_COUNTS)
        log = self.path.with_name(f"{self.path.name}-wal")
        first = self._rows("SELECT seq, at FROM events ORDER BY seq LIMIT 1")
        return LedgerSize(
            file=page * pages,
            log=log.stat().st_size if log.exists() else 0,
            free=page * free,
            devices=counts[0],
            orders=counts[1],
            outcomes=counts[2],
            events=self.last_seq() - first[0][0] + 1 if first else 0,
            first_event=from_text(first[0][1]) if first else None,
            pruned_through=counts[3],
        )

    def _numbers(self, statements: tuple[str, ...]) -> list[int]:
        return [int(self._rows(statement)[0][0]) for statement in statements]


def events_of(rollout: str | None, device: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the condition (ending in AND, or empty) and its values for the events of a rollout, a device or both."""
    given = {name: value for name, value in (("rollout", rollout), ("device", device)) if value is not None}
    return "".join(f"{name} = ? AND {name} <> '' AND " for name in given), tuple(given.values())
