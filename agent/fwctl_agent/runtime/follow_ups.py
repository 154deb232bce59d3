"""Activate, confirm, revert, cancel: what each one may do to the order it refers to. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.statements import FollowUp
from fwctl_agent.runtime import machine
from fwctl_agent.runtime.job import Job
from fwctl_agent.runtime.machine import Change
from fwctl_agent.runtime.ports import Moment
from fwctl_agent.runtime.record import Record
from fwctl_agent.trust.verifier import AcceptedFollowUp

_BEFORE_TRIAL = ("accepted", "downloading", "verified", "staged")


def accept_follow_up(
    record: Record, accepted: AcceptedFollowUp, envelope: dict[str, Any], *, switched: bool, now: Moment
) -> Change:
    """Return the change that the order makes; `switched` says whether the boot pointer has left the old slot.

    Raises:
        Refusal: `E_REFERS_TO`, `E_NOT_READY` (deferred), `E_ENDED` (resync), or one of revert's own.
    """
    order = accepted.order
    job = _referred(record, order)
    record = machine.mark_order(record, order.mandate, order.verb, order.attempt)
    record = machine.mark_epoch(record, accepted.order_key, order.epoch, envelope)
    match order.verb:
        case "activate":
            return _activate(record, job, order, now)
        case "confirm":
            return _confirm(record, job, order)
        case "revert":
            return _revert(record, job, order, now)
        case "cancel":
            return _cancel(record, job, order, switched=switched)


def _referred(record: Record, order: FollowUp) -> Job:
    job = record.job
    if job is None or (job.order.id, job.order.mandate, job.order.release) != (
        order.refers_to,
        order.mandate,
        order.release,
    ):
        raise Refusal("E_REFERS_TO", "this device is at another order; ask for its document", klass="resync")
    return job


def _activate(record: Record, job: Job, order: FollowUp, now: Moment) -> Change:
    again = job.state == "reverted" and job.reason == "unconfirmed"
    if job.state in ("accepted", "downloading", "verified"):
        raise _not_ready(job)
    if not job.held and not again:
        raise _ended(job)
    if job.activations >= machine.MAX_ACTIVATIONS:
        raise Refusal("E_ACTIVATIONS", "the slot was activated again once already")
    if record.slot(job.slot).image != job.image:
        raise Refusal("E_NOT_STAGED", "the slot no longer holds this image", klass="resync")
    job = replace(
        job,
        state="staged",
        since=now,
        activating=True,
        activations=job.activations + 1,
        also=(order.id,),
        reason=None,
        code=None,
    )
    return Change(replace(record, job=job))


def _confirm(record: Record, job: Job, order: FollowUp) -> Change:
    """A confirm may arrive while the probes still run: it counts once they are good."""
    if job.state in _BEFORE_TRIAL:
        raise _not_ready(job)
    if job.state != "trial" or job.confirm is not None:
        raise _ended(job)
    return Change(replace(record, job=replace(job, confirm=order.id, also=(*job.also, order.id))))


def _revert(record: Record, job: Job, order: FollowUp, now: Moment) -> Change:
    if job.state in _BEFORE_TRIAL:
        raise _not_ready(job)
    if any(spent.mandate == job.order.mandate for spent in record.spent):
        raise Refusal("E_ORDER_REPLAY", "this mandate was taken back on this device already", klass="resync")
    if job.state in ("reverted", "failed"):
        # The old image runs already; what is left is that the mandate must not come back.
        return machine.end(machine.spend(record, job.order.mandate), "reverted", "reverted", orders=(order.id,))
    if job.state == "reverting":
        raise _ended(job)
    job = replace(job, back=_way_back(record, job), also=(*job.also, order.id))
    return machine.begin_revert(replace(record, job=job), "ordered", None, now=now)


def _way_back(record: Record, job: Job) -> str:
    """Return the slot with the image that ran when this mandate was first installed (CONTRACTS, Revert)."""
    if job.rollback != "allowed":
        raise Refusal("E_ROLLBACK_FORBIDDEN", "the approvals forbid the way back")
    if job.origin.running.mandate == job.order.mandate:
        # Adopted again after another order used the other slot: what ran before this mandate is gone.
        raise Refusal("E_NO_WAY_BACK", "the image that ran before this mandate is no longer on this device")
    if job.origin.security_version < record.floor:
        raise Refusal("E_ROLLBACK_FLOOR", f"the image before lies below the stored floor {record.floor}")
    if any(spent.mandate == job.origin.running.mandate for spent in record.spent):
        raise Refusal("E_ORDER_REPLAY", "the image before comes from a mandate that was taken back itself")
    for slot in record.slots:
        same = slot.image is not None and slot.image.running.image == job.origin.running.image
        if same and (slot.name != job.slot or job.slot == record.current == job.back):
            return slot.name
    raise Refusal("E_NO_WAY_BACK", "the image that ran before this mandate is no longer on this device")


def _cancel(record: Record, job: Job, order: FollowUp, *, switched: bool) -> Change:
    if job.state not in _BEFORE_TRIAL or (job.activating and switched):
        raise _ended(job)
    slots = tuple(replace(slot, writing=False) if slot.name == job.slot else slot for slot in record.slots)
    record = replace(record, slots=slots, job=replace(job, also=(*job.also, order.id)))
    change = machine.end(record, "cancelled", "idle")
    return replace(change, record=replace(change.record, job=None))


def _not_ready(job: Job) -> Refusal:
    return Refusal("E_NOT_READY", f"the install order is {job.state}", klass="deferred")


def _ended(job: Job) -> Refusal:
    return Refusal("E_ENDED", f"the install order is {job.state}; ask for its outcome", klass="resync")
