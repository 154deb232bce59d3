"""A strategy is a function from members to waves. Adding one is a module and a line in `COMPILERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fwctl.errors import InputError
from fwctl.manifests.models import Strategy
from fwctl.rollouts.plan import Wave
from fwctl.rollouts.strategies.direct import compile_direct

Compiler = Callable[[Any, Sequence[str]], tuple[Wave, ...]]

COMPILERS: Mapping[str, Compiler] = {"Direct": compile_direct}


def compile_waves(strategy: Strategy, members: Sequence[str], *, place: str) -> tuple[Wave, ...]:
    """Cut `members` (sorted ids) into waves.

    Raises:
        InputError: `E_STRATEGY` if this release cannot compile the strategy yet.
    """
    compiler = COMPILERS.get(strategy.type)
    if compiler is None:
        raise InputError(
            f"this release of fwctl cannot run the strategy {strategy.type} yet",
            code="E_STRATEGY",
            place=place,
            remedy=f"Write `strategy: {{type: {' | '.join(sorted(COMPILERS))}}}` (Canary is what stands in for none).",
        )
    return compiler(strategy, members)
