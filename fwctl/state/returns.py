"""When devices were back on what they ran before: summed up by SQLite, so that a fleet is a few rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from fwctl.state.reader import Reader
from fwctl.state.times import from_text, to_text

_BACK = (
    "FROM orders WHERE mandate = ? AND verb IN ('revert', 'cancel') AND status = 'settled' AND class <> 'refused'"
    " AND finished_at >= ? GROUP BY device"
)
RETURNED = f"SELECT done, count(*) FROM (SELECT max(finished_at) AS done {_BACK}) GROUP BY done ORDER BY done"  # noqa: S608
RETURNED_AFTER = f"SELECT device, max(finished_at) AS done {_BACK} HAVING done > ? ORDER BY device"
_REACH = (
    "SELECT device, at, kind FROM events WHERE device IN ({marks}) AND device <> ''"
    " AND kind IN ('device.unreachable', 'device.reachable', 'device.seen') ORDER BY device, seq"
)
_CHUNK = 500


def returned(ledger: Reader, mandate: str, since: datetime) -> dict[datetime, int]:
    """Return moment -> how many devices were back by their last settled revert or cancel order of a mandate then."""
    return {from_text(done): number for done, number in ledger.ask(RETURNED, (mandate, to_text(since)))}


def returned_after(ledger: Reader, mandate: str, since: datetime, after: datetime) -> dict[str, datetime]:
    """Return which devices were back only after a moment, and when."""
    rows = ledger.ask(RETURNED_AFTER, (mandate, to_text(since), to_text(after)))
    return {device: from_text(done) for device, done in rows}


def out_of_reach(ledger: Reader, since: datetime, until: Mapping[str, datetime]) -> set[str]:
    """Return which devices were out of reach at any time between a moment and one of their own."""
    found: set[str] = set()
    away: set[str] = set()
    for device, at, kind in _reach(ledger, until):
        if at > until[device]:
            continue
        if kind == "device.unreachable":
            away.add(device)
            found |= {device} if at >= since else set()
        elif at < since:
            away.discard(device)
    return found | away


def _reach(ledger: Reader, devices: Iterable[str]) -> Iterator[tuple[str, datetime, str]]:
    wanted = sorted(devices)
    for start in range(0, len(wanted), _CHUNK):
        part = wanted[start : start + _CHUNK]
        for device, at, kind in ledger.ask(_REACH.format(marks=", ".join("?" * len(part))), part):
            yield device, from_text(at), kind
