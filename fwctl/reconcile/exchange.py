"""One order, from its first byte to its end: send, deliver the image, confirm, record. It follows, it never decides.

The order of the writes is the safety: an intent is durable before its first byte leaves, an outcome before anything
follows from it. Every loop is bounded by steps and by patience; what is not over then gets a due time.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from fwctl.fleet.interface import DeviceLink
from fwctl.reconcile import records
from fwctl.reconcile.account import AGAIN, Account, Subject
from fwctl.reconcile.kept import kept_install, kept_order, without_secret
from fwctl.reconcile.rebuilding import rebuilt
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.state import Change, OrderMoved, OrderStatus
from fwctl_agent.protocol.messages import BusyReply, DeviceDocument, OrderReply, OrderRequest, RefusedReply
from fwctl_agent.protocol.statements import FollowVerb, InstallOrder, Order

if TYPE_CHECKING:
    from fwctl.trust.signing import Installing

POLL_SECONDS: Final = 10
MAX_STEPS: Final = 200
PATIENCE: Final = timedelta(seconds=60)
"""how long one visit keeps its connection while the device works; then a due time takes its place"""
ROUNDED: Final = timedelta(seconds=1)
"""the ledger keeps whole seconds: a device that restarts would be looked for up to one too early, in vain"""

Reply = OrderReply | RefusedReply | BusyReply


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
        self._account = Account(tools, recorder, subject, link, document)

    async def drive(self, order: InstallOrder, reason: str) -> None:
        """Follow an install order until it ends, or until the device needs time without us."""
        start = self._tools.clock()
        request = OrderRequest(
            order=await self._tools.pen.sign(order),
            approvals=self._subject.plan.approvals,
            releases=self._subject.plan.statements(order.release),
            trust=await self._tools.freshness.bundle(self._document, start),
        )
        reply = await self._send(order, request, reason)
        self._account.tell("ordered", reason)
        await self._to_the_end(order, reply, start)

    async def activate(self, install: InstallOrder, reason: str) -> None:
        """Order a device to switch to what an install order has staged, and follow it as any install order.

        The device judges withdrawal and floor by the trust that comes along, and hashes the slot again before it flips.
        """
        start = self._tools.clock()
        order = self._tools.pen.orders.follow_up("activate", install, attempt=install.attempt, now=start)
        trust = await self._tools.freshness.bundle(self._document, start)
        request = OrderRequest(order=await self._tools.pen.sign(order), approvals=(), releases=(), trust=trust)
        # From here on it is under way and has a place, whatever becomes of the connection.
        begun = OrderMoved(at=start, order=install.id, status=OrderStatus.SWITCHING, reason=reason)
        reply = await self._send(order, request, reason, begun)
        self._account.tell("switching", reason)
        if isinstance(reply, RefusedReply):
            return await self._not_switched(install, order, reply)
        return await self._to_the_end(install, reply, start, switch=order.id)

    async def _not_switched(self, install: InstallOrder, order: Order, reply: RefusedReply) -> None:
        """Write that a device does not switch: refused for good is the end of the install order, too."""
        now = self._tools.clock()
        await self._account.refused(order, reply, now)
        if reply.klass == "refused":
            return await self._account.refused(install, reply, now)
        if reply.code == "E_NOT_STAGED":  # what it held is gone: it stages again
            return await self._taken_back("cancel", install, await self._follow_up("cancel", install, reply.message))
        return await self._account.wait(install, now + AGAIN, f"{reply.code}: {reply.message}", accepted=True)

    async def _to_the_end(self, order: InstallOrder, reply: Reply, start: datetime, *, switch: str = "") -> None:
        for _ in range(MAX_STEPS):
            now = self._tools.clock()
            match reply:
                case RefusedReply():
                    return await self._account.refused(order, reply, now)
                case BusyReply():
                    return await self._make_way(order, reply.running, now)
                case OrderReply(outcome=envelope) if envelope is not None:
                    return await self._account.ended(order, envelope, with_it=switch)
                case OrderReply(resume_after=seconds) if seconds is not None:
                    due = now + timedelta(seconds=max(1, seconds)) + ROUNDED
                    return await self._account.wait(order, due, f"{reply.state}: it restarts", accepted=True)
                case OrderReply() if now - start > PATIENCE:
                    break
                case OrderReply():
                    reply = await self._follow(order, reply)
        return await self._account.wait(order, self._tools.clock() + AGAIN, "it works on it", accepted=True)

    async def take_back(self, install: str, reason: str) -> None:
        """Revert what an install order brought, or cancel it where the device has not switched yet.

        What to do follows from what the device says; a device that knows nothing of the order has nothing to give back.
        """
        now, order, document = self._tools.clock(), kept_install(self._tools.ledger, install), self._document
        running = document.running.mandate == order.mandate
        if document.order != install and not running:
            return await self._account.never_arrived(install, now)
        early = document.order == install and document.state in ("accepted", "downloading", "verified", "staged")
        verb: FollowVerb = "cancel" if early else "revert"
        reply = await self._follow_up(verb, order, reason)
        return await self._taken_back(verb, order, reply)

    async def finish(self, order: InstallOrder) -> None:
        """Bring an order that no commit wants any more to its end (R16): a trial is kept, the rest is cancelled."""
        if self._document.order != order.id:
            return await self._account.never_arrived(order.id, self._tools.clock())
        verb: FollowVerb = "confirm" if self._document.state == "trial" else "cancel"
        reply = await self._follow_up(verb, order, f"{verb} what an earlier plan began")
        return await self._taken_back(verb, order, reply)

    async def _taken_back(self, verb: FollowVerb, install: InstallOrder, reply: Reply) -> None:
        now = self._tools.clock()
        order = self._tools.pen.orders.follow_up(verb, install, attempt=install.attempt, now=now)
        if isinstance(reply, OrderReply) and reply.outcome is not None:
            outcome = await self._account.record(reply.outcome, also=install.id)
            await self._account.look_again()
            return self._account.tell(outcome.result, f"runs {outcome.running.version}")
        if isinstance(reply, RefusedReply) and reply.klass == "refused":
            return await self._account.refused(order, reply, now)
        waits = reply.resume_after if isinstance(reply, OrderReply) else None
        due = now + (timedelta(seconds=waits) + ROUNDED if waits else AGAIN)
        return await self._account.wait(order, due, f"{verb}: {_said(reply)}", accepted=isinstance(reply, OrderReply))

    async def _follow(self, order: InstallOrder, reply: OrderReply) -> Reply:
        if reply.offset is not None:
            return await self._push(order, reply.offset)
        if reply.state == "trial":
            return await self._confirm(order)
        polled = await self._link.order(order.id, wait=POLL_SECONDS)
        return polled or RefusedReply("resync", "E_UNKNOWN_ORDER", "the device forgot the order")

    async def _send(self, order: Order, request: OrderRequest, reason: str, *begun: Change) -> Reply:
        now, row = self._tools.clock(), self._tools.ledger.order(order.id)
        kept = without_secret(order)
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
        await self._recorder.write(*changes, *begun)
        return await self._link.put_order(order.id, request.to_bytes())

    async def _push(self, order: InstallOrder, offset: int) -> Reply:
        release, now = self._subject.plan.release(order.release), self._tools.clock()
        await self._recorder.write(OrderMoved(at=now, order=order.id, status=OrderStatus.RUNNING, reason="downloading"))
        self._account.tell("downloading", f"from byte {offset} of {release.length}")
        async with self._tools.images.source(release.image, release.length) as source:
            return await self._link.put_image(order.id, source, offset=offset, total=release.length)

    async def _confirm(self, install: InstallOrder) -> Reply:
        """Second phase: the device runs the new image and has been reached on it, so it may keep it."""
        reply = await self._follow_up("confirm", install, "reached on the new firmware")
        self._account.tell("confirming", "reached on the new firmware")
        if isinstance(reply, OrderReply):
            return reply
        # Its probes still run, or it has just gone back: the install order's own state tells.
        await asyncio.sleep(0.2)
        polled = await self._link.order(install.id, wait=POLL_SECONDS)
        return polled or reply

    async def _follow_up(self, verb: FollowVerb, install: Installing, reason: str) -> Reply:
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
        old, why = (
            self._began(running),
            f"busy with order {running[:19]}, which neither the ledger nor the device tells",
        )
        at = await self._link.order(running) if old is not None else None
        # What is staged has an outcome and still holds its slot.
        if old is not None and at is not None and (at.outcome is None or at.state == "staged"):
            verb: FollowVerb = "confirm" if at.state == "trial" else "cancel"
            reply = await self._follow_up(verb, old, f"{verb} what an earlier plan began")
            now, why = self._tools.clock(), f"{verb} of an earlier order came first"
            if isinstance(reply, OrderReply) and reply.outcome is not None:
                await self._account.record(reply.outcome, also=self._in_ledger(verb, old, now))
        await self._account.wait(order, now + AGAIN, why)

    def _began(self, running: str) -> Installing | None:
        """Return an install order that runs on the device: by the ledger, else by what the device says of itself."""
        kept = kept_order(self._tools.ledger, running)
        if kept is not None:
            return kept if isinstance(kept, InstallOrder) else None
        return rebuilt(self._document, running, self._tools.state.releases(self._document.model))

    def _in_ledger(self, verb: FollowVerb, install: Installing, now: datetime) -> str:
        """Return the order that an outcome ends: the install order, or what was sent about one that was lost."""
        if self._tools.ledger.order(install.id) is not None:
            return install.id
        return self._tools.pen.orders.follow_up(verb, install, attempt=install.attempt, now=now).id


def _said(reply: Reply) -> str:
    match reply:
        case RefusedReply():
            return f"{reply.code}: {reply.message}"
        case BusyReply():
            return f"busy with {reply.running[:19]}"
        case OrderReply():
            return reply.state
