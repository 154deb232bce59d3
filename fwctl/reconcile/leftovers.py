"""What plans that no commit holds any more left behind, approved successor or not; `finishing` brings it to its end."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from fwctl.state import Ledger, OrderRow

if TYPE_CHECKING:
    from fwctl.reconcile.commit import CommitState


class Leftover(NamedTuple):
    """An install order of a plan that is gone; with `back`, that plan was taken back, and so is what it brought."""

    row: OrderRow
    back: bool


def find_leftovers(ledger: Ledger, state: CommitState, busy: Collection[str], now: datetime) -> Iterator[Leftover]:
    """Yield what is due, one for each device that is not `busy` and still in the inventory.

    Open orders are finished or cancelled (R16); a device that was away when its rollout went back is taken back when
    it returns, whatever has been committed since.
    """
    for leftover in due_leftovers(ledger, {one.mandate.id for one in state.rollouts.values() if one.mandate}, now):
        if leftover.row.device in state.repo.devices and leftover.row.device not in busy:
            yield leftover


def due_leftovers(ledger: Ledger, wanted: Collection[str], now: datetime) -> Iterator[Leftover]:
    """Return what is due of mandates that are not `wanted` any more, one for each device."""
    back = set(ledger.taken_back()) - set(wanted)
    left = {row.device: row for row in ledger.leftovers(now, wanted)}
    for mandate in back:
        left |= {order.device: order for order in _away(ledger, mandate)}
    later = {row.id for row in ledger.devices(left) if row.next_due and row.next_due > now}
    return (Leftover(row, row.mandate in back) for device, row in left.items() if device not in later)


def _away(ledger: Ledger, mandate: str) -> list[OrderRow]:
    """Return the install orders of a mandate that went back, of devices that still run what it brought."""
    running = {row.id for row in ledger.devices_of(mandate) if mandate not in row.spent}
    orders = ledger.orders_of(mandate, running)
    refused = {order.device for order in orders if order.verb == "revert" and order.failure_class == "refused"}
    return [order for order in orders if order.verb == "install" and order.device not in refused]
