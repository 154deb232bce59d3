"""Where one device stands in one rollout: the single judgement that `decide`, `status` and `explain` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from fwctl.rollouts.failures import CLASSES, attempts_allowed, retry_at
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.view import DeviceView, OpenOrder, RolloutView
from fwctl_agent.protocol.statements import FailureClass

STRAGGLER_RETRY = timedelta(hours=1)
"""a straggler is left alone for so long; then it is looked for with the longest wait between attempts"""
GRACE = timedelta(minutes=1)
"""after `confirmWithin`, until a device that took an order and is silent since is given up"""

StandingState = Literal["pending", "held", "in-flight", "retry", "reached", "failed", "straggler", "back", "untouched"]
FINAL: tuple[StandingState, ...] = ("reached", "failed", "straggler")


@dataclass(frozen=True)
class Standing:
    """State, reason, and when the device is due next; None means nothing will be done."""

    device: str
    state: StandingState
    reason: str
    due: datetime | None
    rule: str = ""
    klass: FailureClass | None = None
    """of a failure"""

    @property
    def dropped_out(self) -> bool:
        """Say whether the device takes no part, as if it were no target: it is in quarantine."""
        return self.state == "held" and self.rule == not_quarantined.__name__


@dataclass(frozen=True)
class Case:
    """What a rule judges: one device that could start now."""

    plan: Plan
    rollout: RolloutView
    wave: Wave
    device: DeviceView


Rule = Callable[[Case], str | None]
"""Returns why the device must wait, or None. A new reason to wait is one more function in `RULES`."""


def not_stopped(case: Case) -> str | None:
    return case.rollout.stopped or None


def approved(case: Case) -> str | None:
    if case.wave.stage <= case.rollout.approved_stage:
        return None
    return case.rollout.not_approved or f"stage {case.wave.stage} is not approved yet"


def wave_open(case: Case) -> str | None:
    if case.wave.name in case.rollout.waves:
        return None
    at = next((wave.name for wave in case.plan.waves if _unfinished(case.rollout, wave.name)), case.wave.name)
    return f"{case.wave.name} waits for {at}" if at != case.wave.name else f"{at} is not open yet"


def not_quarantined(case: Case) -> str | None:
    return f"in quarantine: {case.device.quarantined}" if case.device.quarantined else None


RULES: tuple[Rule, ...] = (not_stopped, not_quarantined, approved, wave_open)


def _unfinished(rollout: RolloutView, wave: str) -> bool:
    view = rollout.waves.get(wave)
    return view is None or view.state != "passed"


def stand(plan: Plan, rollout: RolloutView, device_id: str, now: datetime) -> Standing:
    """Return where a member of the plan stands at `now`. Pure; the order of the questions is the specification."""
    device = rollout.devices.get(device_id) or DeviceView(id=device_id)
    if device.spent:
        klass = device.failure.klass if device.failure else "health"
        why = "the device took this firmware back; a new round needs a new approval"
        return Standing(device_id, "failed", why, None, klass=klass)
    if device.order is not None and device.quarantined and device.unreachable_since:
        # It took an order and went silent: a person has given it up, and its place with it (CONTRACTS).
        return Standing(device_id, "held", f"in quarantine: {device.quarantined}", None, rule=not_quarantined.__name__)
    if device.order is not None:
        return _under_way(plan, device, device.order, now)
    if device.running == plan.release.digest:
        # Success is only what the device reports to run, never what an order was meant to do.
        return Standing(device_id, "reached", f"runs {plan.release.version}", None)
    if device.confirmed and not device.pardoned:
        why = "silent-revert: it confirmed and does not run the firmware any more"
        return Standing(device_id, "failed", why, None, klass="silent-revert")
    failure = None if device.pardoned else device.failure
    if failure and device.tries >= attempts_allowed(failure.klass, plan.retry):
        why = f"{failure.klass} ({failure.code}): {CLASSES[failure.klass].then}"
        return Standing(device_id, "failed", why, None, klass=failure.klass)
    case = Case(plan, rollout, plan.wave_of[device_id], device)
    for rule in RULES:
        held = rule(case)
        if held:
            return Standing(device_id, "held", held, None, rule=rule.__name__)
    return _may_start(plan, device, now)


def _under_way(plan: Plan, device: DeviceView, order: OpenOrder, now: datetime) -> Standing:
    if not order.accepted and device.deferred_since is not None:
        return _deferred(plan, device, device.deferred_since, now)
    # One that took the order goes back by itself when no confirm comes; until then it may be restarting.
    silence = timedelta(seconds=plan.confirm_within) + GRACE if order.accepted else timedelta()
    if _out_of_time(plan, device, now, at_least=silence):
        return Standing(device.id, "straggler", _unreached(device), _later(device, now))
    silent = f", {_unreached(device)}" if device.unreachable_since else ""
    return Standing(device.id, "in-flight", f"attempt {order.attempt}: {order.state}{silent}", device.due_at or now)


def _deferred(plan: Plan, device: DeviceView, since: datetime, now: datetime) -> Standing:
    """A device that is not ready holds nobody's place, and counts against nothing; its time ends, too."""
    why = f"not ready since {since:%Y-%m-%d %H:%M:%SZ}"
    if now - since >= timedelta(seconds=plan.spec.preconditions.readiness.max_defer):
        return Standing(device.id, "straggler", why, max(device.due_at or now, since + STRAGGLER_RETRY))
    return Standing(device.id, "retry", why, device.due_at or now)


def _may_start(plan: Plan, device: DeviceView, now: datetime) -> Standing:
    if device.deferred_since is not None:
        return _deferred(plan, device, device.deferred_since, now)
    if _out_of_time(plan, device, now):
        return Standing(device.id, "straggler", _unreached(device), _later(device, now))
    if device.unreachable_since is not None:
        return Standing(device.id, "retry", _unreached(device), device.due_at or now)
    if device.failure is not None and not device.pardoned:
        due = retry_at(plan.retry, device=device.id, failures=device.tries, failed_at=device.failure.at)
        return Standing(device.id, "retry", f"after {device.failure.klass} ({device.failure.code})", due)
    return Standing(device.id, "pending", "may start", device.due_at or now)


def _out_of_time(plan: Plan, device: DeviceView, now: datetime, *, at_least: timedelta = timedelta()) -> bool:
    limit, since = plan.spec.gates.timeout_per_device, device.unreachable_since
    return since is not None and limit is not None and now - since >= max(timedelta(seconds=limit), at_least)


def _unreached(device: DeviceView) -> str:
    return f"unreachable since {device.unreachable_since:%Y-%m-%d %H:%M:%SZ} ({device.misses} tries)"


def _later(device: DeviceView, now: datetime) -> datetime:
    return max(device.due_at or now, (device.unreachable_since or now) + STRAGGLER_RETRY)
