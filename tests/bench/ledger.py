"""What a run left in the ledger, read with plain SQL: fwctl's own counting is not trusted to judge itself."""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_TABLES = ("devices", "orders", "outcomes", "events")


@dataclass(frozen=True)
class Account:
    """Where every device ended: how many by result, and those that nothing is known of."""

    by_result: dict[str, int]
    unknown: tuple[str, ...]


def rows(path: Path) -> dict[str, int]:
    """Count the rows of each table that grows with the fleet."""
    with closing(_open(path)) as conn:
        return {table: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _TABLES}


def size(path: Path) -> int:
    """Return the bytes of the ledger, log included."""
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))


def commits(path: Path) -> Callable[[], int]:
    """Return a probe for the number of transactions written since the ledger was opened.

    It is `iChange` in the header of the WAL index (SQLite's walformat, "WAL-index header"), which every commit raises.
    """
    index = path.with_name(f"{path.name}-shm")

    def probe() -> int:
        try:
            with index.open("rb") as file:
                return int(struct.unpack_from("=I", file.read(12), 8)[0])
        except (OSError, struct.error):
            return 0

    return probe


def account(path: Path, devices: frozenset[str], version: str) -> Account:
    """Say of every device where it ended, by its last signed outcome, or else by why it could not be asked."""
    with closing(_open(path)) as conn:
        last = dict(conn.execute("SELECT device, result FROM outcomes ORDER BY counter"))
        known = {
            row[0]: (row[1], row[2], row[3])
            for row in conn.execute("SELECT id, running_version, reachable, reason FROM devices")
        }
    found: Counter[str] = Counter()
    unknown = []
    for device in sorted(devices):
        running, reachable, reason = known.get(device, ("", 0, ""))
        if last.get(device) in ("confirmed", "reverted"):
            wrong = last[device] == "confirmed" and running != version
            found[f"{last[device]}, but runs {running}" if wrong else last[device]] += 1
        elif device in last:
            found[last[device]] += 1
        elif device in known and not reachable:
            found["unreachable"] += 1
        elif device in known and reason:
            found["waiting"] += 1
        else:
            unknown.append(device)
    return Account(dict(found.most_common()), tuple(unknown))


def unreachable(path: Path) -> int:
    """Return how many devices did not answer the last time."""
    with closing(_open(path)) as conn:
        return int(conn.execute("SELECT count(*) FROM devices WHERE reachable = 0").fetchone()[0])


def times(path: Path, kind: str) -> list[tuple[str, datetime]]:
    """Return device and time of each event of a kind, oldest first."""
    with closing(_open(path)) as conn:
        found = conn.execute("SELECT device, at FROM events WHERE kind = ? ORDER BY seq", (kind,))
        return [(device, datetime.fromisoformat(at)) for device, at in found]


def outcomes(path: Path, result: str) -> list[datetime]:
    """Return when each outcome of a kind was received."""
    with closing(_open(path)) as conn:
        found = conn.execute("SELECT received_at FROM outcomes WHERE result = ?", (result,))
        return [datetime.fromisoformat(at) for (at,) in found]


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)
