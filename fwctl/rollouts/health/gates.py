"""Gates: does a wave pass? Three answers and "not yet"; inconclusive never promotes (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from fwctl.manifests.models.rollout_parts import Gates
from fwctl.rollouts.failures import CLASSES
from fwctl.rollouts.health.statistics import wilson_lower
from fwctl.rollouts.standing import Standing


@dataclass(frozen=True)
class Undecided:
    """Devices are still on their way, and nothing says yet that it must stop."""


@dataclass(frozen=True)
class Pass:
    reason: str


@dataclass(frozen=True)
class Fail:
    rule: str
    reason: str


@dataclass(frozen=True)
class Inconclusive:
    rule: str
    reason: str


Verdict = Undecided | Pass | Fail | Inconclusive


@dataclass(frozen=True)
class Tally:
    """How the devices of a wave stand."""

    size: int
    reached: int
    counted: int
    """failed in a way that counts against the gate"""
    other: int
    """failed otherwise, or out of reach"""

    @classmethod
    def of(cls, standings: Iterable[Standing]) -> Tally:
        """Count. A device that failed counts by the class of its failure; one in quarantine has dropped out."""
        size = reached = counted = other = 0
        for standing in standings:
            if standing.dropped_out:
                continue
            size += 1
            reached += standing.state == "reached"
            failed = standing.state == "failed"
            against = failed and (standing.klass is None or CLASSES[standing.klass].counts)
            counted += against
            other += (failed and not against) or standing.state == "straggler"
        return cls(size, reached, counted, other)

    @property
    def unsettled(self) -> int:
        return self.size - self.reached - self.counted - self.other

    @property
    def sample(self) -> int:
        return self.reached + self.counted


def judge(gates: Gates, tally: Tally) -> Verdict:
    """Judge a wave by what has settled.

    `minSample` guards only the early stop; the verdict at the end uses all settled devices. A wave whose failures
    already exceed the share of all its devices cannot pass any more, and is not waited for. Where `confidence` is
    given, only what is that sure fails a wave; what is above the limit and not so sure does not pass either.
    """
    told, sample = _rate(gates, tally), tally.sample
    early = sample >= gates.max_failure_rate.min_sample and too_many(gates, tally.counted, sample)
    if early or too_many(gates, tally.counted, tally.size):
        return Fail(RATE, told)
    if tally.unsettled:
        return Undecided()
    if too_many(gates, tally.counted, sample):
        return Fail(RATE, told)
    if _above(tally.counted, sample, gates.max_failure_rate.percent):
        return Inconclusive(RATE, f"{told}: neither sure enough to go back nor good enough to go on")
    wanted = gates.min_reached.percent
    if tally.reached * 100 < _exact(wanted) * tally.size:
        return Inconclusive(
            "minReached", f"{tally.reached} of {tally.size} reached, {wanted:g} % are wanted; {tally.other} cannot be"
        )
    return Pass(f"{tally.reached} of {tally.size} reached, {tally.counted} failed")


RATE = "maxFailureRate"


def too_many(gates: Gates, failed: int, size: int) -> bool:
    """Say whether so many failures are more than `size` devices may have, and that as surely as is asked for."""
    rate = gates.max_failure_rate
    if not _above(failed, size, rate.percent):
        return False
    return rate.confidence is None or wilson_lower(failed, size, rate.confidence) * 100 > rate.percent


def _above(part: int, whole: int, percent: float) -> bool:
    return whole > 0 and part * 100 > _exact(percent) * whole


@lru_cache(maxsize=64)
def _exact(percent: float) -> Fraction:
    """Return a percentage as it was written: as floats, 69 of 1500 is more than 4.6 %."""
    return Fraction(str(percent))


def _rate(gates: Gates, tally: Tally) -> str:
    rate, sample = gates.max_failure_rate, tally.sample
    share = 100 * tally.counted / sample if sample else 0.0
    told = f"{tally.counted} of {sample} failed ({share:.3g} %), allowed are {rate.percent:g} %"
    if rate.confidence is None:
        return told
    bound = 100 * wilson_lower(tally.counted, sample, rate.confidence)
    return f"{told}; with {100 * rate.confidence:g} % confidence the rate is above {bound:.3g} %"
