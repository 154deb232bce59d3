"""The life of a wave: it opens, its devices settle, it soaks, it is judged. One wave of each track is at this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from fwctl.rollouts import switching
from fwctl.rollouts.actions import Action, GoBack, MoveWave, Stop, Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.going_back import passed, stay_words
from fwctl.rollouts.health import control_group
from fwctl.rollouts.health.gates import RATE, Fail, Inconclusive, Pass, Undecided, judge, too_many
from fwctl.rollouts.holds import at_work
from fwctl.rollouts.plan import LATE, Plan, Wave
from fwctl.rollouts.view import RolloutView, WaveView

NOBODY_JOINS = "nobody else joins late, and who runs the firmware keeps it"


def current(plan: Plan, rollout: RolloutView) -> tuple[Wave, ...]:
    """Return the first wave of each track that has not passed; late joiners come after all others."""
    return tuple(at_work(plan, rollout).values())


@dataclass(frozen=True)
class WaveStep:
    """What the current waves do: act, wait until `due`, or hold for a reason."""

    actions: tuple[Action, ...] = ()
    due: datetime | None = None
    holding: str = ""
    holdings: Mapping[str, str] = field(default_factory=dict)
    """wave -> why it does not move"""
    later: datetime | None = None
    """when there is something to do again that no pass stays for"""


def holding_all(board: Board, reason: str) -> WaveStep:
    """Return that no wave moves, for one reason."""
    return WaveStep(holding=reason, holdings={wave.name: reason for wave in board.current})


def move_waves(board: Board) -> WaveStep:
    """Return what the current waves do next. One that fails stops the others, too."""
    if later := (_failed_later(board) if board.rollout.finished is None else ()) or _failed_joining(board):
        return WaveStep(later)
    if not board.current:
        until, holding = switching.retaining(board)
        return WaveStep(holding=holding, later=until)
    steps = {wave.name: _in_time(board, wave, _move(board, wave)) for wave in board.current}
    for step in steps.values():
        if any(isinstance(action, Stop | GoBack) for action in step.actions):
            return step
    return _together(steps)


def _together(steps: Mapping[str, WaveStep]) -> WaveStep:
    return WaveStep(
        actions=tuple(action for step in steps.values() for action in step.actions),
        due=min((step.due for step in steps.values() if step.due is not None), default=None),
        holding="; ".join(dict.fromkeys(step.holding for step in steps.values() if step.holding)),
        holdings={name: step.holding for name, step in steps.items() if step.holding},
    )


def _in_time(board: Board, wave: Wave, step: WaveStep) -> WaveStep:
    """Return the step where time holds the wave: it neither opens nor switches, and a pass may stay for its end."""
    hold = board.holds[board.number(wave)]
    if hold is None or not hold.timed:
        return step
    begins = any(isinstance(action, MoveWave) and action.state in ("open", "switching") for action in step.actions)
    if step.actions and not begins:
        return step
    due = min((moment for moment in (step.due, hold.until) if moment is not None), default=None)
    return WaveStep(due=due, holding=step.holding or hold.reason)


def _move(board: Board, wave: Wave) -> WaveStep:
    """Return what one wave does next. An inconclusive gate holds: stragglers or a person may still move it.

    An open wave whose approvals count no more is judged all the same: what was begun may fail, and must go back then.
    """
    plan, rollout = board.plan, board.rollout
    unapproved = wave.stage > rollout.approved_stage
    waits = f"{wave.name} waits for approval: {rollout.not_approved}" if unapproved else ""
    view = rollout.waves.get(wave.name)
    if view is None:
        if unapproved:
            return WaveStep(holding=waits)
        return WaveStep((MoveWave(wave.name, "open", f"{len(wave.devices)} devices may start"),))
    if view.state == "failed":
        # Judged, and killed before anything followed from it: what has settled since does not unsay it (R15).
        rule = control_group.RULE if view.reason.startswith(control_group.RULE) else RATE
        return WaveStep(_failed(board, wave, rule, view.reason))
    if switching.stages(wave, view):
        actions, holding = switching.stage(board, wave, waits)
        return WaveStep(actions, holding=holding)
    verdict = _nobody_left(board, wave) or judge(plan.spec.gates, board.counts.tally(board.number(wave)))
    promoted = rollout.control is not None and wave.name in rollout.control.promoted
    if promoted and not unapproved and rollout.control is not None and not isinstance(verdict, Fail):
        return WaveStep((MoveWave(wave.name, "passed", f"promoted by {rollout.control.words}"),))
    match verdict:
        case Undecided():
            return WaveStep(holding=waits or switching.progress(board, wave, view))
        case Fail(rule=rule, reason=reason):
            return WaveStep(_failed(board, wave, rule, reason))
        case Inconclusive(rule=rule, reason=reason):
            return WaveStep(holding=waits or f"{wave.name}, {rule}: {reason}")
        case Pass(reason=reason):
            return _passing(board, wave, view, reason)
        case _:
            assert_never(verdict)


def _nobody_left(board: Board, wave: Wave) -> Inconclusive | None:
    """Say of a wave from which everybody has dropped out that it proves nothing to the waves after it."""
    last = board.plan.tracks[wave.track][-1]
    number = board.number(wave)
    out = sum(board.counts.standing(number).values())
    if wave is last or not out or board.counts.tally(number).size:
        return None
    return Inconclusive("minReached", f"all {out} are in quarantine or without a legal path; nobody is left to look at")


def looks(board: Board) -> list[Visit]:
    """Return the visits that soaks need: some while they last, and one of every device after the end."""
    wave_of, control = board.plan.wave_of, control_group.looks(board.plan, board.rollout, board.now)
    soaking = [Visit(device, f"{wave_of[device].name} soaks: does it still run well?") for device in board.looks()]
    return [*soaking, *(Visit(device, f"{wave}: in its control group") for device, wave in control)]


def _passing(board: Board, wave: Wave, view: WaveView, reason: str) -> WaveStep:
    if not wave.soak:
        return WaveStep((MoveWave(wave.name, "passed", reason),))
    soak = board.soaks.get(wave.name)
    if view.soak_since is None or soak is None:
        return WaveStep((MoveWave(wave.name, "soaking", f"{reason}; soak for {wave.soak} s"),))
    compared = control_group.judge(board.plan, board.rollout, wave, view.soak_since, board.now)
    if isinstance(compared, Fail):
        return WaveStep(_failed(board, wave, compared.rule, f"{compared.rule}: {compared.reason}"))
    if board.now < soak.end:
        # `looks` visits the devices meanwhile; a pass stays for it only if it can see the end.
        due = soak.end
        if board.plan.spec.gates.health.compare_with_control is not None:
            due = control_group.next_look(wave.soak, view.soak_since, board.now)
        return WaveStep(due=due, holding=f"{wave.name} soaks until {soak.end:%H:%M:%SZ}")
    if not soak.seen:
        return WaveStep()  # `looks` visits them first
    if isinstance(compared, Undecided):
        return WaveStep(holding=f"{wave.name}: the control group is looked at")
    if isinstance(compared, Inconclusive):
        return WaveStep(holding=f"{wave.name}, {compared.rule}: {compared.reason}")
    healthy = f"{reason}, healthy through the soak"
    return WaveStep((MoveWave(wave.name, "passed", f"{healthy}; {compared.reason}" if compared.reason else healthy),))


def _failed_later(board: Board) -> tuple[Action, ...]:
    """Return what follows when stragglers of a wave that has passed catch up and fail: the same gate holds for them.

    Judged by all devices that the wave ever had, so that somebody who leaves the fleet makes no wave fail. Where only
    one wave goes back, it has failed after all, and keeps the firmware no longer.
    """
    plan = board.plan
    for number in board.counts.blamed:
        wave = plan.all_waves[number]
        if wave.name != LATE and _view(board.rollout, wave).state == "passed":
            tally = board.counts.tally(number)
            if too_many(plan.spec.gates, tally.counted, len(wave.devices)):
                why = f"{tally.counted} of {len(wave.devices)} failed in the end"
                stop = _stop(board, wave, RATE, why)
                alone = isinstance(stop, GoBack) and stop.keeps
                return (MoveWave(wave.name, "failed", why), stop) if alone else (stop,)
    return ()


def _failed_joining(board: Board) -> tuple[Action, ...]:
    """Return what follows when devices fail that joined after the wave of late joiners had passed: its gate goes on.

    After the rollout has ended it is judged only where somebody else is about to join.
    """
    for wave in board.plan.late:
        number = board.number(wave)
        if number not in board.counts.blamed or _view(board.rollout, wave).state != "passed":
            continue
        tally = board.counts.tally(number)
        verdict = judge(board.plan.spec.gates, tally)
        if isinstance(verdict, Fail) and (board.rollout.finished is None or tally.unsettled):
            return (Stop(verdict.rule, f"{wave.name}: {verdict.reason}; {NOBODY_JOINS}"),)
    return ()


def _failed(board: Board, wave: Wave, rule: str, reason: str) -> tuple[Action, ...]:
    return MoveWave(wave.name, "failed", reason), _stop(board, wave, rule, reason)


def _stop(board: Board, wave: Wave, rule: str, reason: str) -> Stop | GoBack:
    why, rollback = f"{wave.name}: {reason}", board.plan.spec.rollback
    if not (rollback.automatic and rollback.allowed):
        return Stop(rule, why)
    if rollback.scope == "rollout":
        # The approved waves have passed their own gates: what comes late and fails takes nobody of them back.
        return Stop(rule, f"{why}; {NOBODY_JOINS}") if wave.name == LATE else GoBack(rule, why)
    stays = [one.name for one in board.plan.all_waves if one is not wave and one.name in passed(board.rollout)]
    return GoBack(rule, "; ".join(filter(None, (why, stay_words(stays)))), keeps=True)


def _view(rollout: RolloutView, wave: Wave) -> WaveView:
    return rollout.waves.get(wave.name) or WaveView("open")
