"""What the ledger answers: one frozen value per row. Times are aware UTC datetimes.

Devices and orders are named tuples, because there may be a hundred thousand: they are built four times faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from fwctl.state.transitions import OrderStatus, RolloutState, WaveState


class DeviceRow(NamedTuple):
    """The last that is known of a device (its document apart: `Ledger.document`)."""

    id: str
    running_release: str
    running_image: str
    running_version: str
    running_mandate: str
    state: str
    observed_at: datetime | None
    reachable: bool
    tried_at: datetime
    failure_count: int
    reason: str
    next_due: datetime | None
    counter: int
    unreachable_since: datetime | None
    spent: tuple[str, ...]
    """mandates that the device has taken back"""
    deferred_since: datetime | None
    """since when it is not ready for an order"""


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """Where a rollout stands and why."""

    key: str
    mandate: str
    commit: str
    state: RolloutState
    reason: str
    rule: str
    round: int
    actor: str
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    back_since: datetime | None
    """when it began to go back"""
    back_keeps: bool
    """waves that had passed then keep the firmware"""


@dataclass(frozen=True, slots=True)
class WaveRow:
    """Where one wave of a rollout stands under one mandate."""

    rollout: str
    mandate: str
    wave: str
    state: WaveState
    reason: str
    opened_at: datetime
    soak_since: datetime | None
    judged_at: datetime | None


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A device that gets nothing, and why."""

    device: str
    reason: str
    rollout: str
    actor: str
    since: datetime


class OrderRow(NamedTuple):
    """One order (its signed envelope apart: `Ledger.order_body`)."""

    id: str
    device: str
    rollout: str
    mandate: str
    verb: str
    release: str
    attempt: int
    stage: int
    wave: str
    refers_to: str
    status: OrderStatus
    failure_class: str
    code: str
    reason: str
    intended_at: datetime
    sent_at: datetime | None
    due_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One outcome as a device signed it."""

    order: str
    device: str
    counter: int
    mandate: str
    result: str
    failure_class: str
    code: str
    running_image: str
    envelope: dict[str, Any]
    certificate: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    """One link of the chain."""

    seq: int
    at: datetime
    kind: str
    rollout: str
    device: str
    order: str
    reason: str
    actor: str
    data: dict[str, Any]
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """What a pass made of a rollout; nothing has changed since while `Ledger.revision()` is `revision`."""

    rollout: str
    mandate: str
    commit: str
    at: datetime
    valid_until: datetime | None
    revision: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """Who reconciles, or did last; `holder` is empty after a release."""

    holder: str
    host: str
    pid: int
    epoch: int
    adopted: bool
    acquired_at: datetime | None
    renewed_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class LedgerSize:
    """What the ledger holds and what it takes on disk (bytes)."""

    file: int
    log: int
    free: int
    """inside the file, given back by a prune"""
    devices: int
    orders: int
    outcomes: int
    events: int
    first_event: datetime | None
    """when the oldest event that is kept happened"""
    pruned_through: int
    """number of the last event that was pruned, 0 for none"""
