"""One visit: connect to a device, look, ask `next_step`, have it done. Everything learned is in the ledger after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Literal

from fwctl.errors import DeviceError
from fwctl.fleet.interface import DeviceLink
from fwctl.reconcile import records, sampling
from fwctl.reconcile.account import Subject
from fwctl.reconcile.commit import Prepared
from fwctl.reconcile.exchange import Exchange
from fwctl.reconcile.joining import checked
from fwctl.reconcile.kept import kept_install
from fwctl.reconcile.observing import missed, observe
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.reconcile.views import device_view, standby_of
from fwctl.rollouts import switching
from fwctl.rollouts.actions import Activate, Defer, Install, Leave, Resume, TakeBack
from fwctl.rollouts.decide import next_step
from fwctl.rollouts.health.metrics import bounds_of
from fwctl.rollouts.view import DeviceView, OpenOrder, RolloutView
from fwctl.state import DeviceDeferred
from fwctl_agent.protocol.messages import DeviceDocument
from fwctl_agent.protocol.statements import InstallOrder, Mandate, Release


class Visitor:
    """Visits devices of one locked rollout."""

    def __init__(self, tools: Tools, prepared: Prepared, mandate: Mandate, view: Callable[[], RolloutView]) -> None:
        """`view` returns the rollout as it was judged last: a rollback may have begun while a device was dialled."""
        self._tools = tools
        self._prepared = prepared
        self._mandate = mandate
        self._view = view

    async def visit(self, device: str) -> None:
        """Do what is to be done with one device now. Failures of the device end up in the ledger, not here."""
        recorder = Recorder(self._tools, device)
        try:
            async with self._tools.reached(device) as link:
                await self._look(link, recorder, device)
                await recorder.write()
        except DeviceError as error:
            await missed(self._tools, recorder, self._prepared.key, device, error, self._prepared.plan.retry.backoff)

    async def _look(self, link: DeviceLink, recorder: Recorder, device: str) -> None:
        seen = await observe(self._tools, link)
        document, now = seen.document, seen.at
        recorder.note(*seen.late, records.seen(document, now))
        if seen.late:
            await recorder.write()  # what it tells changes where it stands
        view = self._device_view(document, now, late=bool(seen.late))
        plan = self._prepared.plan
        subject = Subject(self._prepared.key, plan.repo_id, plan.wave_of[device], self._prepared)
        exchange = Exchange(self._tools, recorder, subject, link, document)
        rollout = self._view()
        step = checked(next_step(plan, rollout, view, now), self._prepared, document, now)
        begins = isinstance(step, Install)
        recorder.note(*sampling.taken(self._prepared, rollout, view, document, now, begins=begins))
        match step:
            case Install(attempt=attempt, reason=reason, stop=stop):
                await exchange.drive(self._install(device, attempt, now, stop), reason)
            case Resume(order=order, reason=reason) if not view.staged:
                await exchange.drive(self._renewed(order, now), reason)
            case Activate(order=order, reason=reason) | Resume(order=order, reason=reason):
                await exchange.activate(self._renewed(order, now), reason)
            case TakeBack(install=install, reason=reason):
                await exchange.take_back(install, reason)
            case Defer(reason=reason, due=due):
                recorder.note(DeviceDeferred(at=now, device=device, reason=reason, next_due=due))
                self._tools.watcher.progressed(self._prepared.key, device, "deferred", reason)
            case Leave(reason=reason, due=due):
                recorder.note(records.seen(document, now, due=due))
                self._tools.watcher.progressed(self._prepared.key, device, "left", reason)

    def _device_view(self, document: DeviceDocument, now: datetime, *, late: bool) -> DeviceView:
        """Return the device's view after this observation; a lost ledger learns the attempts from its marks."""
        mandate = self._mandate.id
        view = self._view().devices.get(document.id) or DeviceView(id=document.id)
        if late:
            orders = self._tools.ledger.orders(mandate=mandate, device=document.id)
            row = next(iter(self._tools.ledger.devices([document.id])), None)
            released = self._tools.ledger.releases(document.id).get(document.id)
            view = device_view(document.id, row, orders, mandate, released=released)
        marks = [m.attempt for m in document.marks if (m.mandate, m.verb) == (mandate, "install")]
        # An order of ours that still runs there is met again by its own number.
        known = max(marks, default=0) - (1 if document.order is not None else 0)
        order = view.order
        if order is not None and document.order == order.id:
            order = replace(order, accepted=True)  # its answer was lost
        return replace(
            view,
            order=order,
            staged=order is not None and holds(document, order),
            observed_at=now,
            running=document.running.release,
            by_mandate=document.running.mandate == mandate,
            version=document.running.version,
            standby=standby_of(document.to_wire()),
            spent=any(spent.mandate == mandate for spent in document.spent),
            unreachable_since=None,
            misses=0,
            due_at=None,
            deferred_since=None,
            facts=document.facts,
            attempts=max(view.attempts, known),
        )

    def _install(self, device: str, attempt: int, now: datetime, stop: Release | None) -> InstallOrder:
        """Return the order of the plan's release, or of a stop on the way: that one is left again at once, so nobody
        watches it there, and it is never held back."""
        prepared, plan = self._prepared, self._prepared.plan
        release = stop or plan.release
        health = plan.spec.gates.health
        bounds = bounds_of(health.limits)
        return InstallOrder(
            device=device,
            mandate=self._mandate.id,
            release=release.digest,
            attempt=attempt,
            leaf=prepared.leaf(device),
            proof=prepared.proof(device),
            confirm_within=self._tools.state.repo.fleet.spec.confirm_seconds,
            watch=0 if stop else plan.spec.watch_seconds,
            probes=health.probes,
            limits=bounds.maxima,
            minima=bounds.minima,
            activation="now" if stop else self._activation(device),
            delivery=self._tools.images.delivery(release.image),
            **self._tools.pen.orders.lifetime(now),
        )

    def _renewed(self, order: str, now: datetime) -> InstallOrder:
        """Return an open order with today's freshness: the same id, so sending it again is harmless."""
        kept = kept_install(self._tools.ledger, order)
        delivery = self._tools.images.delivery(self._prepared.release(kept.release).image)
        target = kept.release == self._prepared.plan.release.digest
        activation = self._activation(kept.device) if target else kept.activation
        return replace(kept, delivery=delivery, activation=activation, **self._tools.pen.orders.lifetime(now))

    def _activation(self, device: str) -> Literal["now", "hold"]:
        wave = self._prepared.plan.wave_of[device]
        return switching.activation(wave, self._view().waves.get(wave.name))


def holds(document: DeviceDocument, order: OpenOrder) -> bool:
    """Say whether a device waits to be told to switch to what this order has staged, and the ledger knows that."""
    return document.order == order.id and document.state == "staged" and order.state in ("staged", "switching")
