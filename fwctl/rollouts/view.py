"""What `decide` sees of the world: one rollout and its devices, as the ledger and the last observations tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fwctl.rollouts.actions import Finish
from fwctl.rollouts.rails.rules import FreezeOf
from fwctl_agent.protocol.statements import FailureClass, Verb

OrderState = Literal["intended", "sent", "accepted", "running", "staged", "switching"]


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order whose end is not known yet."""

    id: str
    attempt: int
    state: OrderState
    intended_at: datetime
    accepted: bool
    """the device has taken it, so its slot stays held until it answers"""
    verb: Verb = "install"


@dataclass(frozen=True, slots=True)
class Failure:
    """How the latest attempt of this mandate ended without success."""

    attempt: int
    klass: FailureClass
    code: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """One device. All fields are facts; nothing here is decided."""

    id: str
    observed_at: datetime | None = None
    running: str | None = None
    """release digest"""
    by_mandate: bool = False
    """what runs was installed by this mandate"""
    spent: bool = False
    """the device has taken this mandate back"""
    quarantined: str | None = None
    """the reason, if it is in quarantine"""
    forgiven: int | None = None
    """the last attempt that ended before the device was released from quarantine; None if it never was"""
    attempts: int = 0
    """install orders of this mandate that were ever intended"""
    order: OpenOrder | None = None
    """the install order under way"""
    install: str | None = None
    """the latest install order of this mandate: what a revert refers to"""
    ordered: str | None = None
    """release digest of that order"""
    started_at: datetime | None = None
    """when that order was intended"""
    staged: bool = False
    """it holds the firmware in its other slot, and waits for the order to switch"""
    version: str = ""
    """what runs, as the device names it"""
    passed: tuple[str, ...] = ()
    """digests of the releases that install orders of this mandate have confirmed, oldest first"""
    passed_attempt: int = 0
    """the last attempt that ended so"""
    taken: str | None = None
    """the latest install order of this mandate that it took, where it never took `install`"""
    standby: str | None = None
    """digest of the image in its other slot, which it would go back to; None where that is not known"""
    failure: Failure | None = None
    confirmed: bool = False
    """a signed outcome of this mandate says confirmed"""
    back: OpenOrder | None = None
    """the revert or cancel under way"""
    taken_back: bool = False
    """it went back because it was ordered to, not by itself"""
    back_refused: str | None = None
    """why the device refuses to go back"""
    facts: Mapping[str, str | int | bool] | None = None
    """what the device says of itself, in a view made while it answers; None otherwise"""
    deferred_since: datetime | None = None
    """since when it is not ready for an order"""
    unreachable_since: datetime | None = None
    misses: int = 0
    """visits in a row that did not reach it"""
    unreachable_code: str = ""
    """why not, where it is more than that nobody answers: such as a certificate past its end"""
    due_at: datetime | None = None
    """not to be contacted before"""
    back_due_at: datetime | None = None
    """when to ask again about the revert"""

    @property
    def waits_to_switch(self) -> bool:
        """Say whether it holds the firmware, and nobody has asked it to switch."""
        return self.staged and self.order is not None and self.order.state != "switching"

    @property
    def pardoned(self) -> bool:
        """Say whether nothing has been tried since it was released from quarantine."""
        return self.forgiven is not None and self.forgiven >= self.attempts

    @property
    def tries(self) -> int:
        """Return the attempts that count: those since it was released, or came to a stop on its way."""
        return self.attempts - max(self.forgiven or 0, self.passed_attempt)


ControlWord = Literal["running", "paused", "aborted", "rolled-back"]


@dataclass(frozen=True)
class Control:
    """What a person decided about a rollout, from `control/` in git or from the ledger (`--now`)."""

    state: ControlWord
    reason: str
    actor: str
    revert: bool = False
    """an abort that takes back what is done"""
    promoted: frozenset[str] = frozenset()
    """waves that may pass without waiting for gate and soak"""

    @property
    def words(self) -> str:
        return f"{self.actor}: {self.reason}"

    @property
    def goes_back(self) -> bool:
        """Say whether everybody is taken back."""
        return self.state == "rolled-back" or (self.state == "aborted" and self.revert)


WaveWord = Literal["open", "switching", "soaking", "passed", "failed"]
"""`switching` only where a wave holds what it has staged"""


@dataclass(frozen=True, slots=True)
class WaveView:
    """Where a wave stands; one that was never opened is not in the view."""

    state: WaveWord
    reason: str = ""
    soak_since: datetime | None = None
    opened_at: datetime | None = None
    judged_at: datetime | None = None

    @property
    def switched(self) -> bool:
        """Say whether devices that hold the firmware may switch to it."""
        return self.state in ("switching", "soaking", "passed")


@dataclass(frozen=True, kw_only=True)
class RolloutView:
    """One rollout with its approvals as they stand now."""

    approved_stage: int
    """0: nothing is approved"""
    not_approved: str = ""
    """why not, for people"""
    stopped: str = ""
    """why the rollout must not start anything (held, paused, aborted, ...); empty while it may"""
    back_since: datetime | None = None
    """when the rollout began to go back; None while it goes forward"""
    back_keeps: bool = False
    """only waves that have not passed go back (`rollback.scope: wave`)"""
    finished: Finish | None = None
    """how the ledger says it ended, so that ending it again is no action"""
    control: Control | None = None
    visiting: frozenset[str] = frozenset()
    """devices that are being visited right now: in flight, whatever the ledger knows of them yet"""
    down_elsewhere: frozenset[str] = frozenset()
    """who is out of service for another reason than this rollout; known where it has a disruption budget"""
    freezes: tuple[FreezeOf, ...] = ()
    """of the guard rails in force"""
    waves: Mapping[str, WaveView] = field(default_factory=dict)
    samples: Mapping[tuple[str, str], Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """(wave, phase) -> device -> metrics, of a rollout that compares with a control group"""
    devices: Mapping[str, DeviceView]
