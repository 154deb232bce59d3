"""Read samples of what devices report, which are kept only for rollouts that compare them with a control group."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

from fwctl.state.ledger import Ledger

_ENDED = "DELETE FROM samples WHERE mandate NOT IN (SELECT mandate FROM rollouts WHERE finished_at IS NULL)"


def samples(
    ledger: Ledger, mandate: str, waves: Iterable[str]
) -> dict[tuple[str, str], Mapping[str, Mapping[str, int]]]:
    """Return (wave, phase) -> device -> metrics of some waves."""
    found: dict[tuple[str, str], dict[str, Mapping[str, int]]] = {}
    statement = "SELECT phase, device, metrics FROM samples WHERE mandate = :mandate AND wave = :wave"
    for wave in waves:
        for phase, device, metrics in ledger.ask(statement, {"mandate": mandate, "wave": wave}):
            found.setdefault((wave, phase), {})[device] = json.loads(metrics)
    return dict(found)


def forget_ended(conn: sqlite3.Connection) -> None:
    """Remove the samples of mandates that have come to their end: what followed from them stands in the events."""
    conn.execute(_ENDED)
