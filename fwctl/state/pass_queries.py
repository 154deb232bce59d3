"""What a pass asks the ledger again and again: about the few devices that something is new about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from fwctl.state import building as build
from fwctl.state import faults
from fwctl.state.contacts import Contacts
from fwctl.state.queries import Queries
from fwctl.state.rows import OrderRow
from fwctl.state.times import to_text

LEFTOVERS = (
    f"{build.ORDER} WHERE status <> 'settled' AND due_at <= ? AND verb = 'install' AND mandate NOT IN ({{marks}})"
)
AWAY = "SELECT id FROM devices WHERE reachable = 0"
IN_FLIGHT = (
    "SELECT device FROM orders WHERE status <> 'settled' AND due_at >= '' "  # the index of what is not over
    "AND status IN ('intended', 'sent', 'accepted', 'running') AND mandate <> ?"
)
OUTCOMES_OF = "SELECT envelope FROM outcomes WHERE device = ?"
_CHUNK = 500


class PassQueries(Contacts, Queries):
    """Questions whose answers are small, whatever the size of the fleet."""

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Answer everything that is asked inside from one state of the ledger, whatever is written meanwhile.

        An order that is over beside a device as it was before would read as a silent revert.
        """
        with self._read_lock, faults.sqlite_errors(self.path):
            self._reader.execute("BEGIN")
            try:
                yield
            finally:
                self._reader.rollback()

    def orders_of(self, mandate: str, devices: Iterable[str]) -> list[OrderRow]:
        """Return the orders that these devices have under a mandate; by device, then in the order they were meant."""
        wanted, found = sorted(devices), []
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            statement = f"{build.ORDER} WHERE mandate = ? AND device IN ({marks}) ORDER BY device, number"
            found += self._rows(statement, (mandate, *part))
        return [build.order(row) for row in found]

    def leftovers(self, now: datetime, wanted: Collection[str]) -> list[OrderRow]:
        """Return the open install orders that are due, of mandates that no rollout has any more."""
        marks = ", ".join("?" * len(wanted))
        rows = self._rows(LEFTOVERS.format(marks=marks), (to_text(now), *sorted(wanted)))
        return [build.order(row) for row in rows]

    def out_of_service(self, *, but: str, among: Collection[str] | None = None) -> set[str]:
        """Return who cannot be reached, or has an order under way of another mandate than `but`; None: of all."""
        if among is None:
            rows = [*self._rows(AWAY), *self._rows(IN_FLIGHT, (but,))]
            return {str(row[0]) for row in rows}
        wanted, found = sorted(among), set[str]()
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            away = self._rows(f"{AWAY} AND id IN ({marks})", tuple(part))
            flying = self._rows(f"{IN_FLIGHT} AND device IN ({marks})", (but, *part))
            found |= {str(row[0]) for row in (*away, *flying)}
        return found

    def outcome_envelopes(self, device: str) -> frozenset[str]:
        """Return the outcomes that are recorded of a device, each as the JSON text of its envelope."""
        return frozenset(str(row[0]) for row in self._rows(OUTCOMES_OF, (device,)))
