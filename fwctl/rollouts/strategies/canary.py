"""Canary: a few first, then more, by cumulative percentages."""

from __future__ import annotations

from collections.abc import Sequence

from fwctl.manifests.models import Canary
from fwctl.rollouts.cohorts import by_lot, cut, share
from fwctl.rollouts.plan import Wave


def steps(strategy: Canary, _members: Sequence[str]) -> int:
    """Return how many steps the strategy has, empty ones counted."""
    return 1 + len(strategy.increments)


def compile_canary(strategy: Canary, members: Sequence[str], rollout: str) -> tuple[Wave, ...]:
    """Return the waves; small fleets round up to whole devices, steps that add nobody are merged."""
    ends = [share(percent, len(members)) for percent in (strategy.initial_percentage, *strategy.increments)]
    return cut(by_lot(members, rollout), ends, soak=strategy.soak, approval_before=strategy.approval_before)
