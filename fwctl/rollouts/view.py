"""What `decide` sees of the world: one rollout and its devices, as the ledger and the last observations tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fwctl.rollouts.actions import Finish
from fwctl_agent.protocol.statements import FailureClass

OrderState = Literal["intended", "sent", "accepted", "running"]


@dataclass(frozen=True)
class OpenOrder:
    """An install order whose end is not known yet."""

    id: str
    attempt: int
    state: OrderState
    intended_at: datetime
    accepted: bool
    """the device has taken it, so its slot stays held until it answers"""


@dataclass(frozen=True)
class Failure:
    """How the latest attempt of this mandate ended without success."""

    attempt: int
    klass: FailureClass
    code: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class DeviceView:
    """One device. All fields are facts; nothing here is decided."""

    id: str
    observed_at: datetime | None = None
    running: str | None = None
    """release digest"""
    spent: bool = False
    """the device has taken this mandate back"""
    quarantined: str | None = None
    """the reason, if it is in quarantine"""
    attempts: int = 0
    """install orders of this mandate that were ever intended"""
    order: OpenOrder | None = None
    failure: Failure | None = None
    confirmed: bool = False
    """a signed outcome of this mandate says confirmed"""
    unreachable_since: datetime | None = None
    misses: int = 0
    """visits in a row that did not reach it"""
    due_at: datetime | None = None
    """not to be contacted before"""


@dataclass(frozen=True, kw_only=True)
class RolloutView:
    """One rollout with its approvals as they stand now."""

    approved_stage: int
    """0: nothing is approved"""
    not_approved: str = ""
    """why not, for people"""
    stopped: str = ""
    """why the rollout must not start anything (held, withdrawn, ...); empty while it may"""
    finished: Finish | None = None
    """how the ledger says it ended, so that ending it again is no action"""
    devices: Mapping[str, DeviceView]
