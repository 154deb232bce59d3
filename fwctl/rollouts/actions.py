"""What a pass may do: a closed union. Every action carries its reason; the executor matches and never decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fwctl_agent.protocol.statements import Release


@dataclass(frozen=True)
class Visit:
    """Contact a device now. What to do there is decided by `next_step` once it has answered."""

    device: str
    reason: str


@dataclass(frozen=True)
class MoveWave:
    """A wave opens, switches (where it holds what it staged), begins its soak, passes or fails."""

    wave: str
    state: Literal["open", "switching", "soaking", "passed", "failed"]
    reason: str


@dataclass(frozen=True)
class Quarantine:
    """No attempt is left: the device gets nothing more until somebody has looked at it."""

    device: str
    reason: str


@dataclass(frozen=True)
class Stop:
    """Start nothing more in this rollout."""

    rule: str
    reason: str


@dataclass(frozen=True)
class GoBack:
    """Take the rollout back."""

    rule: str
    reason: str
    keeps: bool = False
    """waves that have passed keep the firmware"""


@dataclass(frozen=True)
class Finish:
    """Nothing is left to do."""

    state: Literal["complete", "failed", "rolled-back"]
    reason: str


Action = Visit | MoveWave | Quarantine | Stop | GoBack | Finish


@dataclass(frozen=True)
class Install:
    """Order the release, as attempt number `attempt`."""

    attempt: int
    reason: str
    stop: Release | None = None
    """the release on the way that it is, if it is not the plan's own"""


@dataclass(frozen=True)
class Resume:
    """Go on with an order that is under way; asking again for it is harmless."""

    order: str
    reason: str


@dataclass(frozen=True)
class Activate:
    """Order the device to switch to what the install order has staged."""

    order: str
    reason: str


@dataclass(frozen=True)
class TakeBack:
    """Revert what the install order `install` brought, or cancel it where it has not switched yet."""

    install: str
    reason: str


@dataclass(frozen=True)
class Defer:
    """The device is not ready: note since when, and ask again not before `due`."""

    reason: str
    due: datetime


@dataclass(frozen=True)
class Leave:
    """Do nothing with this device; ask again not before `due`, if one is given."""

    reason: str
    due: datetime | None = None


Step = Install | Activate | Resume | TakeBack | Defer | Leave
