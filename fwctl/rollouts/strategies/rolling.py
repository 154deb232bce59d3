"""Rolling ("staged"): batches one after another, with only so many devices out of service at once."""

from __future__ import annotations

from collections.abc import Sequence

from fwctl.manifests.models import Rolling
from fwctl.rollouts.cohorts import by_lot, cut
from fwctl.rollouts.plan import Wave


def _size(strategy: Rolling, members: Sequence[str]) -> int:
    return max(1, strategy.batch_size.of(len(members)))


def steps(strategy: Rolling, members: Sequence[str]) -> int:
    """Return how many batches there are."""
    return max(1, -(-len(members) // _size(strategy, members)))


def compile_rolling(strategy: Rolling, members: Sequence[str], rollout: str) -> tuple[Wave, ...]:
    """Return the batches. `maxUnavailable` as a share means a share of one batch."""
    size, total = _size(strategy, members), len(members)
    ends = [min(total, size * number) for number in range(1, steps(strategy, members) + 1)]
    limit = strategy.max_unavailable
    return cut(
        by_lot(members, rollout),
        ends,
        soak=strategy.soak,
        approval_before=strategy.approval_before,
        max_unavailable=max(1, limit.of(size)) if limit else None,
    )
