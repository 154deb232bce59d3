"""What is said of a code: one sentence what it means, one what to do, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding: its title, what it means, and the remedy where the finding names no better one."""

    title: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Stop:
    """What stops a command or an order.

    `exits` are the exit codes that a command can end with. `device` is how the verifier and the agent classify it:
    `refused`, `deferred` or `resync`.
    """

    meaning: str
    remedy: str
    exits: tuple[int, ...] = ()
    device: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a device failed an order. `failure` are the failure classes that it is counted under."""

    meaning: str
    remedy: str
    failure: tuple[str, ...]
