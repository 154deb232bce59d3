"""BlueGreen: one wave that writes the standby slots of everybody, then switches everybody at once."""

from __future__ import annotations

from collections.abc import Sequence

from fwctl.manifests.models import BlueGreen
from fwctl.rollouts.plan import Wave


def steps(_strategy: BlueGreen, _members: Sequence[str]) -> int:
    """Return 1: the switch is in the middle of the wave."""
    return 1


def compile_blue_green(strategy: BlueGreen, members: Sequence[str], _rollout: str) -> tuple[Wave, ...]:
    """Return the one wave; `switching` says how it goes on when everything is staged."""
    return (Wave("wave-1", 1, tuple(sorted(members)), strategy.soak, activation="hold"),)
