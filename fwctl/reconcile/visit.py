"""One visit: connect to a device, look, ask `next_step`, do it, record it. The order of the writes is the safety:

an intent is durable before its first byte leaves, an outcome before anything follows from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from fwctl.errors import DeviceError
from fwctl.fleet.interface import DeviceLink, DeviceLinks
from fwctl.fleet.outcomes import verify_outcome
from fwctl.reconcile.authority import Clock, Freshness, Pen
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.views import device_view
from fwctl.rollouts.actions import Install, Leave, Resume
from fwctl.rollouts.decide import next_step
from fwctl.rollouts.failures import backoff
from fwctl.rollouts.view import RolloutView
from fwctl.state import (
    BatchWriter,
    Change,
    DeviceSeen,
    DeviceUnreachable,
    Ledger,
    OrderIntended,
    OrderMoved,
    OrderRow,
    OrderStatus,
    OutcomeReceived,
)
from fwctl.storage import Storage
from fwctl_agent.protocol.messages import BusyReply, DeviceDocument, OrderReply, OrderRequest, RefusedReply
from fwctl_agent.protocol.statements import ORDER, FollowUp, InstallOrder, Order, Outcome, order_from_wire
from fwctl_agent.trust.envelope import Sealed

POLL_SECONDS: Final = 10
MAX_STEPS: Final = 200
PATIENCE: Final = timedelta(seconds=60)
"""how long one visit keeps its connection while the device works; then a due time takes its place"""
AGAIN: Final = timedelta(seconds=5)


class Watcher(Protocol):
    """Who is told what happens, for the screen."""

    def progressed(self, rollout: str, device: str, what: str, reason: str) -> None: ...


@dataclass(frozen=True)
class Tools:
    """What every visit of a pass shares."""

    state: CommitState
    ledger: Ledger
    writer: BatchWriter
    links: DeviceLinks
    storage: Storage
    freshness: Freshness
    pen: Pen
    clock: Clock
    watcher: Watcher


class Visitor:
    """Visits devices of one rollout. Everything it learns is in the ledger when `visit` returns."""

    def __init__(self, tools: Tools, prepared: Prepared, view: RolloutView) -> None:
        self._tools = tools
        self._prepared = prepared
        self._view = view
        if prepared.mandate is None:
            raise TypeError("a rollout without a mandate sends nothing")
        self._mandate = prepared.mandate

    async def visit(self, device: str) -> None:
        """Do what is to be done with one device now. Failures of the device end up in the ledger, not here."""
        address = self._tools.state.repo.devices[device].address
        try:
            async with self._tools.links.open(device, address) as link:
                await self._look(link, device)
        except DeviceError as error:
            await self._missed(device, error)

    async def _missed(self, device: str, error: DeviceError) -> None:
        now = self._tools.clock()
        rows = self._tools.ledger.devices([device])
        misses = 1 + (rows[0].failure_count if rows and not rows[0].reachable else 0)
        due = now + backoff(self._prepared.plan.retry.backoff, device=device, failures=misses)
        reason = f"{error.code}: {error.message}"
        await self._write(DeviceUnreachable(at=now, device=device, reason=reason, next_due=due))
        self._tell(device, "unreachable", reason)

    async def _look(self, link: DeviceLink, device: str) -> None:
        document = await link.device()
        now = self._tools.clock()
        await self._tools.pen.learn(document, now)
        learned = [change for envelope in document.outcomes for change in self._outcome(link, device, envelope, now)]
        await self._write(*learned, seen(document, now))
        row = self._tools.ledger.devices([device])[0]
        orders = self._tools.ledger.orders(mandate=self._mandate.id, device=device)
        step = next_step(self._prepared.plan, self._view, device_view(device, row, orders, self._mandate.id), now)
        match step:
            case Install():
                order = self._install(device, step.attempt, now)
                await self._drive(link, document, order, step.reason)
            case Resume():
                known = self._order(step.order)
                await self._drive(link, document, self._tools.pen.renewed(known, now), step.reason)
            case Leave():
                await self._write(seen(document, now, due=step.due))
                self._tell(device, "left", step.reason)

    # -- orders -----------------------------------------------------------------------------------------------------

    def _install(self, device: str, attempt: int, now: datetime) -> InstallOrder:
        prepared, fleet = self._prepared, self._tools.state.repo.fleet.spec
        plan, index = prepared.plan, prepared.index[device]
        health = plan.spec.gates.health
        limits = tuple(sorted((name, int(limit.max)) for name, limit in health.limits.items() if limit.max is not None))
        if prepared.lock is None:
            raise TypeError("a rollout without a lock sends nothing")
        return InstallOrder(
            device=device,
            mandate=self._mandate.id,
            release=plan.release.digest,
            attempt=attempt,
            leaf=str(prepared.lock.leaves[index]),
            proof=prepared.tree.proof(index),
            confirm_within=fleet.confirm_seconds,
            watch=plan.spec.watch_seconds,
            probes=health.probes,
            limits=limits,
            activation=plan.wave_of[device].activation,
            **self._tools.pen.orders.lifetime(now),
        )

    def _order(self, order: str) -> Order:
        body = self._tools.ledger.order_body(order)
        if body is None:
            raise TypeError("an open order has a body")
        return order_from_wire(Sealed.open(body, ORDER).statement())

    def _intent(self, order: Order, envelope: Mapping[str, Any], reason: str, now: datetime) -> OrderIntended:
        wave = self._prepared.plan.wave_of[order.device]
        return OrderIntended(
            at=now,
            order=order.id,
            device=order.device,
            rollout=self._prepared.key,
            mandate=order.mandate,
            verb=order.verb,
            release=order.release,
            attempt=order.attempt,
            stage=wave.stage,
            wave=wave.name,
            refers_to=order.refers_to if isinstance(order, FollowUp) else "",
            body=envelope,
            due_at=None,
            reason=reason,
        )

    async def _send(self, link: DeviceLink, order: Order, request: OrderRequest, reason: str) -> Reply:
        now = self._tools.clock()
        row = self._tools.ledger.order(order.id)
        changes: list[Change] = [self._intent(order, request.order, reason, now)]
        if row is None or row.status is OrderStatus.INTENDED:
            # Written with the intent, because from the first byte on nobody knows whether it arrived (R05).
            changes.append(OrderMoved(at=now, order=order.id, status=OrderStatus.SENT, reason=reason))
        await self._write(*changes)
        return await link.put_order(order.id, request.to_bytes())

    # -- the exchange -----------------------------------------------------------------------------------------------

    async def _drive(self, link: DeviceLink, document: DeviceDocument, order: Order, reason: str) -> None:
        """Follow one install order until it ends, or until the device needs time without us."""
        if not isinstance(order, InstallOrder):
            raise TypeError("only install orders are driven")
        start = self._tools.clock()
        request = OrderRequest(
            order=self._tools.pen.sign(order),
            approvals=self._prepared.approvals,
            releases=self._prepared.releases,
            trust=await self._tools.freshness.bundle(document, start),
        )
        reply = await self._send(link, order, request, reason)
        self._tell(order.device, "ordered", reason)
        for _ in range(MAX_STEPS):
            now = self._tools.clock()
            match reply:
                case RefusedReply():
                    return await self._refused(order, reply, now)
                case BusyReply():
                    return await self._wait(order, now + AGAIN, f"busy with {reply.running[:19]}")
                case OrderReply(outcome=envelope) if envelope is not None:
                    return await self._ended(link, order, envelope)
                case OrderReply(resume_after=seconds) if seconds is not None:
                    due = now + timedelta(seconds=max(1, seconds))
                    return await self._wait(order, due, f"{reply.state}: it restarts", accepted=True)
                case OrderReply():
                    if now - start > PATIENCE:
                        return await self._wait(order, now + AGAIN, f"{reply.state}: it works on it", accepted=True)
                    reply = await self._follow(link, order, reply)
        return await self._wait(order, self._tools.clock() + AGAIN, "too many steps in one visit", accepted=True)

    async def _follow(self, link: DeviceLink, order: InstallOrder, reply: OrderReply) -> Reply:
        if reply.offset is not None:
            return await self._push(link, order, reply.offset)
        if reply.state == "trial":
            return await self._confirm(link, order)
        polled = await link.order(order.id, wait=POLL_SECONDS)
        return (
            polled if polled is not None else RefusedReply("resync", "E_UNKNOWN_ORDER", "the device forgot the order")
        )

    async def _push(self, link: DeviceLink, order: InstallOrder, offset: int) -> Reply:
        release = self._prepared.plan.release
        now = self._tools.clock()
        await self._write(OrderMoved(at=now, order=order.id, status=OrderStatus.RUNNING, reason="downloading"))
        self._tell(order.device, "downloading", f"from byte {offset} of {release.length}")
        with self._tools.storage.open(release.image) as reader:
            await asyncio.to_thread(reader.seek, offset)
            return await link.put_image(order.id, reader, offset=offset, total=release.length)

    async def _confirm(self, link: DeviceLink, install: InstallOrder) -> Reply:
        """Second phase: the device runs the new image and has been reached on it, so it may keep it."""
        now = self._tools.clock()
        order = self._tools.pen.orders.follow_up("confirm", install, attempt=install.attempt, now=now)
        request = OrderRequest(order=self._tools.pen.sign(order), approvals=(), releases=(), trust={})
        reply = await self._send(link, order, request, "reached on the new firmware")
        self._tell(install.device, "confirming", "reached on the new firmware")
        for _ in range(MAX_STEPS):
            if not isinstance(reply, OrderReply) or reply.outcome is not None or reply.resume_after is not None:
                break
            if self._tools.clock() - now > PATIENCE:
                break
            polled = await link.order(order.id, wait=POLL_SECONDS)
            if polled is None:
                break
            reply = polled
        if isinstance(reply, OrderReply):
            return reply
        await asyncio.sleep(0.2)
        polled = await link.order(install.id, wait=POLL_SECONDS)
        return polled if polled is not None else reply

    # -- results ----------------------------------------------------------------------------------------------------

    async def _ended(self, link: DeviceLink, order: InstallOrder, envelope: dict[str, Any]) -> None:
        now = self._tools.clock()
        outcome = verify_outcome(envelope, link.peer_certificate or "", order.device, self._mandate.repo_id)
        if outcome.mandate != order.mandate:
            raise _false_report(order.device, "the outcome belongs to another mandate")
        changes = self._outcome(link, order.device, envelope, now)
        if outcome.order != order.id:
            changes += self._settle(order.id, outcome, now)
        await self._write(*changes)
        document = await link.device() if outcome.result != "confirmed" else None
        if document is not None:
            await self._write(seen(document, self._tools.clock()))
        else:
            await self._write(*self._now_runs(order.device, outcome, now))
        what = outcome.result if outcome.result != "failed" else f"failed ({outcome.klass})"
        self._tell(order.device, what, outcome.code or f"runs {outcome.running.version}")

    def _now_runs(self, device: str, outcome: Outcome, now: datetime) -> list[Change]:
        """A signed outcome tells what runs now; asking once more would cost a request per device."""
        said = self._tools.ledger.document(device) or {}
        running = outcome.running
        return [
            DeviceSeen(
                at=now,
                device=device,
                running_release=running.release or "",
                running_image=running.image,
                running_version=running.version,
                running_mandate=running.mandate or "",
                state="confirmed",
                document=said | {"running": running.to_wire(), "state": "confirmed"},
                counter=outcome.counter,
                spent=tuple(spent["mandate"] for spent in said.get("spent", ())),
            )
        ]

    def _outcome(self, link: DeviceLink, device: str, envelope: dict[str, Any], now: datetime) -> list[Change]:
        """Return what one outcome changes; one that is not ours to believe changes nothing."""
        certificate = link.peer_certificate or ""
        try:
            outcome = verify_outcome(envelope, certificate, device, self._mandate.repo_id)
        except DeviceError:
            return []
        received = OutcomeReceived(
            at=now,
            order=outcome.order,
            device=device,
            mandate=outcome.mandate,
            result=outcome.result,
            failure_class=outcome.klass or "",
            code=outcome.code or "",
            running_image=outcome.running.image,
            counter=outcome.counter,
            envelope=envelope,
            certificate=certificate,
        )
        return [received, *self._settle(outcome.order, outcome, now)]

    def _settle(self, order: str, outcome: Outcome, now: datetime) -> list[Change]:
        row = self._tools.ledger.order(order)
        if row is None or row.device != outcome.device or row.status is OrderStatus.SETTLED:
            return []
        if outcome.result == "staged":
            return []
        return [
            OrderMoved(
                at=now,
                order=order,
                status=OrderStatus.SETTLED,
                failure_class=_failure_class(outcome, row),
                code=outcome.code or "",
                reason=outcome.result,
            )
        ]

    async def _refused(self, order: InstallOrder, reply: RefusedReply, now: datetime) -> None:
        if reply.klass != "refused":
            return await self._wait(order, now + AGAIN, f"{reply.klass}: {reply.code} {reply.message}")
        await self._write(
            OrderMoved(
                at=now,
                order=order.id,
                status=OrderStatus.SETTLED,
                failure_class="refused",
                code=reply.code,
                reason=reply.message,
            )
        )
        return self._tell(order.device, "refused", f"{reply.code}: {reply.message}")

    async def _wait(self, order: InstallOrder, due: datetime, reason: str, *, accepted: bool = False) -> None:
        row = self._tools.ledger.order(order.id)
        status = row.status if row else OrderStatus.SENT
        if accepted and status in (OrderStatus.INTENDED, OrderStatus.SENT):
            status = OrderStatus.ACCEPTED
        await self._write(OrderMoved(at=self._tools.clock(), order=order.id, status=status, reason=reason, due_at=due))
        self._tell(order.device, "waiting", reason)

    async def _write(self, *changes: Change) -> None:
        if changes:
            await self._tools.writer.write(*changes)

    def _tell(self, device: str, what: str, reason: str) -> None:
        self._tools.watcher.progressed(self._prepared.key, device, what, reason)


Reply = OrderReply | RefusedReply | BusyReply


def seen(document: DeviceDocument, now: datetime, *, due: datetime | None = None) -> DeviceSeen:
    """Return the observation of a device as the ledger keeps it."""
    running = document.running
    return DeviceSeen(
        at=now,
        device=document.id,
        running_release=running.release or "",
        running_image=running.image,
        running_version=running.version,
        running_mandate=running.mandate or "",
        state=document.state,
        document=document.to_wire(),
        counter=document.counter,
        spent=tuple(spent.mandate for spent in document.spent),
        next_due=due,
    )


def _failure_class(outcome: Outcome, row: OrderRow) -> str:
    """Success is the release running, never what an order was meant to do."""
    if outcome.klass:
        return outcome.klass
    if outcome.result == "confirmed" and outcome.running.release != row.release:
        return "silent-revert"
    if outcome.result == "cancelled":
        return "deferred"  # taken back before it did anything: it may come again
    return "" if outcome.result == "confirmed" else "health"


def _false_report(device: str, why: str) -> DeviceError:
    return DeviceError(why, code="E_REPORT", place=device, remedy="Look at the device: what it says cannot be true.")
