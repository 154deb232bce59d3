"""Bring to its end what a plan left behind that no commit holds any more."""

from __future__ import annotations

from fwctl.errors import DeviceError
from fwctl.reconcile import records
from fwctl.reconcile.believing import document_of
from fwctl.reconcile.exchange import Exchange, Subject, read_order
from fwctl.reconcile.leftovers import Leftover
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.reconcile.visit import learned, missed
from fwctl.rollouts.plan import Wave
from fwctl_agent.protocol.statements import InstallOrder


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
            document = await document_of(link, tools.state)
            now = tools.clock()
            await tools.pen.learn(document, now)
            recorder.note(*learned(tools, link, document, repo_id, now), records.seen(document, now))
            exchange = Exchange(tools, recorder, subject, link, document)
            await (exchange.take_back(order.id, "its rollout went back") if back else exchange.finish(order))
            await recorder.write()
    except DeviceError as error:
        policy = tools.state.repo.fleet.spec.defaults.retry.backoff
        await missed(tools, recorder, row.rollout, row.device, error, policy)
