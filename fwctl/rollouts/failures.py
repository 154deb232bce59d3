"""Failure classes and what follows from them (DESIGN section 6), as data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from fwctl.manifests.models.rollout_parts import Backoff, Retry
from fwctl_agent.protocol.statements import FailureClass


@dataclass(frozen=True)
class ClassRule:
    """What a failure class means for the gate, for the next attempt, and at the end."""

    counts: bool
    """against the gate"""
    retry: Literal["never", "backoff", "once"]
    then: str
    """what becomes of the device when no attempt is left"""


CLASSES: dict[FailureClass, ClassRule] = {
    "refused": ClassRule(True, "never", "an operator must look: the device refuses what we sent"),
    "deferred": ClassRule(False, "backoff", "it was never ready"),
    "unreachable": ClassRule(False, "backoff", "straggler"),
    "download": ClassRule(False, "backoff", "the image could not be delivered"),
    "install": ClassRule(True, "backoff", "quarantine it, or repair it"),
    "health": ClassRule(True, "never", "the firmware is not healthy on it"),
    "unconfirmed": ClassRule(True, "once", "it went back because nobody confirmed in time"),
    "silent-revert": ClassRule(True, "never", "it went back by itself after confirming"),
}


def attempts_allowed(klass: FailureClass, retry: Retry) -> int:
    """Return how many attempts a failure of this class leaves in all."""
    match CLASSES[klass].retry:
        case "never":
            return 0
        case "once":
            return min(2, retry.max_attempts)
        case "backoff":
            return retry.max_attempts


def backoff(policy: Backoff, *, device: str, failures: int) -> timedelta:
    """Return the wait after `failures` failures: exponential, capped, with jitter that only the device decides.

    Jitter by hash instead of by chance keeps `decide` a function, and still spreads a fleet.
    """
    if failures <= 0:
        return timedelta()
    # The exponent is capped so that a long outage cannot overflow; the result is capped anyway.
    seconds = min(policy.initial * policy.factor ** min(failures - 1, 64), policy.max)
    share = int.from_bytes(hashlib.sha256(f"{device} {failures}".encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=round(seconds * (1 + policy.jitter * (2 * share - 1))))


def retry_at(policy: Retry, *, device: str, failures: int, failed_at: datetime) -> datetime:
    """Return when the next attempt is due."""
    return failed_at + backoff(policy.backoff, device=device, failures=failures)
