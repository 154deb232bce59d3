"""What nobody goes on with any more, and what is due of it; `finishing` brings it to its end.

Orders of plans that no commit holds, approved successor or not; and, of plans that it does hold, those of devices that
have dropped out since or have lost their seat as late joiners: no board judges these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from fwctl.state import DeviceRow, Ledger, OrderRow, OrderStatus

if TYPE_CHECKING:
    from fwctl.reconcile.commit import CommitState
    from fwctl.rollouts.plan import Plan

_EVER = datetime.max.replace(tzinfo=UTC)


class Leftover(NamedTuple):
    """An install order that nobody goes on with; with `back`, its plan was taken back, and so is what it brought."""

    row: OrderRow
    back: bool


class Leftovers:
    """What is left behind under one commit. Nobody is sent anything new of it, so strays are looked up once."""

    def __init__(self, ledger: Ledger, state: CommitState) -> None:
        self._ledger, self._devices = ledger, state.repo.devices
        plans = {one.mandate.id: one.plan for one in state.rollouts.values() if one.mandate is not None}
        self._wanted = frozenset(plans)
        self._placeless = {mandate: out for mandate, plan in plans.items() if (out := _placeless(plan)) is not None}
        self._strays = {mandate: _strays(ledger, mandate, out) for mandate, out in self._placeless.items()}
        self._running: dict[str, frozenset[str]] = {}

    def due(self, busy: Collection[str], now: datetime) -> Iterator[Leftover]:
        """Yield what is due, one for each device that is not `busy` and still in the inventory.

        Open orders are finished or cancelled (R16). Who was away when its rollout went back is taken back when it
        returns, whatever has been committed since; who has dropped out goes back with the others.
        """
        return (one for one, at in self._moments(now) if at <= now and one.row.device not in busy)

    def next_due(self) -> datetime | None:
        """Return when something is due next; a moment that is over if something is, None if nothing ever is."""
        return min((at for _, at in self._moments(_EVER)), default=None)

    def _moments(self, until: datetime) -> Iterator[tuple[Leftover, datetime]]:
        """Yield what may be due until a moment, with the moment before which its device is left alone."""
        ledger, back = self._ledger, set(self._ledger.taken_back())
        rows = {row.device: row for row in ledger.leftovers(until, self._wanted)}
        for mandate in back:
            rows |= {row.device: row for row in _away(ledger, mandate, self._runs(mandate))}
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

    def _runs(self, mandate: str) -> Collection[DeviceRow]:
        """Return who runs what a mandate that went back brought, and is on no board."""
        if mandate not in self._wanted:
            return self._ledger.devices_of(mandate)
        if mandate not in self._placeless:
            return ()
        if mandate not in self._running:
            self._running[mandate] = _among(self._ledger, mandate, self._placeless[mandate])
        return [one for one in self._ledger.devices(self._running[mandate]) if one.running_mandate == mandate]


def dropped_with(ledger: Ledger, mandate: str, plan: Plan) -> frozenset[str]:
    """Return who runs what a mandate brought, and has no place in its plan any more: they go back with the others."""
    placeless = _placeless(plan)
    return _among(ledger, mandate, placeless) if placeless else frozenset()


def _among(ledger: Ledger, mandate: str, placeless: Callable[[str], bool]) -> frozenset[str]:
    return frozenset(filter(placeless, (row.id for row in ledger.devices_of(mandate))))


def _placeless(plan: Plan) -> Callable[[str], bool] | None:
    """Return what says whether a device has no place in a plan (any more); None if all that it was sent to have one."""
    if not (plan.dropped or plan.spec.late_joiners is not None):
        return None
    dropped, members = frozenset(plan.dropped), plan.wave_of
    return lambda device: device not in members or device in dropped


def _strays(ledger: Ledger, mandate: str, placeless: Callable[[str], bool]) -> Collection[str]:
    """Return who has an open install order of a plan that it has no place in."""
    rows = ledger.orders(mandate=mandate, open_only=True)
    return {row.device for row in rows if row.verb == "install" and placeless(row.device)}


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


def _away(ledger: Ledger, mandate: str, running: Iterable[DeviceRow]) -> list[OrderRow]:
    """Return the install orders of a mandate that went back, of devices that still run what it brought."""
    orders = ledger.orders_of(mandate, {row.id for row in running if mandate not in row.spent})
    refused = {order.device for order in orders if order.verb == "revert" and order.failure_class == "refused"}
    stays = ledger.keeping(mandate)
    return [one for one in orders if one.verb == "install" and one.device not in refused and one.wave not in stays]
