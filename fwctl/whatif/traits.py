"""What is wrong with which device of a modelled fleet, drawn once for a run: the firmware fails on it, it is away."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Literal

from fwctl.whatif.assumptions import Assumptions

Flaw = Literal["", "install", "health", "late"]
"""how the firmware fails: in the installer, in the trial, or after the confirmation"""


@dataclass(frozen=True, slots=True)
class Trait:
    """One device that is not like the others."""

    flaw: Flaw = ""
    moment: float = 0.0
    """of a late failure: which part of the watch goes by before it"""
    back: float = 0.0
    """seconds after the beginning until which it does not answer; `inf`: it never does"""


SOUND = Trait()


def draw(members: Sequence[str], assumed: Assumptions, chance: random.Random) -> dict[str, Trait]:
    """Return the devices that are not sound. As many numbers are drawn for each, so that one rate moves no other."""
    found = {}
    for device in members:
        ill, how, when = chance.random(), chance.random(), chance.random()
        away, comes, length = chance.random(), chance.random(), chance.random()
        flaw: Flaw = ""
        if ill < assumed.failure_rate:
            flaw = _flaw(assumed, how)
        back = 0.0
        if away < assumed.offline:
            # Exponential: many are back soon, a few after days.
            back = -assumed.away * log(1.0 - length) if comes < assumed.returns else inf
        if flaw or back:
            found[device] = Trait(flaw, when, back)
    return found


def _flaw(assumed: Assumptions, how: float) -> Flaw:
    if how < assumed.late:
        return "late"
    return "install" if how < assumed.late + (1 - assumed.late) * assumed.broken else "health"
