"""What a pass says it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fwctl.reconcile.summary import RolloutResult, Summary


@dataclass(frozen=True)
class RolloutReport:
    """Where one rollout stands after the pass."""

    key: str
    state: RolloutResult
    reason: str
    counts: Mapping[str, int]
    next_due: datetime | None

    @classmethod
    def of(cls, summary: Summary) -> RolloutReport:
        """Return what a pass says of a rollout that was summed up."""
        return cls(summary.key, summary.state, summary.reason, summary.counts, summary.next_due)


@dataclass(frozen=True)
class Swept:
    """What the look at devices that nothing was due for has found."""

    devices: int = 0
    unreachable: int = 0
    drifted: int = 0
    """devices that run something else than when they were seen last, and no order of ours brought it"""


@dataclass(frozen=True)
class PassReport:
    """What a pass did. `visits` is how many devices were contacted."""

    commit: str
    epoch: int
    visits: int
    rollouts: tuple[RolloutReport, ...]
    started: datetime
    finished: datetime
    swept: Swept = Swept()

    @property
    def ok(self) -> bool:
        """False if anything stopped or went wrong: exit code 1."""
        return all(report.state in ("waiting", "progressing", "complete") for report in self.rollouts)

    @property
    def next_due(self) -> datetime | None:
        return min((report.next_due for report in self.rollouts if report.next_due), default=None)
