"""Everything that can be written to the ledger, as a closed union of frozen values.

Times are aware datetimes, stored as UTC text in whole seconds. Each change is idempotent: applied twice it writes
once, except `Event`, which is a statement that something happened and is recorded as often as it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from fwctl.state.transitions import OrderStatus, RolloutState, WaveState


@dataclass(frozen=True, kw_only=True)
class SetMeta:
    """Remember one value: `repo_id`, `last_applied_commit`, `timestamp_version`, ..."""

    at: datetime
    key: str
    value: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DeviceSeen:
    """A device answered; `document` is what it said. An older observation than the recorded one is ignored."""

    at: datetime
    device: str
    running_release: str
    running_image: str
    running_version: str
    running_mandate: str
    state: str
    document: Mapping[str, Any]
    counter: int
    spent: tuple[str, ...] = ()
    """mandates that the device has taken back"""
    next_due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DeviceUnreachable:
    """A device did not answer at `at`."""

    at: datetime
    device: str
    reason: str
    next_due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DeviceDeferred:
    """A device is not ready for an order; the first time of a row counts, until it takes one."""

    at: datetime
    device: str
    reason: str
    next_due: datetime


@dataclass(frozen=True, kw_only=True)
class RolloutMoved:
    """A rollout (`env/name`) stands here now, for this reason."""

    at: datetime
    rollout: str
    mandate: str
    commit: str
    state: RolloutState
    reason: str
    rule: str = ""
    round: int = 0
    actor: str = "fwctl"
    keeps: bool = False
    """where it begins to go back: waves that have passed keep the firmware"""


@dataclass(frozen=True, kw_only=True)
class WaveMoved:
    """A wave of a rollout stands here now. The first soak start stays: a crash neither skips nor restarts a soak."""

    at: datetime
    rollout: str
    mandate: str
    wave: str
    state: WaveState
    reason: str


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A device gets nothing until somebody releases it."""

    at: datetime
    device: str
    reason: str
    rollout: str = ""
    actor: str = "fwctl"


@dataclass(frozen=True, kw_only=True)
class QuarantineReleased:
    """A device may get firmware again."""

    at: datetime
    device: str
    reason: str
    actor: str = "fwctl"


@dataclass(frozen=True, kw_only=True)
class OrderIntended:
    """An order will be sent. Written before its first byte leaves; `body` is the signed envelope.

    Intending it again keeps its history; while it is not accepted, a newly signed body replaces the old one.
    """

    at: datetime
    order: str
    device: str
    rollout: str
    mandate: str
    verb: str
    release: str
    attempt: int
    stage: int
    wave: str
    refers_to: str
    body: Mapping[str, Any]
    due_at: datetime | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class OrderMoved:
    """An order stands here now. `due_at` is when to look at it next; None leaves what is recorded."""

    at: datetime
    order: str
    status: OrderStatus
    failure_class: str = ""
    code: str = ""
    reason: str = ""
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class OutcomeReceived:
    """A device signed an outcome. `counter` is its own; `certificate` (PEM) is what verifies `envelope` later."""

    at: datetime
    order: str
    device: str
    mandate: str
    result: str
    failure_class: str
    code: str
    running_image: str
    counter: int
    envelope: Mapping[str, Any]
    certificate: str


@dataclass(frozen=True, kw_only=True)
class SummaryStored:
    """What a pass made of a rollout; it replaces the one before and makes no event.

    It is kept with the revision that it was made from: `revision`, or the current one when that is None, and
    what stands in the same group counts as known to it. Changes by others in the same transaction do not.
    """

    at: datetime
    rollout: str
    mandate: str
    commit: str
    valid_until: datetime | None
    """when time alone makes it untrue"""
    body: Mapping[str, Any]
    revision: int | None = None


@dataclass(frozen=True, kw_only=True)
class SampleTaken:
    """What a device reported in a phase of a wave; the first time counts. No event: what follows from it makes one."""

    at: datetime
    mandate: str
    wave: str
    phase: str
    device: str
    metrics: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened that no other change tells."""

    at: datetime
    kind: str
    reason: str
    actor: str = "fwctl"
    rollout: str = ""
    device: str = ""
    order: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


Change: TypeAlias = (
    SetMeta
    | DeviceSeen
    | DeviceUnreachable
    | DeviceDeferred
    | RolloutMoved
    | WaveMoved
    | Quarantined
    | QuarantineReleased
    | OrderIntended
    | OrderMoved
    | OutcomeReceived
    | SummaryStored
    | SampleTaken
    | Event
)
