"""`decide`: what this pass does. A function of plan, view and clock; it sends nothing and asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fwctl.rollouts.actions import Action, Finish, Install, Leave, Resume, Step, Stop, Visit
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.standing import FINAL, Standing, stand
from fwctl.rollouts.view import DeviceView, RolloutView


@dataclass(frozen=True)
class Decision:
    """What to do now, where everybody stands, and when there will be something to do again."""

    actions: tuple[Action, ...]
    standings: Mapping[str, Standing]
    next_due: datetime | None

    @property
    def counts(self) -> Counter[str]:
        return Counter(standing.state for standing in self.standings.values())


def decide(plan: Plan, rollout: RolloutView, now: datetime) -> Decision:
    """Return the actions of one round; none means that nothing is due.

    Devices in flight are visited first; new ones start only while fewer than `limits.maxConcurrent` are in flight (I7).
    """
    dropped = set(plan.dropped)
    standings = {device: stand(plan, rollout, device, now) for device in plan.members if device not in dropped}
    if (stop := _must_stop(rollout)) is not None:
        return Decision((stop,), standings, None)
    due = [standing for standing in standings.values() if standing.due is not None and standing.due <= now]
    in_flight = sum(1 for standing in standings.values() if standing.state == "in-flight")
    room = max(0, plan.limits.max_concurrent - in_flight)
    started = [standing for standing in due if standing.state == "in-flight"]
    starting = [standing for standing in due if standing.state != "in-flight"]
    actions: list[Action] = [Visit(standing.device, standing.reason) for standing in (*started, *starting[:room])]
    # What was stopped stays so, with its reason, even when nobody is left who could have started.
    may_end = not actions and not rollout.stopped
    if may_end and (finish := _finished(standings)) is not None and finish != rollout.finished:
        actions.append(finish)
    waits = [standing.due for standing in standings.values() if standing.due is not None and standing.due > now]
    return Decision(tuple(actions), standings, min(waits, default=None))


def next_step(plan: Plan, rollout: RolloutView, device: DeviceView, now: datetime) -> Step:
    """Return what to do with a device that has just answered; `device` is its view after this observation."""
    fresh = RolloutView(
        approved_stage=rollout.approved_stage,
        not_approved=rollout.not_approved,
        stopped=rollout.stopped,
        devices={device.id: device},
    )
    standing = stand(plan, fresh, device.id, now)
    if standing.state == "in-flight" and device.order is not None:
        return Resume(device.order.id, standing.reason)
    if standing.state in ("pending", "retry") and standing.due is not None and standing.due <= now:
        return Install(device.attempts + 1, standing.reason)
    return Leave(standing.reason, standing.due)


def _must_stop(rollout: RolloutView) -> Stop | None:
    """A refusal means that we sent what a device must not take: nobody else gets it before a human has looked."""
    if rollout.stopped:
        return None
    for device in rollout.devices.values():
        if device.failure and device.failure.klass == "refused":
            return Stop("refused", f"{device.id} refused: {device.failure.code}")
    return None


def _finished(standings: Mapping[str, Standing]) -> Finish | None:
    if not all(standing.state in FINAL for standing in standings.values()):
        return None
    counts: Counter[str] = Counter(standing.state for standing in standings.values())
    more = [
        f"{counts[state]} {word}"
        for state, word in (("straggler", "stragglers"), ("failed", "failed"))
        if counts[state]
    ]
    reason = ", ".join([f"{counts['reached']} of {len(standings)} reached", *more])
    return Finish("failed" if counts["failed"] else "complete", reason)
