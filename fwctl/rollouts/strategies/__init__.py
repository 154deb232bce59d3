"""A strategy is a function from members to waves. Adding one is a module and a line in `COMPILERS`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fwctl.errors import InputError
from fwctl.manifests.models import Regional, Strategy
from fwctl.manifests.models.strategy import Inner
from fwctl.rollouts.plan import Wave
from fwctl.rollouts.strategies import blue_green, canary, direct, regional, rolling
from fwctl.rollouts.strategies.regional import Where


@dataclass(frozen=True)
class Compiler:
    """`waves(strategy, members, rollout name)`, and how many steps there are before empty ones are merged."""

    waves: Callable[[Any, Sequence[str], str], tuple[Wave, ...]]
    steps: Callable[[Any, Sequence[str]], int]


COMPILERS: Mapping[str, Compiler] = {
    "BlueGreen": Compiler(blue_green.compile_blue_green, blue_green.steps),
    "Canary": Compiler(canary.compile_canary, canary.steps),
    "Direct": Compiler(direct.compile_direct, direct.steps),
    "Rolling": Compiler(rolling.compile_rolling, rolling.steps),
}


def compile_waves(
    strategy: Strategy, members: Sequence[str], *, rollout: str, place: str, where: Where
) -> tuple[Wave, ...]:
    """Cut `members` into waves for the rollout called `rollout`; only Regional asks `where` they are.

    Raises:
        InputError: `E_NO_WAVE` if an approval point names a wave that the strategy does not have; `E_REGION` if a
            member is in no region that is listed.
    """
    if isinstance(strategy, Regional):
        return _regional(strategy, members, rollout=rollout, place=place, where=where)
    compiler = COMPILERS[strategy.type]
    known = [f"wave-{number}" for number in range(1, compiler.steps(strategy, members) + 1)]
    _check_points(getattr(strategy, "approval_before", ()), known, f"wave-1 to {known[-1]}", place)
    return compiler.waves(strategy, members, rollout)


def _regional(
    strategy: Regional, members: Sequence[str], *, rollout: str, place: str, where: Where
) -> tuple[Wave, ...]:
    held = regional.by_region(strategy, members, where, place)
    known = list(regional.known_waves(strategy, held, _steps))
    _check_points(regional.wanted_points(strategy), known, _listed(known), place)
    return regional.compile_regional(strategy, held, rollout, cut=_cut, steps=_steps)


def _cut(strategy: Inner, members: Sequence[str], rollout: str) -> tuple[Wave, ...]:
    return COMPILERS[strategy.type].waves(strategy, members, rollout)


def _steps(strategy: Inner, members: Sequence[str]) -> int:
    return COMPILERS[strategy.type].steps(strategy, members)


def _check_points(points: Iterable[str], known: Collection[str], told: str, place: str) -> None:
    """Raise InputError `E_NO_WAVE` for an approval point that is no wave."""
    unknown = sorted(set(points) - set(known))
    if unknown:
        raise InputError(
            f"an approval is wanted before {unknown[0]}, but the waves are {told}",
            code="E_NO_WAVE",
            place=place,
            remedy="Name one of these waves in `approvalBefore`.",
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
