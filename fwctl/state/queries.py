"""The read side of the ledger. Every query sees committed rows only, through a read-only connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from fwctl.state import building as build
from fwctl.state import faults
from fwctl.state.events import BrokenLink, verify_chain
from fwctl.state.listing import Listing, events_of
from fwctl.state.rows import (
    DeviceRow,
    EventRow,
    LeaseRow,
    OrderRow,
    OutcomeRow,
    QuarantineRow,
    RolloutRow,
    SummaryRow,
    WaveRow,
)
from fwctl.state.transitions import OPEN_ORDERS

_OPEN = ", ".join(f"'{status}'" for status in OPEN_ORDERS)
_CHUNK = 500  # ids per statement: SQLite's oldest limit on parameters is 999
_MANY = 5000


class Queries(Listing):
    """Questions to the ledger. Tuples for what fits in memory, iterators for what may not."""

    def meta(self, key: str) -> str | None:
        """Return one remembered value."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def lease(self) -> LeaseRow:
        """Return who holds the lease, or held it last."""
        row = self._rows(
            "SELECT holder, host, pid, epoch, adopted, acquired_at, renewed_at, expires_at FROM lease", ()
        )[0]
        values = build.timed(row, (5, 6, 7))
        values[4] = bool(row[4])
        return LeaseRow(*values)

    def devices(self, ids: Iterable[str] | None = None) -> tuple[DeviceRow, ...]:
        """Return the devices with these ids, or all, by id."""
        if ids is None:
            return tuple(build.device(row) for row in self._rows(f"{build.DEVICE} ORDER BY id", ()))
        chosen, found = set(ids), list[tuple[Any, ...]]()
        if len(chosen) > _MANY:  # one walk through all is cheaper than many look-ups
            return tuple(row for row in self.stream_devices() if row.id in chosen)
        wanted = sorted(chosen)
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            found += self._rows(f"{build.DEVICE} WHERE id IN ({marks}) ORDER BY id", part)
        return tuple(build.device(row) for row in found)

    def document(self, device: str) -> dict[str, Any] | None:
        """Return what a device said last, None if it never answered."""
        rows = self._rows("SELECT doc FROM documents WHERE device = ?", (device,))
        return build.json_object(rows[0][0]) if rows else None

    def rollouts(self) -> tuple[RolloutRow, ...]:
        """Return all rollouts by key."""
        return tuple(build.rollout(row) for row in self._rows(f"{build.ROLLOUT} ORDER BY key", ()))

    def rollout(self, key: str) -> RolloutRow | None:
        """Return one rollout by `env/name`."""
        rows = self._rows(f"{build.ROLLOUT} WHERE key = ?", (key,))
        return build.rollout(rows[0]) if rows else None

    def waves(self, rollout: str, mandate: str) -> tuple[WaveRow, ...]:
        """Return the waves that were ever opened, by name."""
        rows = self._rows(f"{build.WAVE} WHERE rollout = ? AND mandate = ? ORDER BY wave", (rollout, mandate))
        return tuple(build.wave(row) for row in rows)

    def revision(self) -> int:
        """Return a number that rises with every transaction that changes what a decision could see."""
        return int(self._rows("SELECT value FROM revision", ())[0][0])

    def summary(self, rollout: str) -> SummaryRow | None:
        """Return what a pass made of a rollout last."""
        rows = self._rows(f"{build.SUMMARY} WHERE rollout = ?", (rollout,))
        return build.summary(rows[0]) if rows else None

    def summaries(self) -> tuple[SummaryRow, ...]:
        """Return what passes made of all rollouts, by key."""
        return tuple(build.summary(row) for row in self._rows(f"{build.SUMMARY} ORDER BY rollout", ()))

    def taken_back(self) -> tuple[str, ...]:
        """Return the mandates that went back, ever."""
        return tuple(str(row[0]) for row in self._rows("SELECT mandate FROM taken_back ORDER BY mandate", ()))

    def keeping(self, mandate: str) -> frozenset[str]:
        """Return the waves that keep what a mandate brought, although it was taken back: they had passed."""
        statement = (
            "SELECT wave FROM waves JOIN taken_back USING (rollout, mandate)"
            " WHERE taken_back.mandate = ? AND keeps AND state = 'passed'"
        )
        return frozenset(str(row[0]) for row in self._rows(statement, (mandate,)))

    def devices_of(self, mandate: str) -> tuple[DeviceRow, ...]:
        """Return the devices that run what a mandate brought, by id."""
        return tuple(
            build.device(row) for row in self._rows(f"{build.DEVICE} WHERE running_mandate = ? ORDER BY id", (mandate,))
        )

    def quarantine(self) -> tuple[QuarantineRow, ...]:
        """Return the devices in quarantine."""
        rows = self._rows("SELECT device, reason, rollout, actor, since FROM quarantine ORDER BY device", ())
        return tuple(QuarantineRow(*build.timed(row, (4,))) for row in rows)

    def releases(self, device: str | None = None) -> dict[str, datetime]:
        """Return when devices (or one) left quarantine last."""
        statement, values = "SELECT device, at FROM releases", [] if device is None else [device]
        rows = self._rows(statement if device is None else f"{statement} WHERE device = ?", values)
        return {row[0]: build.timed(row, (1,))[1] for row in rows}

    def orders(
        self, *, mandate: str | None = None, device: str | None = None, open_only: bool = False
    ) -> tuple[OrderRow, ...]:
        """Return orders of a mandate, of a device, or both; by device, then in the order they were meant."""
        given = {"mandate = ?": mandate, "device = ?": device}
        conditions = [text for text, value in given.items() if value is not None]
        conditions += [f"status IN ({_OPEN})"] if open_only else []
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        values = [value for value in given.values() if value is not None]
        return tuple(build.order(row) for row in self._rows(f"{build.ORDER}{where} ORDER BY device, number", values))

    def order(self, order: str) -> OrderRow | None:
        """Return one order."""
        rows = self._rows(f"{build.ORDER} WHERE id = ?", (order,))
        return build.order(rows[0]) if rows else None

    def order_body(self, order: str) -> dict[str, Any] | None:
        """Return the signed envelope of an order."""
        rows = self._rows("SELECT body FROM order_bodies JOIN orders USING (number) WHERE id = ?", (order,))
        return build.json_object(rows[0][0]) if rows else None

    def outcomes(self, mandate: str, device: str | None = None) -> Iterator[OutcomeRow]:
        """Stream the outcomes of a mandate, or of one device under it, by device, oldest first."""
        values: tuple[str, ...]
        start: tuple[str | int, ...]
        if device is None:
            who, place = "", "device, counter, rowid"
            values, start = (mandate,), ("", -1, 0)
        else:
            who, place = " AND device = ?", "counter, rowid"
            values, start = (mandate, device), (-1, 0)
        marks = ", ".join("?" * len(start))
        statement = (
            f"SELECT {place}, {build.OUTCOME[7:]} INDEXED BY outcomes_mandate WHERE mandate = ?{who}"
            f" AND ({place}) > ({marks}) ORDER BY {place} LIMIT ?"
        )
        return (build.outcome(row) for row in self._paged(statement, values, start))

    def events(
        self, since_seq: int = 0, *, rollout: str | None = None, device: str | None = None, limit: int | None = None
    ) -> Iterator[EventRow]:
        """Stream the events after `since_seq`, oldest first, at most `limit`."""
        where, values = events_of(rollout, device)
        statement = f"SELECT seq, {build.EVENT[7:]} WHERE {where}seq > ? ORDER BY seq LIMIT ?"
        start, most = (since_seq,), -1 if limit is None else limit
        return (build.event(row) for row in self._paged(statement, values, start, limit=most))

    def verify_chain(self) -> BrokenLink | None:
        """Return the first broken link of the event chain, None when it holds."""
        with self._read_lock, faults.sqlite_errors(self.path):
            return verify_chain(self._reader)

    def integrity(self) -> tuple[str, ...]:
        """Return what SQLite finds wrong with the file; empty when nothing is."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check", ())]
        return tuple(line for line in found if line != "ok")
