"""When a pass has nothing to do, proved without reading the fleet: nothing has changed and no time has come.

What a pass decides is a function of the commit, the trust that is pinned, the ledger and the clock. A pass writes down
what it decided last, from which revision of the ledger, and until when that holds. While all of this still stands, the
next pass would decide the same; it says so again and contacts nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fwctl.reconcile.summary import FLEET, FleetSummary, Summary, fleet_from_json, from_json, pin
from fwctl.state import Ledger, SummaryRow


@dataclass(frozen=True)
class Recorded:
    """What passes have written down of a commit."""

    fleet: FleetSummary
    rows: Mapping[str, SummaryRow]
    revision: int

    def current(self, key: str, moment: datetime) -> bool:
        """Say whether a rollout stands as it was written down, until this moment if nothing else changes."""
        row = self.rows.get(key)
        return (
            row is not None and row.revision == self.revision and (row.valid_until is None or moment < row.valid_until)
        )

    def summary(self, key: str) -> Summary | None:
        """Return what was written down of a rollout, current or not."""
        return from_json(self.rows[key].body) if key in self.rows else None


def recorded(ledger: Ledger, commit: str, *, pinned: str) -> Recorded | None:
    """Return what passes have written down of a commit, verified from the root of trust that is pinned here."""
    revision = ledger.revision()  # first: what is written meanwhile only makes the rows newer
    rows = {row.rollout: row for row in ledger.summaries() if row.commit == commit}
    fleet = fleet_from_json(rows[FLEET].body) if FLEET in rows else None
    if fleet is None or fleet.pin != pin(pinned):
        return None
    return Recorded(fleet, rows, revision)


def resting(
    ledger: Ledger, commit: str, *, pinned: str, now: datetime, deadline: datetime
) -> tuple[Summary, ...] | None:
    """Return where the rollouts of a commit stand if a pass until `deadline` would do nothing; None if it might."""
    found = recorded(ledger, commit, pinned=pinned)
    if found is None or ledger.meta("last_applied_commit") != commit:
        return None
    wanted = found.fleet.rollouts
    # A sweep prolongs no pass: one that is due later is the work of a later pass.
    if not wanted or not found.current(FLEET, now) or not all(found.current(key, deadline) for key in wanted):
        return None
    summaries = tuple(summary for key in wanted if (summary := found.summary(key)) is not None)
    return summaries if len(summaries) == len(wanted) else None
