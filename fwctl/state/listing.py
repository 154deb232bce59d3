"""Questions that stay cheap at a hundred thousand devices: pages, counts, names, the newest events, streams."""

from __future__ import annotations

from collections.abc import Iterator

from fwctl.state import building as build
from fwctl.state.reader import Reader
from fwctl.state.rows import DeviceCounts, DeviceRow, EventRow, LedgerSize, OrderCount, OrderRow
from fwctl.state.times import from_text
from fwctl.state.transitions import OrderStatus

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

    def device_page(
        self,
        *,
        after: str = "",
        limit: int = 100,
        state: str | None = None,
        version: str | None = None,
        release: str | None = None,
        mandate: str | None = None,
        reachable: bool | None = None,
    ) -> tuple[DeviceRow, ...]:
        """Return the next devices by id after one, at most `limit`, that match everything given."""
        given = {"state": state, "running_version": version, "running_release": release, "running_mandate": mandate}
        filters = [(f"{column} = ?", value) for column, value in given.items() if value is not None]
        words = "".join(f"{text} AND " for text, _ in filters)
        if state is not None and state != "idle":
            words += "state <> 'idle' AND "  # says the same again, in the words of the index
        if reachable is not None:
            words += f"reachable = {reachable:d} AND "
        statement = f"{build.DEVICE} WHERE {words}id > ? ORDER BY id LIMIT ?"
        return tuple(build.device(row) for row in self._rows(statement, (*(v for _, v in filters), after, limit)))

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

    def device_counts(self) -> DeviceCounts:
        """Return how many devices there are, by running version, state and reachability."""
        versions = self._rows("SELECT running_version, count(*) FROM devices GROUP BY running_version")
        busy = self._rows("SELECT state, count(*) FROM devices WHERE state <> 'idle' GROUP BY state")
        away = self._rows("SELECT count(*) FROM devices WHERE reachable = 0")[0][0]
        deferred = self._rows("SELECT count(*) FROM devices WHERE deferred_since IS NOT NULL")[0][0]
        total = sum(number for _, number in versions)
        states = {str(state): int(number) for state, number in busy}
        idle = total - sum(states.values())
        by_version = {str(version): int(number) for version, number in versions}
        return DeviceCounts(total, away, deferred, by_version, {"idle": idle} | states if idle > 0 else states)

    def order_counts(self, mandate: str) -> tuple[OrderCount, ...]:
        """Return how many orders of a mandate stand where, by verb, status and class."""
        statement = "SELECT verb, status, class, count(*) FROM orders WHERE mandate = ? GROUP BY verb, status, class"
        rows = self._rows(statement, (mandate,))
        return tuple(OrderCount(verb, OrderStatus(status), kind, number) for verb, status, kind, number in rows)

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
