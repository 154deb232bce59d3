"""The switch in the middle of a wave that holds what it stages (BlueGreen): staging, gate, switch, what is retained.

While such a wave is `open` its devices write the firmware to their other slot and wait. `switching` activates them, in
one burst. The rest of its life is that of any wave, and then the rollout keeps watch until `retain` is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, assert_never

from fwctl.manifests.models import BlueGreen
from fwctl.rollouts.actions import Action, GoBack, MoveWave
from fwctl.rollouts.board import Board
from fwctl.rollouts.health.gates import Fail, Inconclusive, Pass, Undecided, judge
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.view import RolloutView, WaveView

SWITCH, RETAIN = "switch", "retain"
"""what a person may promote beside the wave itself: `switch/wave-1`, `retain/wave-1`"""


def words(plan: Plan) -> Iterator[str]:
    """Return what may be promoted in a plan beside its waves."""
    for wave in plan.waves:
        if wave.activation == "hold":
            yield f"{SWITCH}/{wave.name}"
            yield f"{RETAIN}/{wave.name}"


def word_now(plan: Plan, rollout: RolloutView, now: datetime) -> str | None:
    """Return what `promote` means at this moment: the switch, or the end of what is retained; None: the wave itself."""
    for wave in plan.waves:
        view = rollout.waves.get(wave.name)
        if wave.activation != "hold" or view is None:
            continue
        if view.state == "open":
            return f"{SWITCH}/{wave.name}"
        if retained_until(plan, rollout, now) is not None:
            return f"{RETAIN}/{wave.name}"
    return None


def is_over(word: str, plan: Plan, rollout: RolloutView, now: datetime) -> bool:
    """Say whether what a word stands for has happened already."""
    what, _, wave = word.partition("/")
    view = rollout.waves.get(wave)
    if view is None:
        return False
    if what == SWITCH:
        return view.switched
    return view.state == "passed" and retained_until(plan, rollout, now) is None


def meaning(word: str) -> str:
    """Return what comes of promoting a word, for people; empty for a wave's name."""
    what, _, wave = word.partition("/")
    means = {
        SWITCH: f"whoever of {wave} holds the firmware switches to it; the others switch as soon as they have it",
        RETAIN: "the old slots are kept no longer: from now on late failures take nobody back",
    }
    return means.get(what, "")


def activation(wave: Wave, view: WaveView | None) -> Literal["now", "hold"]:
    """Return how a device is ordered to install: whoever is staged after the switch switches at once."""
    return "hold" if wave.activation == "hold" and (view is None or view.state == "open") else "now"


def stages(wave: Wave, view: WaveView | None) -> bool:
    """Say whether a wave is staging: nobody has switched."""
    return wave.activation == "hold" and view is not None and view.state == "open"


def stage(board: Board, wave: Wave, waits: str) -> tuple[tuple[Action, ...], str]:
    """Return what a staging wave does next, and why it does not move; `waits` says which approval is missing.

    A staging gate that fails gives all slots back whatever `rollback` says: no device has switched.
    """
    plan, tally = board.plan, board.counts.tally(board.number(wave), staged=True)
    verdict, told = judge(plan.spec.gates, tally), f"{tally.reached} of {tally.size} staged"
    if isinstance(verdict, Fail):
        why = f"{wave.name}: {verdict.reason} while staging; no device had switched"
        # In this order: after a crash between the two nothing is left to decide.
        keeps = plan.spec.rollback.scope == "wave"
        return (GoBack(verdict.rule, why, keeps), MoveWave(wave.name, "failed", f"staging: {verdict.reason}")), ""
    if waits:
        return (), waits
    if (by := _promoted(board.rollout, f"{SWITCH}/{wave.name}")) is not None:
        return (MoveWave(wave.name, "switching", f"{told}; promoted by {by}"),), ""
    match verdict:
        case Undecided():
            return (), f"{wave.name} stages: {told}"
        case Inconclusive(rule=rule, reason=reason):
            return (), f"{wave.name} stages, {rule}: {reason.replace(' reached', ' staged')}"
        case Pass():
            if _strategy(plan).switch == "Manual":
                return (), f"{told}; fwctl promote makes the switch of {wave.name}"
            return (MoveWave(wave.name, "switching", told),), ""
        case _:
            assert_never(verdict)


def progress(board: Board, wave: Wave, view: WaveView) -> str:
    """Return how far the switch is, for a wave that is at it; empty for any other."""
    if wave.activation != "hold" or view.state != "switching":
        return ""
    tally = board.counts.tally(board.number(wave))
    return f"{wave.name} switches: {tally.reached} of {tally.size} switched"


def retained_until(plan: Plan, rollout: RolloutView, now: datetime) -> datetime | None:
    """Return until when the old slots are kept; None when that is over, has not begun, or was ended by a person."""
    ends = [
        view.judged_at + timedelta(seconds=_strategy(plan).retain)
        for wave in plan.waves
        if wave.activation == "hold"
        and (view := rollout.waves.get(wave.name)) is not None
        and view.state == "passed"
        and view.judged_at is not None
        and _promoted(rollout, f"{RETAIN}/{wave.name}") is None
    ]
    return max((end for end in ends if end > now), default=None)


def retaining(board: Board) -> tuple[datetime | None, str]:
    """Return until when a rollout whose waves have passed keeps the old slots, and that it does."""
    if board.rollout.finished is not None:
        return None, ""
    until = retained_until(board.plan, board.rollout, board.now)
    if until is None:
        return None, ""
    return until, f"keeps the old slots until {until:%Y-%m-%d %H:%M:%SZ}; fwctl promote ends it"


def _promoted(rollout: RolloutView, word: str) -> str | None:
    """Return by whom and why something was promoted."""
    control = rollout.control
    return control.words if control is not None and word in control.promoted else None


def _strategy(plan: Plan) -> BlueGreen:
    strategy = plan.spec.strategy
    return strategy if isinstance(strategy, BlueGreen) else BlueGreen(type="BlueGreen")
