"""Keep the ledger small: remove attempts and events that nothing will ask for again.

Kept whatever its age: orders and outcomes of a mandate that a rollout stands under now, or of its newest ones as the
rule says; of a device that runs what the mandate brought, or has spent it; of a device with an open order under it;
of a device that was not seen since. Events go only from the beginning; those that tell about what stays are written
again at the end of the chain. One bounded transaction after the other, each whole in itself: a kill between two of
them leaves a ledger that holds, and the next prune goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from fwctl.state.events import PRUNED, Chain, carry_over
from fwctl.state.lease import Lease
from fwctl.state.ledger import Ledger
from fwctl.state.samples import forget_ended
from fwctl.state.times import to_text

CHUNK = 20_000
"""rows per transaction"""
_WORTH = 0.2
"""the share of the file that is free from which on rewriting it pays"""


@dataclass(frozen=True)
class Rule:
    """Remove what ended before a moment, except the newest `keep` approvals (mandates) of every rollout."""

    before: datetime
    keep: int = 2


@dataclass(frozen=True)
class Amount:
    """So many rows."""

    orders: int = 0
    outcomes: int = 0
    events: int = 0

    @property
    def total(self) -> int:
        """Return all rows."""
        return self.orders + self.outcomes + self.events

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.orders + other.orders, self.outcomes + other.outcomes, self.events + other.events)


@dataclass(frozen=True)
class Told:
    """Who prunes, when and why: it stands in the event of each transaction."""

    at: datetime
    actor: str
    reason: str


_OVER = """
    FROM {table} AS old JOIN devices AS d ON d.id = old.device
    WHERE old.{ended} < :before AND d.observed_at > old.{ended} AND d.running_mandate <> old.mandate
    AND instr(' ' || d.spent || ' ', ' ' || old.mandate || ' ') = 0
    AND old.mandate NOT IN (
        SELECT mandate FROM rollouts UNION ALL SELECT mandate FROM (
            SELECT mandate, row_number() OVER (PARTITION BY rollout ORDER BY max(number) DESC) AS place
            FROM orders GROUP BY rollout, mandate
        ) WHERE place <= :keep
    ) AND NOT EXISTS (
        SELECT 1 FROM orders AS o WHERE o.mandate = old.mandate AND o.device = old.device AND {stays}
    )
"""
_ORDERS = _OVER.format(table="orders", ended="finished_at", stays="o.status <> 'settled'")
# with its last order; one of an order that this ledger never knew goes by its own age
_OUTCOMES = _OVER.format(table="outcomes", ended="received_at", stays="1")
# an outcome that goes together with its orders, as counted beforehand
_BOTH = _OVER.format(
    table="outcomes",
    ended="received_at",
    stays="NOT (o.status = 'settled' AND o.finished_at < :before AND d.observed_at > o.finished_at)",
)


def prunable(ledger: Ledger, rule: Rule) -> Amount:
    """Return what a prune would remove; reads only."""
    values = _values(rule)
    orders = ledger.ask(f"SELECT count(*) {_ORDERS}", values)[0][0]
    outcomes = ledger.ask(f"SELECT count(*) {_BOTH}", values)[0][0]
    anchor = ledger.ask("SELECT seq FROM anchor", {})[0][0]
    return Amount(orders, outcomes, _last_event(ledger, rule) - anchor)


def prune(
    ledger: Ledger, lease: Lease, rule: Rule, told: Told, *, tick: Callable[[Amount], None] = lambda _: None
) -> Amount:
    """Remove what the rule says and return how much that was; `tick` hears what each transaction removed.

    Raises Busy E_FENCED when the lease was taken over, WorldError E_DISK when the disk fails; what was committed
    before stands.
    """
    done = Amount()
    for part in _parts(ledger, lease, rule, told):
        tick(part)
        done += part
    return done


def shrink(ledger: Ledger, lease: Lease) -> bool:
    """Give free space back to the disk where that is much; True when the file was rewritten."""
    size = ledger.size()
    if size.free < _WORTH * size.file:
        return False
    ledger.rewrite(epoch=lease.epoch)
    return True


def _parts(ledger: Ledger, lease: Lease, rule: Rule, told: Told) -> Iterator[Amount]:
    with ledger.transaction(epoch=lease.epoch) as conn:
        forget_ended(conn)
    values, last = {**_values(rule), "most": CHUNK}, _last_event(ledger, rule)
    for table, statement in (("orders", f"SELECT old.number {_ORDERS}"), ("outcomes", f"SELECT old.rowid {_OUTCOMES}")):
        while True:
            part = _prune_rows(ledger, lease, told, table, f"{statement} LIMIT :most", values)
            if not part.total:
                break
            yield part
    while gone := _prune_events(ledger, lease, told, last):
        yield Amount(events=gone)


def _prune_rows(
    ledger: Ledger, lease: Lease, told: Told, table: str, statement: str, values: Mapping[str, object]
) -> Amount:
    with ledger.transaction(epoch=lease.epoch) as conn:
        gone = conn.execute(statement, values).fetchall()
        part = Amount(**{table: len(gone)})
        if gone:
            _remove(conn, table, gone)
            _tell(conn, Chain(conn), told, part)
    return part


def _remove(conn: sqlite3.Connection, table: str, gone: list[tuple[int]]) -> None:
    if table == "orders":
        conn.executemany("DELETE FROM order_bodies WHERE number = ?", gone)
        conn.executemany("DELETE FROM orders WHERE number = ?", gone)
    else:
        conn.executemany("DELETE FROM outcomes WHERE rowid = ?", gone)


def _prune_events(ledger: Ledger, lease: Lease, told: Told, last: int) -> int:
    with ledger.transaction(epoch=lease.epoch) as conn:
        begin = conn.execute("SELECT seq FROM anchor").fetchone()[0]
        end = min(begin + CHUNK, last)
        if end <= begin:
            return 0
        chain = Chain(conn)
        carry_over(conn, chain, begin, end)
        conn.execute("UPDATE anchor SET (seq, hash) = (SELECT seq, hash FROM events WHERE seq = ?)", (end,))
        gone = conn.execute("DELETE FROM events WHERE seq <= ?", (end,)).rowcount
        _tell(conn, chain, told, Amount(events=gone))
    return int(gone)


def _tell(conn: sqlite3.Connection, chain: Chain, told: Told, part: Amount) -> None:
    anchor, hashed = conn.execute("SELECT seq, hash FROM anchor").fetchone()
    data = {"orders": part.orders, "outcomes": part.outcomes, "events": part.events, "anchor": anchor, "hash": hashed}
    chain.append(PRUNED, at=to_text(told.at), reason=told.reason, actor=told.actor, data=data)


def _last_event(ledger: Ledger, rule: Rule) -> int:
    """Return the last event that may go: old, and from before the beginning of what is under way."""
    since = ledger.ask(
        "SELECT min(:before, coalesce(min(coalesce(started_at, updated_at)), :before)) FROM rollouts"
        " WHERE finished_at IS NULL",
        _values(rule),
    )[0][0]
    anchor = int(ledger.ask("SELECT seq FROM anchor", {})[0][0])
    first = ledger.ask("SELECT seq FROM events WHERE at >= ? ORDER BY seq LIMIT 1", (since,))
    last = int(first[0][0]) - 1 if first else ledger.last_seq()
    # what an earlier prune wrote is no reason for another
    new = "SELECT 1 FROM events WHERE seq <= ? AND kind <> ? AND data ->> 'carried' IS NULL LIMIT 1"
    return last if ledger.ask(new, (last, PRUNED)) else anchor


def _values(rule: Rule) -> dict[str, object]:
    return {"before": to_text(rule.before), "keep": rule.keep}
