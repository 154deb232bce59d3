"""`decide`: what this pass does. A function of plan, view and clock; it sends nothing and asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fwctl.rollouts.actions import (
    Action,
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
from fwctl.rollouts.going_back import stand_back
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.readiness import not_ready
from fwctl.rollouts.standing import FINAL, Standing, stand
from fwctl.rollouts.view import DeviceView, RolloutView
from fwctl.rollouts.waves import WaveStep, looks, move_waves

DEFER_AGAIN = timedelta(minutes=5)
"""a device that is not ready is asked again so often"""


@dataclass(frozen=True)
class Decision:
    """What to do now, where everybody stands, and when there will be something to do again."""

    actions: tuple[Action, ...]
    standings: Mapping[str, Standing]
    next_due: datetime | None
    wave_due: datetime | None = None
    holding: str = ""
    """why the current wave does not move, if it does not"""

    def soon(self, now: datetime) -> datetime | None:
        """Return when there is something to do again, without the hours after which stragglers are looked for."""
        dues = [one.due for one in self.standings.values() if one.state in ("in-flight", "retry", "pending")]
        return _next_due([*dues, self.wave_due], now)

    @property
    def counts(self) -> Counter[str]:
        return Counter(standing.state for standing in self.standings.values())


def decide(plan: Plan, rollout: RolloutView, now: datetime) -> Decision:
    """Return the actions of one round; none means that nothing is due.

    Devices in flight are visited first; new ones start only while fewer than `limits.maxConcurrent` are in flight (I7).
    """
    dropped = set(plan.dropped)
    members = [device for device in plan.members if device not in dropped]
    if rollout.back_since is not None:
        return _go_back(plan, rollout, members, now)
    standings = {device: stand(plan, rollout, device, now) for device in members}
    if (stop := _must_stop(rollout)) is not None:
        return Decision((stop,), standings, None)
    step = WaveStep(holding=rollout.stopped) if rollout.stopped else move_waves(plan, rollout, standings, now)
    quarantines = _quarantines(rollout, standings)
    if step.actions:
        return Decision((*quarantines, *step.actions), standings, None)
    actions: list[Action] = [*quarantines, *_visits(plan, rollout, standings, now)]
    if not actions and not rollout.stopped and (finish := _finished(plan, rollout, standings)) is not None:
        actions.append(finish)
    due = _next_due([*_dues(standings.values()), step.due], now)
    return Decision(tuple(actions), standings, due, step.due, step.holding)


def next_step(plan: Plan, rollout: RolloutView, device: DeviceView, now: datetime) -> Step:
    """Return what to do with a device that has just answered; `device` is its view after this observation."""
    fresh = replace(rollout, devices={device.id: device})
    if rollout.back_since is not None:
        standing = stand_back(plan, fresh, device.id, now)
        if standing.state == "in-flight" and device.install is not None:
            return TakeBack(device.install, standing.reason)
        return Leave(standing.reason, standing.due)
    standing = stand(plan, fresh, device.id, now)
    begun = device.order is not None and device.order.accepted
    due = standing.due is not None and standing.due <= now
    if due and not begun and (why := not_ready(plan.spec.preconditions, device.facts or {})):
        return Defer(why, now + DEFER_AGAIN)
    if standing.state == "in-flight" and device.order is not None:
        return Resume(device.order.id, standing.reason)
    if standing.state in ("pending", "retry") and standing.due is not None and standing.due <= now:
        return Install(device.attempts + 1, standing.reason)
    return Leave(standing.reason, standing.due)


def _visits(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing], now: datetime) -> list[Action]:
    """Return whom to contact: who is in flight, who may start within the limits, who is looked at in a soak."""
    flying = {device for device, standing in standings.items() if _in_flight(rollout, standing)}
    room = plan.limits.max_concurrent - len(flying)
    by_wave = Counter(plan.wave_of[device].name for device in flying)
    chosen: list[Action] = []
    for device, standing in standings.items():
        if standing.due is None or standing.due > now or device in rollout.visiting:
            continue
        wave = plan.wave_of[device]
        if device not in flying:
            full = wave.max_unavailable is not None and by_wave[wave.name] >= wave.max_unavailable
            if room <= 0 or full:
                continue
            room -= 1
            by_wave[wave.name] += 1
        chosen.append(Visit(device, standing.reason))
    busy = rollout.visiting | {action.device for action in chosen if isinstance(action, Visit)}
    return [*chosen, *(look for look in looks(plan, rollout, standings, now) if look.device not in busy)]


def _in_flight(rollout: RolloutView, standing: Standing) -> bool:
    """A device that has taken an order holds its place until it answers (a straggler too) or is put in quarantine."""
    device = rollout.devices.get(standing.device)
    if standing.state == "in-flight" or standing.device in rollout.visiting:
        return True
    if standing.dropped_out:
        return False
    return device is not None and device.order is not None and device.order.accepted


def _quarantines(rollout: RolloutView, standings: Mapping[str, Standing]) -> list[Action]:
    """A device that failed for good is kept out of everything until somebody has looked at it."""
    found: list[Action] = []
    for standing in standings.values():
        device = rollout.devices.get(standing.device)
        lasting = standing.klass in ("install", "health", "unconfirmed", "silent-revert")
        settled = device is None or device.quarantined or device.pardoned  # it was looked at after it failed
        if standing.state == "failed" and lasting and not settled:
            found.append(Quarantine(standing.device, standing.reason))
    return found


def _must_stop(rollout: RolloutView) -> Stop | GoBack | None:
    """A person's word comes first. A refusal means that we sent what a device must not take: a human has to look."""
    control = rollout.control
    if control is not None and (control.state == "rolled-back" or (control.state == "aborted" and control.revert)):
        return GoBack("control", control.words)
    if rollout.stopped:
        return None
    if control is not None and control.state in ("paused", "aborted"):
        return Stop(control.state, control.words)
    for device in rollout.devices.values():
        if device.failure and device.failure.klass == "refused":
            return Stop("refused", f"{device.id} refused: {device.failure.code}")
    return None


def _finished(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing]) -> Finish | None:
    if not all(standing.state in FINAL or standing.dropped_out for standing in standings.values()):
        return None
    if any(wave.name not in rollout.waves or rollout.waves[wave.name].state != "passed" for wave in plan.waves):
        return None
    counts: Counter[str] = Counter(standing.state for standing in standings.values())
    words = (("straggler", "stragglers"), ("failed", "failed"), ("held", "in quarantine"))
    more = [f"{counts[state]} {word}" for state, word in words if counts[state]]
    finish = Finish("complete", ", ".join([f"{counts['reached']} of {len(standings)} reached", *more]))
    return finish if finish != rollout.finished else None


def _go_back(plan: Plan, rollout: RolloutView, members: list[str], now: datetime) -> Decision:
    standings = {device: stand_back(plan, rollout, device, now) for device in members}
    due = [one for one in standings.values() if one.due is not None and one.due <= now]
    due = [one for one in due if one.device not in rollout.visiting]
    room = max(0, plan.spec.rollback.max_concurrent - len(rollout.visiting))
    actions: list[Action] = [Visit(one.device, one.reason) for one in due[:room]]
    counts: Counter[str] = Counter(standing.state for standing in standings.values())
    if not actions and not counts["in-flight"] and not rollout.visiting:
        more = [f"{counts['retry']} still to return"] if counts["retry"] else []
        more += [f"{counts['failed']} refuse"] if counts["failed"] else []
        finish = Finish("rolled-back", ", ".join([f"{counts['back']} taken back", *more]))
        actions += [finish] if finish != rollout.finished else []
    return Decision(tuple(actions), standings, _next_due(_dues(standings.values()), now))


def _dues(standings: Iterable[Standing]) -> list[datetime | None]:
    return [standing.due for standing in standings]


def _next_due(moments: Iterable[datetime | None], now: datetime) -> datetime | None:
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
