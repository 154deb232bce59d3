"""What became of orders, written down: outcomes, refusals, waiting. An outcome is durable before anything follows."""

from __future__ import annotations

from dataclasses import dataclass
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
from fwctl.state import DeviceDeferred, OrderMoved, OrderStatus
from fwctl_agent.protocol.messages import DeviceDocument, RefusedReply
from fwctl_agent.protocol.statements import InstallOrder, Order, Outcome

AGAIN: Final = timedelta(seconds=5)


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


class Account:
    """Writes down what becomes of one device's orders of one rollout."""

    def __init__(
        self, tools: Tools, recorder: Recorder, subject: Subject, link: DeviceLink, document: DeviceDocument
    ) -> None:
        self._tools = tools
        self._recorder = recorder
        self._subject = subject
        self._link = link
        self._document = document

    async def ended(self, order: InstallOrder, envelope: dict[str, Any], *, with_it: str = "") -> None:
        """Write the outcome of an install order, and what the device runs then."""
        outcome = await self.record(envelope, also=order.id, with_it=with_it)
        if outcome.result not in ("confirmed", "staged"):
            await self.look_again()
        what = f"failed ({outcome.klass})" if outcome.result == "failed" else outcome.result
        self.tell(what, outcome.code or f"runs {outcome.running.version}")
        self._tools.images.blame(self._subject.rollout, outcome)

    async def record(self, envelope: dict[str, Any], *, also: str, with_it: str = "") -> Outcome:
        """Write a signed outcome; the order `also` ends by it too (a confirm ends its install order), and `with_it`."""
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
            told = {"code": error.code, "reason": error.message}
            await self._recorder.write(*records.without_outcome(self._tools.ledger, also, **told, now=now))
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
        more += records.cut_off(self._tools.ledger, row, outcome, now, but={outcome.order, with_it})
        if with_it and outcome.order != with_it:
            more += records.settled(self._tools.ledger.order(with_it), outcome, now)
        if outcome.result in ("confirmed", "staged"):
            # In the same commit: confirmed beside an older observation would read as a silent revert after a kill.
            more.append(records.seen_by_outcome(outcome, self._document.to_wire(), now))
        await self._recorder.write(*changes, *more)
        return outcome

    async def refused(self, order: Order, reply: RefusedReply, now: datetime) -> None:
        """Write that the device refused: for good, until its facts are others, or for a moment."""
        why = f"{reply.code}: {reply.message}"
        if reply.klass == "deferred" and isinstance(order, InstallOrder):
            due = now + DEFER_AGAIN
            await self._recorder.write(DeviceDeferred(at=now, device=order.device, reason=why, next_due=due))
            return await self.wait(order, due, f"deferred: {why}")
        if reply.klass != "refused":
            return await self.wait(order, now + AGAIN, f"{reply.klass}: {why}")
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
        return self.tell("refused", why)

    async def wait(self, order: Order, due: datetime, reason: str, *, accepted: bool = False) -> None:
        """Write when to come back to an order; `accepted`: the device has it."""
        row = self._tools.ledger.order(order.id)
        status = row.status if row else OrderStatus.SENT
        if accepted and status in (OrderStatus.INTENDED, OrderStatus.SENT):
            status = OrderStatus.ACCEPTED
        await self._recorder.write(
            OrderMoved(at=self._tools.clock(), order=order.id, status=status, reason=reason, due_at=due)
        )
        self.tell("waiting", reason)

    def tell(self, what: str, reason: str) -> None:
        """Tell those who watch."""
        self._tools.watcher.progressed(self._subject.rollout, self._document.id, what, reason)

    async def look_again(self) -> None:
        """Ask the device anew what it runs, and write that down."""
        document = await document_of(self._link, self._tools.state)
        await self._recorder.write(records.seen(document, self._tools.clock()))

    async def never_arrived(self, order: str, now: datetime) -> None:
        """Write the end of an order that the device knows nothing of; nothing if it is over already."""
        why = "it was withdrawn before it arrived"
        changes = records.without_outcome(self._tools.ledger, order, code="E_NEVER_ARRIVED", reason=why, now=now)
        return await self._recorder.write(*changes)
