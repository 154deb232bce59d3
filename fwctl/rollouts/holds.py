"""What holds a whole wave: a stop, an approval, a window, the waves before it. Kept apart from its devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from fwctl.rollouts.plan import LATE, Plan, Wave
from fwctl.rollouts.rails import rules as guardrails
from fwctl.rollouts.view import RolloutView
from fwctl.rollouts.windows.calendar import Closed, next_change, shut

StandingState = Literal[
    "pending", "held", "in-flight", "retry", "staged", "reached", "failed", "straggler", "back", "untouched"
]
FINAL: tuple[StandingState, ...] = ("reached", "failed", "straggler")


@dataclass(frozen=True)
class Context:
    """What a rule judges a wave by."""

    plan: Plan
    rollout: RolloutView
    now: datetime

    @cached_property
    def at(self) -> Mapping[str, Wave]:
        """The first wave of each track that has not passed."""
        return at_work(self.plan, self.rollout)


def at_work(plan: Plan, rollout: RolloutView) -> Mapping[str, Wave]:
    """Return the first wave of each track that has not passed; late joiners come after all others."""
    found = {
        track: wave
        for track, waves in plan.tracks.items()
        if (wave := next((wave for wave in waves if _unfinished(rollout, wave.name)), None)) is not None
    }
    return found if found.keys() <= {LATE} else {track: wave for track, wave in found.items() if track != LATE}


def _unfinished(rollout: RolloutView, wave: str) -> bool:
    view = rollout.waves.get(wave)
    return view is None or view.state != "passed"


Rule = Callable[[Context, Wave], str | Closed | None]
"""Returns why the devices of a wave must wait, or None; `Closed` where time ends it. A new reason to wait is one more
function in `RULES`; where time alone changes its answer, it is one in `CHANGES`, too."""


def not_stopped(context: Context, _wave: Wave) -> str | None:
    return context.rollout.stopped or None


def approved(context: Context, wave: Wave) -> str | None:
    if wave.stage <= context.rollout.approved_stage:
        return None
    return context.rollout.not_approved or f"stage {wave.stage} is not approved yet"


def guard_rail(context: Context, _wave: Wave) -> Closed | None:
    """A freeze of a guard rail holds all waves like a closed window."""
    found = guardrails.frozen(context.rollout.freezes, context.now)
    return Closed(found.words, found.freeze.ends) if found else None


def in_window(context: Context, wave: Wave) -> Closed | None:
    """The windows of the rollout and of the region; one that depends on the device holds devices, not the wave."""
    if wave.name not in context.rollout.waves and wave not in context.at.values():
        return None  # it waits for others first
    return shut(context.plan, wave, context.now)


def wave_open(context: Context, wave: Wave) -> str | None:
    if wave.name in context.rollout.waves:
        return None
    at = context.at.get(wave.track, next(iter(context.at.values()), wave)).name
    return f"{wave.name} waits for {at}" if at != wave.name else f"{wave.name} is not open yet"


QUARANTINE = "not_quarantined"
"""the only rule about one device: it gives way to a stop, and goes before the others"""
RULES: tuple[Rule, ...] = (not_stopped, approved, guard_rail, in_window, wave_open)


def window_changes(context: Context) -> datetime | None:
    """Return when a window of a wave opens or closes next, for any of the devices."""
    return next_change(context.plan, context.now)


def freeze_changes(context: Context) -> datetime | None:
    """Return when a freeze begins or ends next."""
    return guardrails.next_change(context.rollout.freezes, context.now)


CHANGES: tuple[Callable[[Context], datetime | None], ...] = (window_changes, freeze_changes)
"""when time alone changes next what `RULES` say"""


def changes_at(context: Context) -> datetime | None:
    """Return the next moment at which time alone changes what holds a wave."""
    return min((moment for change in CHANGES if (moment := change(context)) is not None), default=None)


@dataclass(frozen=True, slots=True)
class Hold:
    """Why the devices of a wave that could start must wait."""

    reason: str
    rule: str
    timed: bool = False
    """time ends it: what is settled stays settled, so that gates and soaks go on meanwhile"""
    until: datetime | None = None
    """of a timed one; None if that is not in sight"""

    @property
    def everybody(self) -> bool:
        """Say whether it holds those in quarantine, too: in a stopped rollout nobody has dropped out."""
        return self.rule == not_stopped.__name__

    def spares(self, state: StandingState) -> bool:
        """Say whether who stands so goes on to stand so, although nothing is begun with it meanwhile."""
        return self.timed and state in FINAL


def hold_of(context: Context, wave: Wave) -> Hold | None:
    """Return the first rule that keeps the devices of a wave from starting."""
    for rule in RULES:
        found = rule(context, wave)
        if isinstance(found, Closed):
            return Hold(found.reason, rule.__name__, timed=True, until=found.opens)
        if found:
            return Hold(found, rule.__name__)
    return None
