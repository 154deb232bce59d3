"""Bring to its end what a plan left behind that no commit holds any more."""

from __future__ import annotations

from fwctl.errors import DeviceError
from fwctl.reconcile import records
from fwctl.reconcile.account import Subject
from fwctl.reconcile.exchange import Exchange
from fwctl.reconcile.kept import kept_install
from fwctl.reconcile.leftovers import Leftover
from fwctl.reconcile.observing import missed, observe
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.rollouts.plan import Wave


async def finish_leftover(tools: Tools, leftover: Leftover) -> None:
    """Visit a device whose order belongs to a plan that no commit holds any more, and bring the order to its end."""
    (row, back), repo_id = leftover, tools.state.repo.fleet.spec.repo_id
    order = kept_install(tools.ledger, row.id)
    subject = Subject(row.rollout, repo_id, Wave(row.wave, row.stage, (row.device,), 0))
    recorder = Recorder(tools, row.device)
    try:
        async with tools.reached(row.device) as link:
            seen = await observe(tools, link)
            recorder.note(*seen.late, records.seen(seen.document, seen.at))
            exchange = Exchange(tools, recorder, subject, link, seen.document)
            await (exchange.take_back(order.id, "its rollout went back") if back else exchange.finish(order))
            await recorder.write()
    except DeviceError as error:
        policy = tools.state.repo.fleet.spec.defaults.retry.backoff
        await missed(tools, recorder, row.rollout, row.device, error, policy)
