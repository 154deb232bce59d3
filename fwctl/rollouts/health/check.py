"""Findings about what a rollout wants of the numbers that devices report."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from fwctl.manifests.diagnostic import Loc, quoted
from fwctl.rollouts.health.metrics import impossible
from fwctl.rollouts.plan import Plan

_HEALTH: Loc = ("spec", "gates", "health")
_COMPARE: Loc = (*_HEALTH, "compareWithControl")


class Found(NamedTuple):
    """Code, message, place and remedy of one finding."""

    code: str
    message: str
    loc: Loc
    remedy: str


def check_health(plan: Plan) -> Iterator[Found]:
    """Yield what cannot be measured or compared as the manifest says."""
    health = plan.spec.gates.health
    for name, limit in health.limits.items():
        if impossible(limit):
            message = f"no whole number lies within the limit of {quoted(name)}, and devices report whole numbers"
            yield Found("E_LIMIT_EMPTY", message, (*_HEALTH, "limits", name), "Widen it, such as {min: 3, max: 4}.")
    compare = health.compare_with_control
    if compare is None:
        return
    for track in plan.tracks.values():
        for wave, after in pairwise(track):
            if not wave.soak:
                message = f"{wave.name} has no soak, in which its devices would be compared with a control group"
                yield Found("E_COMPARE_SOAK", message, ("spec", "strategy"), "Give the strategy a soak, such as 15m.")
            rest = sum(len(other.devices) for other in track[track.index(after) :])
            if min(len(wave.devices), rest) < compare.min_sample:
                message = (
                    f"{wave.name} has {len(wave.devices)} devices and {rest} wait for later waves: `minSample` wants "
                    f"{compare.min_sample} of each, so the wave will hold until somebody promotes it"
                )
                remedy = "Make the wave larger or `minSample` smaller."
                yield Found("W_COMPARE_SMALL", message, (*_COMPARE, "minSample"), remedy)
