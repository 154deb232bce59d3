"""What a manifest says of the numbers that devices report, in the whole numbers that devices know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor

from fwctl.manifests.models.rollout_parts import Limit


@dataclass(frozen=True)
class Bounds:
    """What an order demands of numeric probes, by name and sorted."""

    maxima: tuple[tuple[str, int], ...]
    minima: tuple[tuple[str, int], ...]


def bounds_of(limits: Mapping[str, Limit]) -> Bounds:
    """Return the limits in whole numbers: values are whole, so at most 80.5 is at most 80, at least 3.2 at least 4."""
    most = {name: floor(limit.max) for name, limit in limits.items() if limit.max is not None}
    least = {name: ceil(limit.min) for name, limit in limits.items() if limit.min is not None}
    return Bounds(tuple(sorted(most.items())), tuple(sorted(least.items())))


def impossible(limit: Limit) -> bool:
    """Say whether no whole number lies within a limit, such as from 3.2 to 3.8."""
    return limit.min is not None and limit.max is not None and ceil(limit.min) > floor(limit.max)
