"""Who of those that came after the approval joins a rollout: as many as it allows, of those who would not refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.rollouts.actions import Install, Leave, Step
from fwctl.rollouts.late import seated
from fwctl.state import Ledger
from fwctl_agent.protocol.fields import parse_time
from fwctl_agent.protocol.messages import DeviceDocument

TOO_EARLY = "enrolled before the approval: run `fwctl plan --lock` and approve again"
LOOK_AGAIN = timedelta(hours=1)


def with_seats(state: CommitState, ledger: Ledger) -> CommitState:
    """Return a commit whose rollouts have the late joiners that may join them."""
    return replace(state, rollouts={key: with_seat(one, ledger) for key, one in state.rollouts.items()})


def with_seat(prepared: Prepared, ledger: Ledger | None) -> Prepared:
    """Return a rollout with the late joiners that may join it. Without a ledger nobody has joined yet."""
    plan = prepared.plan
    if not plan.late or prepared.mandate is None:
        return prepared
    if ledger is None:
        return replace(prepared, plan=seated(plan, joined=(), barred=()))
    locked = set(plan.members)
    orders = ledger.orders(mandate=prepared.mandate.id)
    joined = {order.device for order in orders if order.verb == "install"} - locked
    (wave,) = plan.late
    barred = {device for device in wave.devices if device not in joined and _known_early(prepared, ledger, device)}
    return replace(prepared, plan=seated(plan, joined=joined, barred=barred))


def checked(step: Step, prepared: Prepared, document: DeviceDocument, now: datetime) -> Step:
    """Return the step, or why a late joiner is left alone: it would refuse, and a refusal stops the rollout."""
    late = isinstance(step, Install) and document.id not in prepared.index
    if late and _too_early(prepared, document.enrolled_at):
        return Leave(TOO_EARLY, now + LOOK_AGAIN)
    return step


def _known_early(prepared: Prepared, ledger: Ledger, device: str) -> bool:
    document = ledger.document(device)
    return document is not None and _too_early(prepared, parse_time(str(document["enrolledAt"])))


def _too_early(prepared: Prepared, enrolled_at: datetime) -> bool:
    """Say what the device itself would say: it was there when the rollout was approved, and is not in the lock."""
    return prepared.approved_at is None or enrolled_at <= prepared.approved_at
