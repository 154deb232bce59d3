"""The chain of events: every row carries the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_COLUMNS = "seq, at, kind, rollout, device, order_id, reason, actor, data, prev"
PRUNED = "state.pruned"
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_quoted = json.encoder.encode_basestring_ascii


@dataclass(frozen=True)
class BrokenLink:
    """The first event that does not follow from the one before it."""

    seq: int
    why: str


class Chain:
    """The end of the chain inside one transaction; made anew for each."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        last = conn.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        self.seq: int = last[0] if last else 0
        self.hash: str = last[1] if last else ""

    def append(
        self,
        kind: str,
        *,
        at: str,
        reason: str,
        actor: str = "fwctl",
        rollout: str = "",
        device: str = "",
        order: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one event after the last."""
        row = (self.seq + 1, at, kind, rollout, device, order, reason, actor, to_json(data or {}), self.hash)
        digest = row_hash(row)
        self._conn.execute(
            f"INSERT INTO events ({_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (*row, digest),
        )
        self.seq, self.hash = row[0], digest


# Since when a device runs what it runs; since when it is away; what became of every mandate that is still known.
_CARRIED = """
    SELECT min(e.seq) FROM events AS e JOIN devices AS d ON d.id = e.device
    WHERE e.seq > :begin AND e.seq <= :end AND e.kind IN ('device.seen', 'device.changed')
    AND d.running_release <> '' AND e.data ->> 'release' = d.running_release
    AND NOT EXISTS (
        SELECT 1 FROM events AS n WHERE n.device = e.device AND n.device <> '' AND n.seq > :end
        AND n.data ->> 'carried' IS NOT NULL AND n.data ->> 'release' = d.running_release
    ) GROUP BY e.device
    UNION ALL
    SELECT max(e.seq) FROM events AS e JOIN devices AS d ON d.id = e.device
    WHERE e.seq > :begin AND e.seq <= :end AND e.kind = 'device.unreachable' AND d.reachable = 0
    AND NOT EXISTS (
        SELECT 1 FROM events AS n WHERE n.device = e.device AND n.device <> '' AND n.seq > :end AND n.kind = e.kind
    ) GROUP BY e.device
    UNION ALL
    SELECT e.seq FROM events AS e
    WHERE e.seq > :begin AND e.seq <= :end AND e.kind LIKE 'rollout.%' AND (
        EXISTS (SELECT 1 FROM rollouts AS r WHERE r.mandate = e.data ->> 'mandate')
        OR EXISTS (SELECT 1 FROM orders AS o WHERE o.mandate = e.data ->> 'mandate')
    )
    ORDER BY 1
"""


def carry_over(conn: sqlite3.Connection, chain: Chain, begin: int, end: int) -> None:
    """Write those events of a range that will go, and that tell about what stays, again at the end of the chain."""
    for (seq,) in conn.execute(_CARRIED, {"begin": begin, "end": end}).fetchall():
        at, kind, rollout, device, order, reason, actor, data = conn.execute(
            "SELECT at, kind, rollout, device, order_id, reason, actor, data FROM events WHERE seq = ?", (seq,)
        ).fetchone()
        told = {"carried": seq} | json.loads(data)
        where = {"rollout": rollout, "device": device, "order": order}
        chain.append(kind, at=at, reason=reason, actor=actor, data=told, **where)


def row_hash(row: tuple[Any, ...]) -> str:
    """Return `sha256:<hex>` over the JSON object of the row without its hash: sorted keys, no blanks, ASCII.

    Not the wire's canonical JSON: that refuses control characters, which a reason may quote from a device.
    """
    # `to_json` of the row, written out: this runs for every event
    seq, at, kind, rollout, device, order, reason, actor, data, prev = row
    text = (
        f'{{"actor":{_quoted(actor)},"at":{_quoted(at)},"data":{_quoted(data)},"device":{_quoted(device)},'
        f'"kind":{_quoted(kind)},"order_id":{_quoted(order)},"prev":{_quoted(prev)},"reason":{_quoted(reason)},'
        f'"rollout":{_quoted(rollout)},"seq":{seq:d}}}'
    )
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def to_json(value: Mapping[str, Any]) -> str:
    """Return the one JSON text that the ledger writes for a value."""
    return _encoder.encode(value)


def verify_chain(conn: sqlite3.Connection) -> BrokenLink | None:
    """Return the first broken link, or None: numbers without gap, hashes right, no tail cut off.

    A pruned chain starts after its anchor, and an event after it must say so: who prunes without saying is found.
    """
    anchor = seq, previous = conn.execute("SELECT seq, hash FROM anchor").fetchone()
    said = not seq
    for row in conn.execute(f"SELECT {_COLUMNS}, hash FROM events ORDER BY seq"):  # noqa: S608
        if row[0] != seq + 1:
            return BrokenLink(seq + 1, "it is missing")
        if row[-2] != previous:
            return BrokenLink(row[0], "it does not name the event before it")
        if row_hash(row[:-1]) != row[-1]:
            return BrokenLink(row[0], "its content was changed")
        said = said or (row[2] == PRUNED and _names(row[8], anchor))
        seq, previous = row[0], row[-1]
    highest = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    if highest is not None and highest[0] != seq:
        return BrokenLink(seq + 1, "it and what followed were cut off")
    if not said:
        return BrokenLink(anchor[0], "it and what came before were removed, and no event says so")
    return None


def _names(data: str, anchor: tuple[int, str]) -> bool:
    told = json.loads(data)
    return (told.get("anchor"), told.get("hash")) == anchor
