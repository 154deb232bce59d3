"""Direct: one wave with everybody."""

from __future__ import annotations

from collections.abc import Sequence

from fwctl.manifests.models import Direct
from fwctl.rollouts.plan import Wave


def steps(_strategy: Direct, _members: Sequence[str]) -> int:
    """Return 1."""
    return 1


def compile_direct(strategy: Direct, members: Sequence[str], _rollout: str) -> tuple[Wave, ...]:
    """Return the one wave."""
    return (Wave("wave-1", 1, tuple(sorted(members)), strategy.soak),)
