"""What simulated runs come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fwctl.whatif.assumptions import Assumptions

Outcome = Literal["complete", "rolled-back", "stopped", "held"]
OUTCOMES: tuple[Outcome, ...] = ("complete", "rolled-back", "stopped", "held")


@dataclass(frozen=True)
class Trip:
    """A gate that ended the rollout."""

    wave: str
    rule: str
    reason: str
    after: float
    """seconds since the beginning"""


@dataclass(frozen=True)
class WaveSpan:
    """When a wave opened, soaked and was judged, in seconds since the beginning."""

    name: str
    devices: int
    opened: float | None
    soaked: float | None
    judged: float | None
    state: str


@dataclass(frozen=True)
class Sample:
    """How many devices stood how, so many seconds after the beginning."""

    after: float
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run."""

    number: int
    outcome: Outcome
    reason: str
    seconds: float
    """from the first pass until nothing was left to do, or nothing could be done"""
    trip: Trip | None
    ordered: int
    """devices that were ordered to install it before the rollout stopped"""
    exposed: int
    """devices on which it ran, however shortly, before the rollout stopped"""
    counts: Mapping[str, int]
    """how many devices stood how in the end"""
    waves: tuple[WaveSpan, ...]
    samples: tuple[Sample, ...]
    site_total: Mapping[str, int]
    """bytes by site"""
    site_peak: Mapping[str, int]
    """most bytes within one minute, by site"""
    passes: int


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What many runs say together."""

    rollout: str
    model: str
    version: str
    strategy: str
    devices: int
    waves: int
    length: int
    """bytes of the image"""
    seed: int
    start: datetime
    assumptions: Assumptions
    measured: str
    """where durations come from, if not from the defaults"""
    runs: tuple[Run, ...]

    @property
    def typical(self) -> Run:
        """The run in the middle, by its length, of those with the outcome that came up most."""
        most = max(OUTCOMES, key=lambda outcome: len(self.having(outcome)))
        same = sorted(self.having(most), key=lambda run: (run.seconds, run.number))
        return same[len(same) // 2]

    def having(self, outcome: Outcome) -> list[Run]:
        return [run for run in self.runs if run.outcome == outcome]


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
