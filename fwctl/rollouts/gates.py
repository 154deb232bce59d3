"""Gates: does a wave pass? Three answers and "not yet"; inconclusive never promotes (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from fwctl.manifests.models.rollout_parts import Gates
from fwctl.rollouts.failures import CLASSES
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
    already exceed the share of all its devices cannot pass any more, and is not waited for.
    """
    limit, told = gates.max_failure_rate.percent, _rate(tally)
    early = tally.sample >= gates.max_failure_rate.min_sample and _above(tally.counted, tally.sample, limit)
    if early or too_many(gates, tally.counted, tally.size):
        return Fail("maxFailureRate", f"{told}, allowed are {limit:g} %")
    if tally.unsettled:
        return Undecided()
    if too_many(gates, tally.counted, tally.sample):
        return Fail("maxFailureRate", f"{told}, allowed are {limit:g} %")
    wanted = gates.min_reached.percent
    if tally.reached * 100 < _exact(wanted) * tally.size:
        return Inconclusive(
            "minReached", f"{tally.reached} of {tally.size} reached, {wanted:g} % are wanted; {tally.other} cannot be"
        )
    return Pass(f"{tally.reached} of {tally.size} reached, {tally.counted} failed")


def too_many(gates: Gates, failed: int, size: int) -> bool:
    """Say whether so many failures are more than `size` devices may have."""
    return _above(failed, size, gates.max_failure_rate.percent)


def _above(part: int, whole: int, percent: float) -> bool:
    return whole > 0 and part * 100 > _exact(percent) * whole


def _exact(percent: float) -> Fraction:
    """Return a percentage as it was written: as floats, 69 of 1500 is more than 4.6 %."""
    return Fraction(str(percent))


def _rate(tally: Tally) -> str:
    share = 100 * tally.counted / tally.sample if tally.sample else 0.0
    return f"{tally.counted} of {tally.sample} failed ({share:.3g} %)"
