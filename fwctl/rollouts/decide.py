"""`decide`: what this pass does. A function of plan, view and clock; it sends nothing and asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fwctl.rollouts import switching
from fwctl.rollouts.actions import (
    Action,
    Activate,
    Defer,
    Finish,
    GoBack,
    Install,
    Leave,
    Quarantine,
    Resume,
    Step,
    Stop,
    TakeBack,
    Visit,
)
from fwctl.rollouts.board import Board
from fwctl.rollouts.going_back import keep_words, kept, stand_back
from fwctl.rollouts.limits.returning import full_place
from fwctl.rollouts.paths.reversal import STAYS, told
from fwctl.rollouts.paths.stepping import next_release
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.readiness import not_ready
from fwctl.rollouts.standing import Standing, stand
from fwctl.rollouts.view import DeviceView, RolloutView
from fwctl.rollouts.waves import WaveStep, holding_all, looks, move_waves
from fwctl.rollouts.windows.calendar import device_closed

DEFER_AGAIN = timedelta(minutes=5)
"""a device that is not ready is asked again so often"""
LOOK_AGAIN = timedelta(hours=1)
"""one that has not taken its order outside its window is asked again after so long, or when the window opens"""


@dataclass(frozen=True)
class Decision:
    """What to do now, where everybody stands, and when there will be something to do again."""

    actions: tuple[Action, ...]
    standings: Mapping[str, Standing]
    """of a kept board: until its next update"""
    next_due: datetime | None
    wave_due: datetime | None = None
    holding: str = ""
    """why the current waves do not move, if they do not"""
    counts: Mapping[str, int] = field(default_factory=dict)
    """how many devices stand how"""
    prompt_due: datetime | None = None
    """when the next device is due that is no straggler"""
    holdings: Mapping[str, str] = field(default_factory=dict)
    """wave -> why it does not move"""

    def soon(self, now: datetime) -> datetime | None:
        """Return when there is something to do again, without the hours after which stragglers are looked for."""
        return _next_due([self.prompt_due, self.wave_due], now)


def decide(plan: Plan, rollout: RolloutView, now: datetime) -> Decision:
    """Return the actions of one round; none means that nothing is due.

    Devices in flight are visited first; new ones start only while fewer than `limits.maxConcurrent` are in flight (I7).
    """
    board = Board(plan)
    board.update(rollout, None, now)
    return decide_on(board)


def decide_on(board: Board) -> Decision:
    """Return what `decide` returns for the rollout and the moment that the board was updated with."""
    rollout = board.rollout
    if board.back:
        return _go_back(board)
    if (stop := _must_stop(board)) is not None:
        return _decision(board, [stop])
    step = holding_all(board, rollout.stopped) if rollout.stopped else move_waves(board)
    quarantines = [Quarantine(one.device, one.reason) for one in board.lasting()]
    if step.actions:
        return _decision(board, [*quarantines, *step.actions])
    actions: list[Action] = [*quarantines, *_visits(board)]
    if not actions and not rollout.stopped and (finish := _finished(board)) is not None:
        actions.append(finish)
    return _decision(board, actions, step)


def next_step(plan: Plan, rollout: RolloutView, device: DeviceView, now: datetime) -> Step:
    """Return what to do with a device that has just answered; `device` is its view after this observation."""
    fresh = replace(rollout, devices={device.id: device})
    if rollout.back_since is not None:
        standing = stand_back(plan, fresh, device.id, now)
        if standing.state == "in-flight" and device.install is not None:
            return TakeBack(device.taken or device.install, standing.reason)
        return Leave(standing.reason, standing.due)
    standing = stand(plan, fresh, device.id, now)
    begun = device.order is not None and device.order.accepted
    due = standing.due is not None and standing.due <= now
    if due and not _goes_on(device, standing) and (closed := device_closed(plan, device.id, now)) is not None:
        return Leave(closed.reason, min(closed.opens or now + LOOK_AGAIN, now + LOOK_AGAIN))
    if due and not begun and (why := not_ready(plan.spec.preconditions, device.facts or {})):
        return Defer(why, now + DEFER_AGAIN)
    if standing.state == "in-flight" and device.order is not None:
        unapproved = plan.wave_of[device.id].stage > rollout.approved_stage
        if unapproved and not begun and not device.by_mandate and device.install is not None:
            # The device has not taken it, and must not: its approvals count no more.
            return TakeBack(device.install, f"withdrawn: {rollout.not_approved}")
        return Resume(device.order.id, standing.reason)
    if standing.state == "staged" and due and device.order is not None:
        return Activate(device.order.id, standing.reason)
    if standing.state in ("pending", "retry") and standing.due is not None and standing.due <= now:
        if (why := full_place(plan, rollout, device.id)) is not None:
            return Leave(why)
        release = next_release(plan, device)
        return Install(device.attempts + 1, standing.reason, None if release is plan.release else release)
    return Leave(standing.reason, standing.due)


def _goes_on(device: DeviceView, standing: Standing) -> bool:
    """Say whether what is due has begun, so that no window stops it: the device took the order, or runs what it is."""
    if device.order is None or standing.state == "staged":
        return False
    return device.order.accepted or (device.by_mandate and device.running == device.ordered)


def _decision(board: Board, actions: list[Action], step: WaveStep | None = None) -> Decision:
    """Return the decision; without a step of the waves the next round follows at once, and nothing is waited for."""
    due, prompt = board.dues()
    if step is None:
        return Decision(tuple(actions), board, None, counts=board.counts.by_state, prompt_due=prompt)
    due = _next_due([due, step.due, step.later], board.now)
    return Decision(tuple(actions), board, due, step.due, step.holding, board.counts.by_state, prompt, step.holdings)


def _visits(board: Board) -> list[Action]:
    """Return whom to contact: who is in flight, who may start within the limits, who is looked at in a soak."""
    chosen = [Visit(one.device, one.reason) for one in board.due(board.plan.limits.max_concurrent - board.in_flight)]
    busy = {visit.device for visit in chosen}
    return [*chosen, *(look for look in looks(board) if look.device not in busy)]


def _must_stop(board: Board) -> Stop | GoBack | None:
    """A person's word comes first. A refusal means that we sent what a device must not take: a human has to look."""
    control, refused = board.rollout.control, board.refused
    if control is not None and control.goes_back:
        return GoBack("control", control.words)
    if board.rollout.stopped:
        return None
    if control is not None and control.state in ("paused", "aborted"):
        return Stop(control.state, control.words)
    if refused is not None and refused.failure is not None:
        return Stop("refused", f"{refused.id} refused: {refused.failure.code}")
    return None


def _finished(board: Board) -> Finish | None:
    if board.current or not board.counts.settled or switching.retaining(board)[1]:
        return None
    counts = board.counts.by_state
    lost = len(board.lost)
    numbers = (
        (counts["straggler"], "stragglers"),
        (counts["failed"], "failed"),
        (counts["held"] - lost, "in quarantine"),
        (lost, "without a legal path"),
    )
    more = [f"{number} {word}" for number, word in numbers if number]
    finish = Finish("complete", ", ".join([f"{counts['reached']} of {len(board)} reached", *more]))
    return finish if finish != board.rollout.finished else None


def _go_back(board: Board) -> Decision:
    rollout, counts = board.rollout, board.counts.by_state
    if rollout.back_keeps and rollout.control is not None and rollout.control.goes_back:
        # A gate took back one wave; a person takes back everything.
        return _decision(board, [GoBack("control", rollout.control.words)])
    room = max(0, board.plan.spec.rollback.max_concurrent - len(rollout.visiting))
    actions: list[Action] = [Visit(one.device, one.reason) for one in board.due(room)]
    if not actions and not counts["in-flight"] and not rollout.visiting:
        more = [f"{counts['retry']} still to return"] if counts["retry"] else []
        more += _staying(board) if counts["failed"] else []
        words = (", ".join([f"{counts['back']} taken back", *more]), keep_words(board.plan, _keeping(board)))
        finish = Finish("rolled-back", "; ".join(filter(None, words)))
        actions += [finish] if finish != rollout.finished else []
    return _decision(board, actions, WaveStep())


def _keeping(board: Board) -> dict[str, int]:
    """Return the waves that keep the firmware, and how many devices of each run it."""
    waves = [wave for wave in board.plan.all_waves if wave.name in kept(board.rollout)]
    return {wave.name: board.counts.standing(board.number(wave))["reached"] for wave in waves}


def _staying(board: Board) -> list[str]:
    """Return in words who is not back, and why."""
    failed = [one for one in board.values() if one.state == "failed"]
    staying = [one.reason.removeprefix("stays: ") for one in failed if one.rule == STAYS]
    refuse = len(failed) - len(staying)
    return [*([f"{refuse} refuse"] if refuse else []), *told(staying)]


def _next_due(moments: Iterable[datetime | None], now: datetime) -> datetime | None:
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
