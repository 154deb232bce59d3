"""What one signed order may do to this device now: the verifier's checks, then the state machine's. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import ORDER, Pull
from fwctl_agent.runtime import machine
from fwctl_agent.runtime.follow_ups import accept_follow_up
from fwctl_agent.runtime.machine import Change
from fwctl_agent.runtime.ports import Moment, Selector
from fwctl_agent.runtime.record import Record
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.trust.addresses import check_address
from fwctl_agent.trust.envelope import Sealed
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.verification import Verification
from fwctl_agent.trust.verifier import DeviceContext, TrustedTime, judge_follow_up, judge_install

MAX_ORDER_ENVELOPE: Final = 32 << 10


@dataclass(frozen=True)
class Sent:
    """What was sent, its order opened once. Nothing of it is verified."""

    request: OrderRequest
    sealed: Sealed
    verb: str
    """as it says: it only chooses which checks are made"""

    @classmethod
    def of(cls, request: OrderRequest) -> Sent:
        """Open the order.

        Raises:
            Refusal: as `Sealed.open`, or its payload is not canonical JSON.
        """
        sealed = Sealed.open(request.order, ORDER)
        statement = sealed.statement()
        verb = statement.get("verb") if isinstance(statement, dict) else None
        return cls(request, sealed, verb if isinstance(verb, str) else "")


def judge(
    order: str,
    sent: Sent,
    *,
    settings: Settings,
    record: Record,
    selector: Selector,
    policy: Policy | None,
    time: TrustedTime,
    now: Moment,
    verification: Verification,
) -> Change:
    """Return the change that the order with the id `order` makes.

    Raises:
        Refusal: it may not be done, or not now.
    """
    if policy is None:
        raise Refusal("E_POLICY_UNTRUSTED", "this device trusts no policy yet; send one with the order")
    request, sealed = sent.request, sent.sealed
    if len(canonical.dump(request.order)) > MAX_ORDER_ENVELOPE:
        raise Refusal("E_LIMIT", f"the signed order has more than {MAX_ORDER_ENVELOPE} bytes")
    context, job = _context(settings, record), record.job
    if sent.verb == "install":
        install = judge_install(
            request, context=context, policy=policy, time=time, verification=verification, sealed=sealed
        )
        _check_address(order, install.order.id)
        if isinstance(install.order.delivery, Pull):
            check_address(install.order.delivery.url, policy.storage)
        if install.order.probes not in settings.probes:
            raise Refusal("E_PROBE_SET", f"this device has no probe set named {install.order.probes}")
        change = machine.accept_install(record, install, request.order, now=now)
        done = change.record.job is not None and not change.record.job.active
        floor = policy.floors.get(settings.model, 0)
        return replace(change, record=machine.raise_floor(change.record, floor)) if done else change
    release = job.release if job else None
    follow = judge_follow_up(request, context=context, policy=policy, time=time, release=release, sealed=sealed)
    _check_address(order, follow.order.id)
    switched = job is not None and (selector.trial == job.slot or not selector.settled)
    return accept_follow_up(record, follow, request.order, switched=switched, now=now)


def _context(settings: Settings, record: Record) -> DeviceContext:
    return DeviceContext(
        id=settings.id,
        repo_id=settings.repo_id,
        model=settings.model,
        hardware=settings.hardware,
        env=settings.env,
        enrolled_at=settings.enrolled_at,
        running=record.image.running,
        floor=record.floor,
        release_counters=dict(record.release_counters),
        epochs={epoch.key: epoch.epoch for epoch in record.epochs},
        spent=frozenset(spent.mandate for spent in record.spent),
        marks={(mark.mandate, mark.verb): mark.attempt for mark in record.marks},
        running_approved_at=record.image.approved_at,
    )


def _check_address(asked: str, found: str) -> None:
    if asked != found:
        raise Refusal("E_SCHEMA", "the address names another order than the one that was sent")
