"""The state machine: pure. A record and an event in, the next record and the ended orders out.

It reads no file, no clock and no network. The shell (`runtime.device`) stores every record durably before it acts on
it, and asks `next_step` (`runtime.steps`) what to do: recovery after a crash is the same question asked again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import AttemptMark, Spent, State
from fwctl_agent.protocol.statements import FailureClass, Outcome, Phase, ProbeResult, Result
from fwctl_agent.runtime.images import Slot
from fwctl_agent.runtime.job import MAX_PHASES, Job, Reason
from fwctl_agent.runtime.ports import Moment
from fwctl_agent.runtime.record import MAX_KEYS, MAX_MARKS, MAX_OUTCOMES, Epoch, Record, Stored
from fwctl_agent.trust.verifier import AcceptedInstall

MAX_ACTIVATIONS = 2
_CLASS: dict[Reason, FailureClass | None] = {
    "ordered": None,
    "health": "health",
    "watch": "health",
    "unconfirmed": "unconfirmed",
}


@dataclass(frozen=True)
class Ended:
    """An outcome to sign and store, and the state that the order's reply shows."""

    outcome: Outcome
    state: State


@dataclass(frozen=True)
class Change:
    """The next record, and what ended with it: stored in one journal write."""

    record: Record
    ended: tuple[Ended, ...] = ()


def current_job(record: Record) -> Job:
    if record.job is None:
        raise ValueError("there is no order under way")
    return record.job


def accept_install(record: Record, accepted: AcceptedInstall, envelope: dict[str, Any], *, now: Moment) -> Change:
    """Begin an install order that the verifier accepted; nothing to write if the device already runs its bytes."""
    order, release = accepted.order, accepted.release
    before = record.job
    same = before is not None and before.order.mandate == order.mandate == record.image.running.mandate
    standby = record.standby
    job = Job(
        order=order,
        release=release,
        rollback=accepted.mandate.rollback,
        approved_at=accepted.approved_at,
        state="accepted",
        since=now,
        slot=standby.name,
        back=record.current,
        origin=before.origin if before is not None and same else record.image,
    )
    record = mark_order(record, order.mandate, order.verb, order.attempt)
    record = mark_epoch(record, accepted.order_key, order.epoch, envelope)
    counters = dict(record.release_counters)
    highest = max(counters.pop(release.version, 0), release.release_counter)
    record = replace(
        record,
        release_counters=(*counters.items(), (release.version, highest))[-MAX_MARKS:],
        floor_clock=max(record.floor_clock, accepted.approved_at),
    )
    if record.image.running.image == release.image:
        return _adopt(record, job, now)
    if standby.image is not None and standby.image.running.image == release.image:
        job = replace(job, state="downloading", offset=release.length, reused=True)
    return Change(replace(record, job=job, slots=_with(record, Slot(name=job.slot, image=None, writing=True))))


def _adopt(record: Record, job: Job, now: Moment) -> Change:
    """The bytes run already (a lost ledger, a new round): the mandate is adopted, nothing is written twice."""
    job = replace(job, slot=record.current, state="confirmed", since=now)
    record = replace(record, job=job, slots=_with(record, Slot(name=record.current, image=job.image)))
    return end(record, "confirmed", "confirmed")


def receiving(record: Record, *, offset: int, now: Moment) -> Change:
    """The image arrives; `offset` bytes of it are durable."""
    job = current_job(record)
    job = job if job.state == "downloading" else _enter(job, "downloading", now)
    return Change(replace(record, job=replace(job, offset=offset, starts=0)))


def download_again(record: Record, *, now: Moment) -> Change:
    """The bytes from an earlier attempt turned out to be bad: ask for all of them."""
    job = replace(_enter(current_job(record), "accepted", now), offset=0, reused=False)
    return Change(replace(record, job=job))


def verified(record: Record, *, now: Moment) -> Change:
    return Change(replace(record, job=_enter(current_job(record), "verified", now)))


def staged(record: Record, *, now: Moment) -> Change:
    """The standby slot holds the read-back, re-hashed image. The pointer has not moved."""
    job = current_job(record)
    activate = job.order.activation == "now"
    job = replace(_enter(job, "staged", now), activating=activate, activations=1 if activate else 0)
    record = replace(record, job=job, slots=_with(record, Slot(name=job.slot, image=job.image)))
    return Change(record) if activate else end(record, "staged", "staged")


def on_trial(record: Record, *, now: Moment) -> Change:
    """The new slot runs; probes and confirm are still to come."""
    job = replace(_enter(current_job(record), "trial", now), probes="pending", evidence=())
    return Change(replace(record, job=job, current=job.slot))


def probed(record: Record, ok: bool, evidence: tuple[ProbeResult, ...], *, now: Moment) -> Change:
    """Take the verdict of a round of probes, in trial or in watch."""
    job = replace(current_job(record), evidence=evidence)
    record = replace(record, job=job)
    if ok:
        return Change(replace(record, job=replace(job, probes="good")))
    return begin_revert(record, "watch" if job.watching else "health", "E_PROBE_FAILED", now=now)


def begin_revert(record: Record, reason: Reason, code: str | None, *, now: Moment) -> Change:
    job = replace(_enter(current_job(record), "reverting", now), reason=reason, code=code, watching=False)
    return Change(replace(record, job=job))


def reverted(record: Record, *, now: Moment) -> Change:
    """The image from before runs again. All reasons but `unconfirmed` spend the mandate."""
    job = _enter(current_job(record), "reverted", now)
    job = replace(job, activating=False, confirm=None)
    reason = job.reason or "health"
    slots = record.slots if job.slot != job.back else _with(record, Slot(name=job.back, image=job.origin))
    record = replace(record, job=job, current=job.back, slots=slots)
    if reason != "unconfirmed":
        record = _spend(record, Spent(job.order.mandate, reason))
    return end(record, "reverted", "reverted", klass=_CLASS[reason], code=job.code, evidence=job.evidence)


def confirmed(record: Record, *, floor: int, now: Moment) -> Change:
    """The slot is marked good; the watch begins, or is over at once when it has no length."""
    job = current_job(record)
    watching = job.order.watch > 0
    job = replace(_enter(job, "confirmed", now), watching=watching, activating=False, confirm=None)
    change = end(replace(record, job=job), "confirmed", "confirmed", evidence=job.evidence)
    return change if watching else replace(change, record=raise_floor(change.record, floor))


def watch_over(record: Record, *, floor: int) -> Change:
    job = replace(current_job(record), watching=False)
    return Change(raise_floor(replace(record, job=job), floor))


def raise_floor(record: Record, floor: int) -> Record:
    """Raise the stored floor to the policy's if the running, confirmed image satisfies it (D13), never lower it."""
    if record.image.security_version >= floor:
        return replace(record, floor=max(record.floor, floor))
    return record


def failed(record: Record, klass: FailureClass, code: str, detail: str, *, now: Moment) -> Change:
    """End the order before its trial; the standby slot is void, what runs is untouched."""
    job = _enter(current_job(record), "failed", now)
    job = replace(job, activating=False, code=code, evidence=(ProbeResult(klass, False, detail),))
    record = replace(record, job=job, slots=_with(record, Slot(name=job.slot, image=None)))
    return end(record, "failed", "failed", klass=klass, code=code, evidence=job.evidence)


def end(
    record: Record,
    result: Result,
    state: State,
    *,
    klass: FailureClass | None = None,
    code: str | None = None,
    evidence: tuple[ProbeResult, ...] = (),
    orders: Iterable[str] | None = None,
) -> Change:
    """Write one outcome per order that ends here, each with its own counter (I4)."""
    job = current_job(record)
    ids = (job.order.id, *job.also) if orders is None else tuple(orders)
    ended = tuple(
        Ended(
            Outcome(
                device=record.device,
                repo_id=record.repo_id,
                order=order,
                mandate=job.order.mandate,
                result=result,
                klass=klass,
                code=code,
                running=record.image.running,
                slots=tuple(slot.shown() for slot in record.slots),
                evidence=evidence,
                phases=job.phases,
                counter=record.counter + number,
            ),
            state,
        )
        for number, order in enumerate(ids, start=1)
    )
    job = replace(job, also=()) if orders is None else job
    return Change(replace(record, job=job, counter=record.counter + len(ended)), ended)


def with_outcomes(record: Record, stored: tuple[Stored, ...]) -> Record:
    """Keep the newest outcome of each order, and the newest orders."""
    fresh = {one.order for one in stored}
    kept = tuple(one for one in record.outcomes if one.order not in fresh)
    return replace(record, outcomes=(*kept, *stored)[-MAX_OUTCOMES:])


def started(record: Record, *, limit: int, now: Moment) -> Change:
    """Count a start of the agent: a crash loop before the trial ends the order (D15); a trial is probed again."""
    job = record.job
    if job is None or not job.active or job.held:
        return Change(record)  # a held slot waits for an order, however often the machine starts meanwhile
    if job.state == "trial" and job.confirm is None:
        return Change(replace(record, job=replace(job, probes="pending")))
    if job.state in ("trial", "confirmed", "reverting"):
        return Change(record)
    if job.starts >= limit and job.activating:
        # The pointer may have moved already: only the way back may void the slot.
        return begin_revert(record, "health", "E_RESTARTS", now=now)
    if job.starts >= limit:
        return failed(record, "install", "E_RESTARTS", f"{limit} starts without progress in {job.state}", now=now)
    return Change(replace(record, job=replace(job, starts=job.starts + 1)))


def mark_order(record: Record, mandate: str, verb: str, attempt: int) -> Record:
    kept = tuple(mark for mark in record.marks if (mark.mandate, mark.verb) != (mandate, verb))
    return replace(record, marks=(*kept, AttemptMark(mandate, verb, attempt))[-MAX_MARKS:])


def mark_epoch(record: Record, key: str, epoch: int, envelope: dict[str, Any]) -> Record:
    """Keep the highest epoch of each order key with the signed order that proves it."""
    known = next((one for one in record.epochs if one.key == key), None)
    if known and known.epoch >= epoch:
        return record
    kept = tuple(one for one in record.epochs if one.key != key)
    if len(kept) >= MAX_KEYS:
        # Forgetting one would let its epoch fall (I4); a policy has at most this many keys at a time.
        raise Refusal("E_LIMIT", "too many order keys for this device to remember")
    return replace(record, epochs=(*kept, Epoch(key, epoch, envelope)))


def _spend(record: Record, spent: Spent) -> Record:
    kept = tuple(one for one in record.spent if one.mandate != spent.mandate)
    return replace(record, spent=(*kept, spent)[-MAX_MARKS:])


def spend(record: Record, mandate: str) -> Record:
    return _spend(record, Spent(mandate, "ordered"))


def _enter(job: Job, state: State, now: Moment) -> Job:
    phase = Phase(job.state, job.since.wall, now.millis_since(job.since))
    return replace(job, state=state, since=now, starts=0, phases=(*job.phases, phase)[-MAX_PHASES:])


def _with(record: Record, slot: Slot) -> tuple[Slot, ...]:
    return tuple(slot if old.name == slot.name else old for old in record.slots)
