"""The read side of the ledger. Every query sees committed rows only, through a read-only connection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import Any

from fwctl.state import faults
from fwctl.state.events import BrokenLink, verify_chain
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
from fwctl.state.times import from_text, to_text
from fwctl.state.transitions import OPEN_ORDERS, OrderStatus, RolloutState, WaveState

_DEVICE = (
    "SELECT id, running_release, running_image, running_version, running_mandate, state, observed_at, reachable,"
    " tried_at, failure_count, reason, next_due, counter,"
    " unreachable_since, spent, deferred_since FROM devices"
)
_ROLLOUT = (
    "SELECT key, mandate, commit_id, state, reason, rule, round, actor, started_at, finished_at, updated_at,"
    " back_since FROM rollouts"
)
_ORDER = (
    "SELECT id, device, rollout, mandate, verb, release, attempt, stage, wave, refers_to, status, class, code, reason,"
    " intended_at, sent_at, due_at, finished_at FROM orders"
)
_OUTCOME = (
    "SELECT order_id, device, counter, mandate, result, class, code, running_image, envelope, certificate, received_at"
    " FROM outcomes"
)
_WAVE = "SELECT rollout, mandate, wave, state, reason, opened_at, soak_since, judged_at FROM waves"
_EVENT = "SELECT seq, at, kind, rollout, device, order_id, reason, actor, data, prev, hash FROM events"
_OPEN = ", ".join(f"'{status}'" for status in OPEN_ORDERS)
ORDERS_DUE = f"{_ORDER} WHERE status <> 'settled' AND due_at <= ? ORDER BY due_at, number LIMIT ?"
_SUMMARY = "SELECT rollout, mandate, commit_id, at, valid_until, revision, body FROM summaries"
_DEVICES_DUE = f"{_DEVICE} WHERE next_due <= ? ORDER BY next_due, id LIMIT ?"
_CHUNK = 500  # ids per statement: SQLite's oldest limit on parameters is 999


class Queries:
    """Questions to the ledger. Tuples for what fits in memory, iterators for what may not."""

    def __init__(self, path: Path, reader: sqlite3.Connection) -> None:
        self.path = path
        self._reader = reader
        self._read_lock = RLock()

    def close(self) -> None:
        """Close the reading connection."""
        with self._read_lock:
            self._reader.close()

    def meta(self, key: str) -> str | None:
        """Return one remembered value."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def lease(self) -> LeaseRow:
        """Return who holds the lease, or held it last."""
        row = self._rows(
            "SELECT holder, host, pid, epoch, adopted, acquired_at, renewed_at, expires_at FROM lease", ()
        )[0]
        values = _timed(row, (5, 6, 7))
        values[4] = bool(row[4])
        return LeaseRow(*values)

    def devices(self, ids: Iterable[str] | None = None) -> tuple[DeviceRow, ...]:
        """Return the devices with these ids, or all, by id."""
        if ids is None:
            return tuple(_device(row) for row in self._rows(f"{_DEVICE} ORDER BY id", ()))
        wanted, found = sorted(set(ids)), []
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            found += self._rows(f"{_DEVICE} WHERE id IN ({marks}) ORDER BY id", part)
        return tuple(_device(row) for row in found)

    def devices_due(self, now: datetime, *, limit: int = 100_000) -> tuple[DeviceRow, ...]:
        """Return the devices to look at by `now`, longest due first."""
        return tuple(_device(row) for row in self._rows(_DEVICES_DUE, (to_text(now), limit)))

    def document(self, device: str) -> dict[str, Any] | None:
        """Return what a device said last, None if it never answered."""
        rows = self._rows("SELECT doc FROM documents WHERE device = ?", (device,))
        return _object(rows[0][0]) if rows else None

    def rollouts(self) -> tuple[RolloutRow, ...]:
        """Return all rollouts by key."""
        return tuple(_rollout(row) for row in self._rows(f"{_ROLLOUT} ORDER BY key", ()))

    def rollout(self, key: str) -> RolloutRow | None:
        """Return one rollout by `env/name`."""
        rows = self._rows(f"{_ROLLOUT} WHERE key = ?", (key,))
        return _rollout(rows[0]) if rows else None

    def waves(self, rollout: str, mandate: str) -> tuple[WaveRow, ...]:
        """Return the waves that were ever opened, by name."""
        rows = self._rows(f"{_WAVE} WHERE rollout = ? AND mandate = ? ORDER BY wave", (rollout, mandate))
        return tuple(_wave(row) for row in rows)

    def revision(self) -> int:
        """Return a number that rises with every transaction that changes what a decision could see."""
        return int(self._rows("SELECT value FROM revision", ())[0][0])

    def summary(self, rollout: str) -> SummaryRow | None:
        """Return what a pass made of a rollout last."""
        rows = self._rows(f"{_SUMMARY} WHERE rollout = ?", (rollout,))
        return _summary(rows[0]) if rows else None

    def summaries(self) -> tuple[SummaryRow, ...]:
        """Return what passes made of all rollouts, by key."""
        return tuple(_summary(row) for row in self._rows(f"{_SUMMARY} ORDER BY rollout", ()))

    def taken_back(self) -> tuple[str, ...]:
        """Return the mandates that went back, ever."""
        return tuple(str(row[0]) for row in self._rows("SELECT mandate FROM taken_back ORDER BY mandate", ()))

    def devices_of(self, mandate: str) -> tuple[DeviceRow, ...]:
        """Return the devices that run what a mandate brought, by id."""
        return tuple(_device(row) for row in self._rows(f"{_DEVICE} WHERE running_mandate = ? ORDER BY id", (mandate,)))

    def quarantine(self) -> tuple[QuarantineRow, ...]:
        """Return the devices in quarantine."""
        rows = self._rows("SELECT device, reason, rollout, actor, since FROM quarantine ORDER BY device", ())
        return tuple(QuarantineRow(*_timed(row, (4,))) for row in rows)

    def releases(self, device: str | None = None) -> dict[str, datetime]:
        """Return when devices (or one) left quarantine last."""
        statement, values = "SELECT device, at FROM releases", [] if device is None else [device]
        rows = self._rows(statement if device is None else f"{statement} WHERE device = ?", values)
        return {row[0]: _timed(row, (1,))[1] for row in rows}

    def orders(
        self, *, mandate: str | None = None, device: str | None = None, open_only: bool = False
    ) -> tuple[OrderRow, ...]:
        """Return orders of a mandate, of a device, or both; by device, then in the order they were meant."""
        given = {"mandate = ?": mandate, "device = ?": device}
        conditions = [text for text, value in given.items() if value is not None]
        conditions += [f"status IN ({_OPEN})"] if open_only else []
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        values = [value for value in given.values() if value is not None]
        return tuple(_order(row) for row in self._rows(f"{_ORDER}{where} ORDER BY device, number", values))

    def order(self, order: str) -> OrderRow | None:
        """Return one order."""
        rows = self._rows(f"{_ORDER} WHERE id = ?", (order,))
        return _order(rows[0]) if rows else None

    def order_body(self, order: str) -> dict[str, Any] | None:
        """Return the signed envelope of an order."""
        rows = self._rows("SELECT body FROM order_bodies JOIN orders USING (number) WHERE id = ?", (order,))
        return _object(rows[0][0]) if rows else None

    def orders_due(self, now: datetime, *, limit: int = 100_000) -> tuple[OrderRow, ...]:
        """Return the open orders to look at by `now`, longest due first."""
        return tuple(_order(row) for row in self._rows(ORDERS_DUE, (to_text(now), limit)))

    def outcomes(self, mandate: str) -> Iterator[OutcomeRow]:
        """Stream the outcomes of a mandate, by device, oldest first."""
        statement = f"{_OUTCOME} WHERE mandate = ? ORDER BY device, counter, order_id"
        return (_outcome(row) for row in self._stream(statement, (mandate,)))

    def events(
        self, since_seq: int = 0, *, rollout: str | None = None, device: str | None = None, limit: int | None = None
    ) -> Iterator[EventRow]:
        """Stream the events after `since_seq`, oldest first, at most `limit`."""
        where, values = "seq > ?", [since_seq]
        filters: list[Any] = []
        for column, value in (("rollout", rollout), ("device", device)):
            if value is not None:
                where += f" AND {column} = ? AND {column} <> ''"
                filters.append(value)
        statement = f"{_EVENT} WHERE {where} ORDER BY seq LIMIT ?"
        return (_event(row) for row in self._stream(statement, (*values, *filters, -1 if limit is None else limit)))

    def verify_chain(self) -> BrokenLink | None:
        """Return the first broken link of the event chain, None when it holds."""
        with self._read_lock, faults.sqlite_errors(self.path):
            return verify_chain(self._reader)

    def integrity(self) -> tuple[str, ...]:
        """Return what SQLite finds wrong with the file; empty when nothing is."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check", ())]
        return tuple(line for line in found if line != "ok")

    def _rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._read_lock, faults.sqlite_errors(self.path):
            return self._reader.execute(statement, values).fetchall()

    def _stream(self, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Read on a connection of its own, so that a slow reader holds up nobody."""
        with faults.sqlite_errors(self.path):
            conn = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
            try:
                yield from conn.execute(statement, values)
            finally:
                conn.close()


def _device(row: tuple[Any, ...]) -> DeviceRow:
    values = _timed(row, (6, 8, 11, 13, 15))
    values[7], values[14] = bool(row[7]), tuple(row[14].split())
    return DeviceRow(*values)


def _rollout(row: tuple[Any, ...]) -> RolloutRow:
    values = _timed(row, (8, 9, 10, 11))
    values[3] = RolloutState(row[3])
    return RolloutRow(*values)


def _wave(row: tuple[Any, ...]) -> WaveRow:
    values = _timed(row, (5, 6, 7))
    values[3] = WaveState(row[3])
    return WaveRow(*values)


def _summary(row: tuple[Any, ...]) -> SummaryRow:
    values = _timed(row, (3, 4))
    values[6] = _object(row[6])
    return SummaryRow(*values)


def _order(row: tuple[Any, ...]) -> OrderRow:
    values = _timed(row, (14, 15, 16, 17))
    values[10] = OrderStatus(row[10])
    return OrderRow(*values)


def _outcome(row: tuple[Any, ...]) -> OutcomeRow:
    values = _timed(row, (10,))
    values[8] = _object(row[8])
    return OutcomeRow(*values)


def _event(row: tuple[Any, ...]) -> EventRow:
    values = _timed(row, (1,))
    values[8] = _object(row[8])
    return EventRow(*values)


def _timed(row: tuple[Any, ...], columns: tuple[int, ...]) -> list[Any]:
    values = list(row)
    for column in columns:
        values[column] = from_text(row[column])
    return values


def _object(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    return value
