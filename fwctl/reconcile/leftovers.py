"""What plans that no commit holds any more left behind: it is brought to its end, approved successor or not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import NamedTuple

from fwctl.errors import DeviceError
from fwctl.reconcile import records
from fwctl.reconcile.commit import CommitState
from fwctl.reconcile.exchange import Exchange, Subject, read_order
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.reconcile.visit import learned, missed
from fwctl.rollouts.plan import Wave
from fwctl.state import Ledger, OrderRow
from fwctl_agent.protocol.statements import InstallOrder


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


async def finish_leftover(tools: Tools, leftover: Leftover) -> None:
    """Visit a device whose order belongs to a plan that no commit holds any more, and bring the order to its end."""
    (row, back), repo_id = leftover, tools.state.repo.fleet.spec.repo_id
    body = tools.ledger.order_body(row.id)
    order = read_order(body) if body is not None else None
    if not isinstance(order, InstallOrder):
        raise TypeError("an open install order has its envelope in the ledger")
    subject = Subject(row.rollout, repo_id, Wave(row.wave, row.stage, (row.device,), 0))
    recorder = Recorder(tools, row.device)
    try:
        async with tools.reached(row.device) as link:
            document = await link.device()
            now = tools.clock()
            await tools.pen.learn(document, now)
            recorder.note(*learned(tools, link, document, repo_id, now), records.seen(document, now))
            exchange = Exchange(tools, recorder, subject, link, document)
            await (exchange.take_back(order.id, "its rollout went back") if back else exchange.finish(order))
            await recorder.write()
    except DeviceError as error:
        policy = tools.state.repo.fleet.spec.defaults.retry.backoff
        await missed(tools, recorder, row.rollout, row.device, error, policy)
