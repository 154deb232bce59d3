"""One order, from its first byte to its end: send, deliver the image, confirm, record. It follows, it never decides.

The order of the writes is the safety: an intent is durable before its first byte leaves, an outcome before anything
follows from it. Every loop is bounded by steps and by patience; what is not over then gets a due time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from fwctl.errors import DeviceError
from fwctl.fleet.interface import DeviceLink
from fwctl.reconcile import records
from fwctl.reconcile.believing import check_running, document_of
from fwctl.reconcile.commit import Prepared
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.rollouts.decide import DEFER_AGAIN
from fwctl.rollouts.plan import Wave
from fwctl.state import Change, DeviceDeferred, OrderMoved, OrderStatus
from fwctl_agent.protocol.messages import BusyReply, DeviceDocument, OrderReply, OrderRequest, RefusedReply
from fwctl_agent.protocol.statements import ORDER, FollowVerb, InstallOrder, Order, Outcome, Pull, order_from_wire
from fwctl_agent.trust.addresses import without_query
from fwctl_agent.trust.envelope import Sealed

POLL_SECONDS: Final = 10
MAX_STEPS: Final = 200
PATIENCE: Final = timedelta(seconds=60)
"""how long one visit keeps its connection while the device works; then a due time takes its place"""
AGAIN: Final = timedelta(seconds=5)
ROUNDED: Final = timedelta(seconds=1)
"""the ledger keeps whole seconds: a device that restarts would be looked for up to one too early, in vain"""

Reply = OrderReply | RefusedReply | BusyReply


@dataclass(frozen=True)
class Subject:
    """Which rollout and wave the orders of an exchange belong to. `prepared` is needed to install, not to end."""

    rollout: str
    repo_id: str
    wave: Wave
    prepared: Prepared | None = None

    @property
    def plan(self) -> Prepared:
        if self.prepared is None:
            raise TypeError("what no commit wants any more is not installed")
        return self.prepared


class Exchange:
    """Talks to one device about one rollout's orders, over one link."""

    def __init__(
        self, tools: Tools, recorder: Recorder, subject: Subject, link: DeviceLink, document: DeviceDocument
    ) -> None:
        self._tools = tools
        self._recorder = recorder
        self._subject = subject
        self._link = link
        self._document = document

    async def drive(self, order: InstallOrder, reason: str) -> None:
        """Follow an install order until it ends, or until the device needs time without us."""
        start = self._tools.clock()
        request = OrderRequest(
            order=await self._tools.pen.sign(order),
            approvals=self._subject.plan.approvals,
            releases=self._subject.plan.releases,
            trust=await self._tools.freshness.bundle(self._document, start),
        )
        reply = await self._send(order, request, reason)
        self._tell("ordered", reason)
        for _ in range(MAX_STEPS):
            now = self._tools.clock()
            match reply:
                case RefusedReply():
                    return await self._refused(order, reply, now)
                case BusyReply():
                    return await self._make_way(order, reply.running, now)
                case OrderReply(outcome=envelope) if envelope is not None:
                    return await self._ended(order, envelope)
                case OrderReply(resume_after=seconds) if seconds is not None:
                    due = now + timedelta(seconds=max(1, seconds)) + ROUNDED
                    return await self._wait(order, due, f"{reply.state}: it restarts", accepted=True)
                case OrderReply() if now - start > PATIENCE:
                    break
                case OrderReply():
                    reply = await self._follow(order, reply)
        return await self._wait(order, self._tools.clock() + AGAIN, "it works on it", accepted=True)

    async def take_back(self, install: str, reason: str) -> None:
        """Revert what an install order brought, or cancel it where the device has not switched yet.

        What to do follows from what the device says; a device that knows nothing of the order has nothing to give back.
        """
        now, body = self._tools.clock(), self._tools.ledger.order_body(install)
        order = read_order(body) if body is not None else None
        if not isinstance(order, InstallOrder):
            raise TypeError("what is taken back was ordered")
        document = self._document
        running = document.running.mandate == order.mandate
        if document.order != install and not running:
            row = self._tools.ledger.order(install)
            open_ = row is not None and row.status is not OrderStatus.SETTLED
            return await self._recorder.write(*([_never_arrived(install, now)] if open_ else []))
        early = document.order == install and document.state in ("accepted", "downloading", "verified", "staged")
        verb: FollowVerb = "cancel" if early else "revert"
        reply = await self._follow_up(verb, order, reason)
        return await self._taken_back(verb, order, reply)

    async def finish(self, order: InstallOrder) -> None:
        """Bring an order that no commit wants any more to its end (R16): a trial is kept, the rest is cancelled."""
        if self._document.order != order.id:
            row = self._tools.ledger.order(order.id)
            if row is not None and row.status is not OrderStatus.SETTLED:
                await self._recorder.write(_never_arrived(order.id, self._tools.clock()))
            return
        verb: FollowVerb = "confirm" if self._document.state == "trial" else "cancel"
        reply = await self._follow_up(verb, order, f"{verb} what an earlier plan began")
        await self._taken_back(verb, order, reply)

    async def _taken_back(self, verb: FollowVerb, install: InstallOrder, reply: Reply) -> None:
        now = self._tools.clock()
        order = self._tools.pen.orders.follow_up(verb, install, attempt=install.attempt, now=now)
        if isinstance(reply, OrderReply) and reply.outcome is not None:
            outcome = await self._record(reply.outcome, also=install.id)
            await self._recorder.write(
                records.seen(await document_of(self._link, self._tools.state), self._tools.clock())
            )
            return self._tell(outcome.result, f"runs {outcome.running.version}")
        if isinstance(reply, RefusedReply) and reply.klass == "refused":
            return await self._refused(order, reply, now)
        waits = reply.resume_after if isinstance(reply, OrderReply) else None
        due = now + (timedelta(seconds=waits) + ROUNDED if waits else AGAIN)
        return await self._wait(order, due, f"{verb}: {_said(reply)}", accepted=isinstance(reply, OrderReply))

    async def _follow(self, order: InstallOrder, reply: OrderReply) -> Reply:
        if reply.offset is not None:
            return await self._push(order, reply.offset)
        if reply.state == "trial":
            return await self._confirm(order)
        polled = await self._link.order(order.id, wait=POLL_SECONDS)
        return polled or RefusedReply("resync", "E_UNKNOWN_ORDER", "the device forgot the order")

    async def _send(self, order: Order, request: OrderRequest, reason: str) -> Reply:
        now, row = self._tools.clock(), self._tools.ledger.order(order.id)
        kept = self._without_secret(order)
        changes: list[Change] = [
            records.intent(
                order,
                request.order if kept is order else await self._tools.pen.sign(kept),
                rollout=self._subject.rollout,
                wave=self._subject.wave,
                reason=reason,
                now=now,
            )
        ]
        if row is None or row.status is OrderStatus.INTENDED:
            # Written with the intent, because from the first byte on nobody knows whether it arrived (R05).
            changes.append(OrderMoved(at=now, order=order.id, status=OrderStatus.SENT, reason=reason))
        await self._recorder.write(*changes)
        return await self._link.put_order(order.id, request.to_bytes())

    @staticmethod
    def _without_secret(order: Order) -> Order:
        """Return the order as the ledger keeps it: the same id, and no token in the address of the image."""
        if not isinstance(order, InstallOrder) or not isinstance(order.delivery, Pull):
            return order
        plain = without_query(order.delivery.url)
        return order if plain == order.delivery.url else replace(order, delivery=Pull(plain))

    async def _push(self, order: InstallOrder, offset: int) -> Reply:
        release, now = self._subject.plan.plan.release, self._tools.clock()
        await self._recorder.write(OrderMoved(at=now, order=order.id, status=OrderStatus.RUNNING, reason="downloading"))
        self._tell("downloading", f"from byte {offset} of {release.length}")
        async with self._tools.images.source(release.image, release.length) as source:
            return await self._link.put_image(order.id, source, offset=offset, total=release.length)

    async def _confirm(self, install: InstallOrder) -> Reply:
        """Second phase: the device runs the new image and has been reached on it, so it may keep it."""
        reply = await self._follow_up("confirm", install, "reached on the new firmware")
        self._tell("confirming", "reached on the new firmware")
        if isinstance(reply, OrderReply):
            return reply
        # Its probes still run, or it has just gone back: the install order's own state tells.
        await asyncio.sleep(0.2)
        polled = await self._link.order(install.id, wait=POLL_SECONDS)
        return polled or reply

    async def _follow_up(self, verb: FollowVerb, install: InstallOrder, reason: str) -> Reply:
        """Send an order about an earlier one and poll it while the device works on it."""
        start = self._tools.clock()
        order = self._tools.pen.orders.follow_up(verb, install, attempt=install.attempt, now=start)
        request = OrderRequest(order=await self._tools.pen.sign(order), approvals=(), releases=(), trust={})
        reply = await self._send(order, request, reason)
        for _ in range(MAX_STEPS):
            over = not isinstance(reply, OrderReply) or reply.outcome is not None or reply.resume_after is not None
            if over or self._tools.clock() - start > PATIENCE:
                break
            polled = await self._link.order(order.id, wait=POLL_SECONDS)
            if polled is None:
                break
            reply = polled
        return reply

    async def _make_way(self, order: InstallOrder, running: str, now: datetime) -> None:
        """Another of our orders runs there: a trial is finished, what has not switched yet is cancelled (R16)."""
        body, why = self._tools.ledger.order_body(running), f"busy with order {running[:19]}"
        if body is not None:
            old, at = read_order(body), await self._link.order(running)
            if isinstance(old, InstallOrder) and at is not None and at.outcome is None:
                verb: FollowVerb = "confirm" if at.state == "trial" else "cancel"
                reply = await self._follow_up(verb, old, f"{verb} what an earlier plan began")
                if isinstance(reply, OrderReply) and reply.outcome is not None:
                    await self._record(reply.outcome, also=old.id)
                now, why = self._tools.clock(), f"{verb} of an earlier order came first"
        await self._wait(order, now + AGAIN, why)

    async def _ended(self, order: InstallOrder, envelope: dict[str, Any]) -> None:
        outcome = await self._record(envelope, also=order.id)
        if outcome.result != "confirmed":
            await self._recorder.write(
                records.seen(await document_of(self._link, self._tools.state), self._tools.clock())
            )
        what = f"failed ({outcome.klass})" if outcome.result == "failed" else outcome.result
        self._tell(what, outcome.code or f"runs {outcome.running.version}")
        self._tools.images.blame(self._subject.rollout, outcome)

    async def _look_again(self) -> None:
        document = await document_of(self._link, self._tools.state)
        await self._recorder.write(records.seen(document, self._tools.clock()))

    async def _record(self, envelope: dict[str, Any], *, also: str) -> Outcome:
        """Write a signed outcome; the order `also` ends by it too (a confirm ends its install order)."""
        now, device = self._tools.clock(), self._document.id
        try:
            outcome, changes = records.received(
                self._tools.ledger,
                envelope,
                certificate=self._link.peer_certificate or "",
                device=device,
                repo_id=self._subject.repo_id,
                now=now,
            )
            check_running(outcome.running, self._tools.state, device)
        except DeviceError as error:
            # It says that the order is over and does not prove how: this attempt is over, so that attempts can end.
            await self._recorder.write(*records.unproved(self._tools.ledger, also, error, now))
            raise
        row = self._tools.ledger.order(also)
        if row is None or row.mandate != outcome.mandate:
            raise DeviceError(
                "the outcome belongs to another mandate than the order",
                code="E_REPORT",
                place=device,
                remedy="Look at the device: what it says cannot be true.",
            )
        more = records.settled(row, outcome, now) if outcome.order != also else []
        if outcome.result == "confirmed":
            # In the same commit: confirmed beside an older observation would read as a silent revert after a kill.
            more.append(records.seen_by_outcome(outcome, self._document.to_wire(), now))
        await self._recorder.write(*changes, *more)
        return outcome

    async def _refused(self, order: Order, reply: RefusedReply, now: datetime) -> None:
        why = f"{reply.code}: {reply.message}"
        if reply.klass == "deferred" and isinstance(order, InstallOrder):
            due = now + DEFER_AGAIN
            await self._recorder.write(DeviceDeferred(at=now, device=order.device, reason=why, next_due=due))
            return await self._wait(order, due, f"deferred: {why}")
        if reply.klass != "refused":
            return await self._wait(order, now + AGAIN, f"{reply.klass}: {why}")
        await self._recorder.write(
            OrderMoved(
                at=now,
                order=order.id,
                status=OrderStatus.SETTLED,
                failure_class="refused",
                code=reply.code,
                reason=reply.message,
            )
        )
        return self._tell("refused", why)

    async def _wait(self, order: Order, due: datetime, reason: str, *, accepted: bool = False) -> None:
        row = self._tools.ledger.order(order.id)
        status = row.status if row else OrderStatus.SENT
        if accepted and status in (OrderStatus.INTENDED, OrderStatus.SENT):
            status = OrderStatus.ACCEPTED
        await self._recorder.write(
            OrderMoved(at=self._tools.clock(), order=order.id, status=status, reason=reason, due_at=due)
        )
        self._tell("waiting", reason)

    def _tell(self, what: str, reason: str) -> None:
        self._tools.watcher.progressed(self._subject.rollout, self._document.id, what, reason)


def _never_arrived(order: str, now: datetime) -> OrderMoved:
    return OrderMoved(
        at=now,
        order=order,
        status=OrderStatus.SETTLED,
        failure_class="unreachable",
        code="E_NEVER_ARRIVED",
        reason="it was withdrawn before it arrived",
    )


def _said(reply: Reply) -> str:
    match reply:
        case RefusedReply():
            return f"{reply.code}: {reply.message}"
        case BusyReply():
            return f"busy with {reply.running[:19]}"
        case OrderReply():
            return reply.state


def read_order(envelope: dict[str, Any]) -> Order:
    """Return an order from the envelope that the ledger keeps."""
    return order_from_wire(Sealed.open(envelope, ORDER).statement())
