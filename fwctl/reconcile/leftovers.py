"""What nobody goes on with any more, and what is due of it; `finishing` brings it to its end.

Orders of plans that no commit holds, approved successor or not; and, of plans that it does hold, those of devices that
have dropped out since or have lost their seat as late joiners: no board judges these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from fwctl.state import Ledger, OrderRow, OrderStatus

if TYPE_CHECKING:
    from fwctl.reconcile.commit import CommitState, Prepared

_EVER = datetime.max.replace(tzinfo=UTC)


class Leftover(NamedTuple):
    """An install order that nobody goes on with; with `back`, its plan was taken back, and so is what it brought."""

    row: OrderRow
    back: bool


class Leftovers:
    """What is left behind under one commit. Nobody is sent anything new of it, so strays are looked up once."""

    def __init__(self, ledger: Ledger, state: CommitState) -> None:
        self._ledger, self._devices = ledger, state.repo.devices
        prepared = [one for one in state.rollouts.values() if one.mandate is not None]
        self._wanted = {one.mandate.id for one in prepared if one.mandate is not None}
        self._strays = {key: found for one in prepared for key, found in _strays(ledger, one).items() if found}

    def due(self, busy: Collection[str], now: datetime) -> Iterator[Leftover]:
        """Yield what is due, one for each device that is not `busy` and still in the inventory.

        Open orders are finished or cancelled (R16); a device that was away when its rollout went back is taken back
        when it returns, whatever has been committed since.
        """
        return (one for one, at in self._moments(now) if at <= now and one.row.device not in busy)

    def next_due(self) -> datetime | None:
        """Return when something is due next; a moment that is over if something is, None if nothing ever is."""
        return min((at for _, at in self._moments(_EVER)), default=None)

    def _moments(self, until: datetime) -> Iterator[tuple[Leftover, datetime]]:
        """Yield what may be due until a moment, with the moment before which its device is left alone."""
        ledger, back = self._ledger, set(self._ledger.taken_back())
        rows = {row.device: row for row in ledger.leftovers(until, self._wanted)}
        for mandate in back - self._wanted:
            rows |= {row.device: row for row in _away(ledger, mandate)}
        for mandate, devices in self._strays.items():
            rows |= {row.device: row for row in ledger.orders_of(mandate, devices) if _is_open(row, "install")}
        rows = {device: row for device, row in rows.items() if device in self._devices}
        asked, gone_back = _asked(ledger, rows), back & {row.mandate for row in rows.values()}
        keeping = {mandate: ledger.keeping(mandate) for mandate in gone_back}
        next_due = {row.id: row.next_due for row in ledger.devices(rows)}
        for device, row in rows.items():
            moments = (row.due_at, next_due.get(device), asked.get(row.id))
            at = max((moment for moment in moments if moment is not None), default=row.intended_at)
            yield Leftover(row, row.mandate in back and row.wave not in keeping[row.mandate]), at


def _strays(ledger: Ledger, prepared: Prepared) -> Mapping[str, Collection[str]]:
    """Return who has an open install order of a plan that it has no place in any more."""
    plan, mandate = prepared.plan, prepared.mandate
    if mandate is None or not (plan.dropped or plan.spec.late_joiners is not None):
        return {}
    dropped, members = frozenset(plan.dropped), plan.wave_of
    rows = (row for row in ledger.orders(mandate=mandate.id, open_only=True) if row.verb == "install")
    return {mandate.id: {row.device for row in rows if row.device not in members or row.device in dropped}}


def _asked(ledger: Ledger, rows: Mapping[str, OrderRow]) -> Mapping[str, datetime]:
    """Return install order -> when to ask again about the order that was sent to end it, where that has not ended."""
    by_mandate: dict[str, set[str]] = {}
    for row in rows.values():
        by_mandate.setdefault(row.mandate, set()).add(row.device)
    sent: Iterable[OrderRow] = (
        row
        for mandate, devices in by_mandate.items()
        for row in ledger.orders_of(mandate, devices)
        if _is_open(row, "cancel", "revert", "confirm")
    )
    return {row.refers_to: row.due_at for row in sent if row.due_at is not None}


def _is_open(row: OrderRow, *verbs: str) -> bool:
    return row.verb in verbs and row.status is not OrderStatus.SETTLED


def _away(ledger: Ledger, mandate: str) -> list[OrderRow]:
    """Return the install orders of a mandate that went back, of devices that still run what it brought."""
    running = {row.id for row in ledger.devices_of(mandate) if mandate not in row.spent}
    orders = ledger.orders_of(mandate, running)
    refused = {order.device for order in orders if order.verb == "revert" and order.failure_class == "refused"}
    stays = ledger.keeping(mandate)
    return [one for one in orders if one.verb == "install" and one.device not in refused and one.wave not in stays]
