"""What a pass writes into the ledger, as functions from wire values and decisions to changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from fwctl.fleet.interface import printable
from fwctl.fleet.outcomes import verify_outcome
from fwctl.reconcile.commit import Prepared
from fwctl.rollouts.actions import MoveWave
from fwctl.rollouts.plan import Wave
from fwctl.state import (
    Change,
    DeviceSeen,
    Ledger,
    OrderIntended,
    OrderMoved,
    OrderRow,
    OrderStatus,
    OutcomeReceived,
    RolloutMoved,
    RolloutState,
    WaveMoved,
    WaveState,
)
from fwctl_agent.protocol.messages import DeviceDocument
from fwctl_agent.protocol.statements import FollowUp, Order, Outcome


def seen(document: DeviceDocument, now: datetime, *, due: datetime | None = None) -> DeviceSeen:
    """Return the observation of a device."""
    running = document.running
    return DeviceSeen(
        at=now,
        device=document.id,
        running_release=running.release or "",
        running_image=running.image,
        running_version=running.version,
        running_mandate=running.mandate or "",
        state=document.state,
        document=_kept(document),
        counter=document.counter,
        spent=tuple(spent.mandate for spent in document.spent),
        next_due=due,
    )


def _kept(document: DeviceDocument) -> dict[str, Any]:
    """Return a document as the ledger keeps it: an order that it proves may name an address with a token in it."""
    return document.to_wire() | {"highestOrders": []}


def seen_by_outcome(outcome: Outcome, said: Mapping[str, Any], now: datetime) -> DeviceSeen:
    """Return the observation that a signed outcome is (confirmed, staged): asking once more costs a request per device.

    `said` is the device's last document; what the outcome says replaces its part.
    """
    running = outcome.running
    return DeviceSeen(
        at=now,
        device=outcome.device,
        running_release=running.release or "",
        running_image=running.image,
        running_version=running.version,
        running_mandate=running.mandate or "",
        state=outcome.result,
        document={
            **said,
            "highestOrders": [],
            "running": running.to_wire(),
            "slots": [slot.to_wire() for slot in outcome.slots],
            "state": outcome.result,
            "counter": outcome.counter,
        },
        counter=outcome.counter,
        spent=tuple(spent["mandate"] for spent in said.get("spent", ())),
    )


def intent(
    order: Order, envelope: Mapping[str, Any], *, rollout: str, wave: Wave, reason: str, now: datetime
) -> OrderIntended:
    """Return the intent, to be durable before the order's first byte leaves."""
    return OrderIntended(
        at=now,
        order=order.id,
        device=order.device,
        rollout=rollout,
        mandate=order.mandate,
        verb=order.verb,
        release=order.release,
        attempt=order.attempt,
        stage=wave.stage,
        wave=wave.name,
        refers_to=order.refers_to if isinstance(order, FollowUp) else "",
        body=envelope,
        due_at=now,
        reason=reason,
    )


def received(
    ledger: Ledger, envelope: dict[str, Any], *, certificate: str, device: str, repo_id: str, now: datetime
) -> tuple[Outcome, list[Change]]:
    """Return a verified outcome and what it changes.

    Raises:
        DeviceError: `E_REPORT` if it is not signed by the key of the device's certificate.
    """
    outcome = verify_outcome(envelope, certificate, device, repo_id)
    row = OutcomeReceived(
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
    return outcome, [row, *settled(ledger.order(outcome.order), outcome, now)]


def cut_off(
    ledger: Ledger, row: OrderRow | None, outcome: Outcome, now: datetime, *, but: Collection[str]
) -> list[Change]:
    """Return the end of what was sent to go on with an install order that ends by this outcome; `but` end by their own.

    A device that never answers to it (it went back meanwhile, another plan came) would have it under way for ever.
    """
    if row is None or row.verb != "install" or outcome.result == "staged" or not settled(row, outcome, now):
        return []
    if row.status is not OrderStatus.SWITCHING and outcome.order != row.id:
        return []  # its confirm has brought the outcome
    return [change for one in _going_on(ledger, row) if one.id not in but for change in settled(one, outcome, now)]


def _going_on(ledger: Ledger, install: OrderRow) -> list[OrderRow]:
    """Return the orders that were sent to go on with an install order, and are not over."""
    orders = ledger.orders_of(install.mandate, [install.device])
    sent = (one for one in orders if one.refers_to == install.id and one.verb in ("activate", "confirm"))
    return [one for one in sent if one.status is not OrderStatus.SETTLED]


def settled(row: OrderRow | None, outcome: Outcome, now: datetime) -> list[Change]:
    """Return the end of an order by this outcome, or that it is staged; nothing if it is not ours, or over already."""
    if row is None or row.device != outcome.device or row.mandate != outcome.mandate:
        return []
    if row.status is OrderStatus.SETTLED:
        return []
    if outcome.result == "staged":
        known = row.verb != "install" or row.status in (OrderStatus.STAGED, OrderStatus.SWITCHING)
        return [] if known else [OrderMoved(at=now, order=row.id, status=OrderStatus.STAGED, reason="staged")]
    return [
        OrderMoved(
            at=now,
            order=row.id,
            status=OrderStatus.SETTLED,
            failure_class=_failure_class(outcome, row),
            code=outcome.code or "",
            reason=_reason(outcome),
        )
    ]


def _reason(outcome: Outcome) -> str:
    """Return how it ended; where the image could not be fetched, with the storage's name as the device tells it."""
    told = " ".join(one.detail for one in outcome.evidence if one.probe == "download")
    return printable(f"{outcome.result}: {told}") if outcome.klass == "download" and told else outcome.result


def without_outcome(ledger: Ledger, order: str, *, code: str, reason: str, now: datetime) -> list[Change]:
    """Return the end of an install order of which no outcome tells, or none that one can believe; nothing if it is
    over already."""
    row = ledger.order(order)
    if row is None or row.verb != "install" or row.status is OrderStatus.SETTLED:
        return []
    return [
        OrderMoved(
            at=now,
            order=one.id,
            status=OrderStatus.SETTLED,
            failure_class="unreachable",
            code=code,
            reason=reason,
        )
        for one in (row, *_going_on(ledger, row))
    ]


def _failure_class(outcome: Outcome, row: OrderRow) -> str:
    """Success is the release running, never what an order was meant to do; of a way back, that it was gone."""
    if row.verb in ("revert", "cancel"):
        return "" if outcome.result in ("reverted", "cancelled") else (outcome.klass or "install")
    if outcome.klass:
        return outcome.klass
    if outcome.result in ("cancelled", "reverted"):
        return "deferred"  # taken back by an order before it had ended: no failure of the device
    if outcome.result == "confirmed":
        return "" if outcome.running.release == row.release else "silent-revert"
    return "health"


def moved(
    prepared: Prepared,
    commit: str,
    state: RolloutState,
    reason: str,
    now: datetime,
    *,
    rule: str = "",
    keeps: bool = False,
) -> RolloutMoved:
    """Return that a rollout stands at `state` now."""
    return RolloutMoved(
        at=now,
        rollout=prepared.key,
        mandate=prepared.mandate.id if prepared.mandate else "",
        commit=commit,
        state=state,
        reason=reason,
        rule=rule,
        round=prepared.plan.spec.round,
        keeps=keeps,
    )


def wave_moved(prepared: Prepared, action: MoveWave, now: datetime) -> WaveMoved:
    """Return what was decided about a wave."""
    mandate = prepared.mandate.id if prepared.mandate else ""
    state, reason = WaveState(action.state), action.reason
    return WaveMoved(at=now, rollout=prepared.key, mandate=mandate, wave=action.wave, state=state, reason=reason)
