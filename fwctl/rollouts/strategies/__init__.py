"""A strategy is a function from members to waves. Adding one is a module and a line in `COMPILERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fwctl.errors import InputError
from fwctl.manifests.models import Strategy
from fwctl.rollouts.plan import Wave
from fwctl.rollouts.strategies import canary, direct, rolling


@dataclass(frozen=True)
class Compiler:
    """`waves(strategy, members, rollout name)`, and how many steps there are before empty ones are merged."""

    waves: Callable[[Any, Sequence[str], str], tuple[Wave, ...]]
    steps: Callable[[Any, Sequence[str]], int]


COMPILERS: Mapping[str, Compiler] = {
    "Canary": Compiler(canary.compile_canary, canary.steps),
    "Direct": Compiler(direct.compile_direct, direct.steps),
    "Rolling": Compiler(rolling.compile_rolling, rolling.steps),
}


def compile_waves(strategy: Strategy, members: Sequence[str], *, rollout: str, place: str) -> tuple[Wave, ...]:
    """Cut `members` into waves for the rollout called `rollout`.

    Raises:
        InputError: `E_STRATEGY` if this release cannot compile the strategy yet; `E_NO_WAVE` if an approval point names
            a wave that the strategy does not have.
    """
    compiler = COMPILERS.get(strategy.type)
    if compiler is None:
        raise InputError(
            f"this release of fwctl cannot run the strategy {strategy.type} yet",
            code="E_STRATEGY",
            place=place,
            remedy=f"Write `strategy: {{type: NAME}}` with one of {', '.join(sorted(COMPILERS))}.",
        )
    known = {f"wave-{number}" for number in range(1, compiler.steps(strategy, members) + 1)}
    unknown = sorted(set(getattr(strategy, "approval_before", ())) - known)
    if unknown:
        raise InputError(
            f"an approval is wanted before {unknown[0]}, but the waves are wave-1 to wave-{len(known)}",
            code="E_NO_WAVE",
            place=place,
            remedy="Name one of these waves in `approvalBefore`.",
        )
    return compiler.waves(strategy, members, rollout)
