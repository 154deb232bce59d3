"""Where one device stands in one rollout: the single judgement that `decide`, `status` and `explain` share.

A device is judged apart from the clock and from its wave (`judge`), so that the verdict of a device that nothing has
happened to is kept from round to round, and one verdict serves all devices that are told the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from fwctl.rollouts.failures import CLASSES, attempts_allowed, retry_at
from fwctl.rollouts.holds import FINAL as FINAL
from fwctl.rollouts.holds import QUARANTINE
from fwctl.rollouts.holds import Context as Context
from fwctl.rollouts.holds import Hold as Hold
from fwctl.rollouts.holds import StandingState as StandingState
from fwctl.rollouts.holds import hold_of as hold_of
from fwctl.rollouts.paths.stepping import NO_PATH, no_path, on_the_way, order_words, step_words
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, OpenOrder, RolloutView
from fwctl_agent.protocol.statements import FailureClass

STRAGGLER_RETRY = timedelta(hours=1)
"""a straggler is left alone for so long; then it is looked for with the longest wait between attempts"""
GRACE = timedelta(minutes=1)
"""after `confirmWithin`, until a device that took an order and is silent since is given up"""


@dataclass(frozen=True, slots=True)
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
        return self.state == "held" and self.rule in (QUARANTINE, NO_PATH)


class Kind(NamedTuple):
    """What counting needs of a verdict."""

    state: StandingState
    against: bool
    """it failed in a way that counts against the gate"""
    free: bool
    out: bool

    def under(self, hold: Hold | None) -> tuple[StandingState, bool]:
        """Return the state in a wave with this hold, and whether the device has dropped out."""
        if not self.free or (hold is None and not self.out) or (hold is not None and hold.spares(self.state)):
            return self.state, self.out
        return "held", self.out and not (hold is not None and hold.everybody)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a device until something happens to it, or until `until`."""

    state: StandingState
    reason: str
    due: datetime | None = None
    asap: bool = False
    """due since `due` (or ever): by now, it is due now"""
    rule: str = ""
    klass: FailureClass | None = None
    until: datetime | None = None
    """from then on it is another verdict"""
    free: bool = False
    """it has nothing under way and waits for its wave, or for release from `quarantine`"""
    quarantine: str = ""
    """why it is in quarantine, if that is what keeps a free device from starting"""
    holds_place: bool = False
    """it counts as in flight"""

    @property
    def kind(self) -> Kind:
        against = self.state == "failed" and (self.klass is None or CLASSES[self.klass].counts)
        out = bool(self.quarantine) if self.free else self.state == "held"
        return Kind(self.state, against, self.free, out)

    @property
    def moment(self) -> datetime | None:
        """When it is due, if the wave lets it; None if it is due already, or never."""
        return None if self.quarantine else self.due

    @property
    def is_quiet(self) -> bool:
        """Say whether nothing follows from it, now or later, but that the device may start when it is its turn."""
        return self is MAY_START or self is STAGED or self.state in ("reached", "back", "untouched")

    def is_due(self, now: datetime) -> bool:
        """Say whether there is something to do, if the wave lets it."""
        if self.quarantine:
            return False
        return self.asap if self.due is None else self.due <= now

    def standing(self, device: str, now: datetime, hold: Hold | None = None) -> Standing:
        """Return what it means for one device at `now`, in a wave with this hold."""
        if self.free and hold is not None and hold.spares(self.state):
            return Standing(device, self.state, f"{self.reason}; {hold.reason}", None, self.rule, self.klass)
        if self.free and hold is not None and (hold.everybody or not self.quarantine):
            return Standing(device, "held", hold.reason, None, rule=hold.rule)
        if self.quarantine:
            return Standing(device, "held", self.quarantine, None, rule=QUARANTINE)
        due = max(self.due or now, now) if self.asap else self.due
        return Standing(device, self.state, self.reason, due, self.rule, self.klass)


MAY_START = Verdict("pending", "may start", asap=True, free=True)
STAGED = Verdict("staged", "holds the firmware; it switches when all do")


def stand(plan: Plan, rollout: RolloutView, device_id: str, now: datetime) -> Standing:
    """Return where a member of the plan stands at `now`. Pure."""
    at = rollout.waves.get(plan.wave_of[device_id].name)
    verdict = judge(plan, rollout.devices.get(device_id), now, switched=at is not None and at.switched)
    hold = hold_of(Context(plan, rollout, now), plan.wave_of[device_id]) if verdict.free else None
    return verdict.standing(device_id, now, hold)


def judge(plan: Plan, device: DeviceView | None, now: datetime, *, switched: bool = False) -> Verdict:
    """Return the verdict on a device, None for one never heard of. The order of the questions is the specification.

    `switched` says that its wave lets those switch that hold the firmware.
    """
    if device is None:
        return MAY_START
    if device.waits_to_switch and not device.spent:
        return _staged(plan, device, now) if switched or device.quarantined else STAGED
    verdict = _judge(plan, device, now)
    accepted = device.order is not None and device.order.accepted
    if verdict.state == "in-flight" or (accepted and not verdict.kind.out):
        return replace(verdict, holds_place=True)
    return verdict


def _judge(plan: Plan, device: DeviceView, now: datetime) -> Verdict:
    if device.spent:
        klass = device.failure.klass if device.failure else "health"
        return Verdict("failed", "the device took this firmware back; a new round needs a new approval", klass=klass)
    if device.order is not None and device.quarantined and device.unreachable_since:
        # It took an order and went silent: a person has given it up, and its place with it (CONTRACTS).
        return Verdict("held", f"in quarantine: {device.quarantined}", rule=QUARANTINE)
    if device.order is not None:
        return _under_way(plan, device, device.order, now)
    if device.running == plan.release.digest:
        # Success is only what the device reports to run, never what an order was meant to do.
        return _reached(plan.release.version)
    if device.confirmed and not device.pardoned and not on_the_way(plan, device):
        why = "silent-revert: it confirmed and does not run the firmware any more"
        return Verdict("failed", why, klass="silent-revert")
    failure = None if device.pardoned else device.failure
    if failure and device.tries >= attempts_allowed(failure.klass, plan.retry):
        why = f"{failure.klass} ({failure.code}): {CLASSES[failure.klass].then}"
        return Verdict("failed", why, klass=failure.klass)
    if device.quarantined:
        return replace(MAY_START, quarantine=f"in quarantine: {device.quarantined}")
    if why := no_path(plan, device):
        return Verdict("held", why, rule=NO_PATH)
    return _may_start(plan, device, now)


@lru_cache(maxsize=64)
def _reached(version: str) -> Verdict:
    return Verdict("reached", f"runs {version}")


def _under_way(plan: Plan, device: DeviceView, order: OpenOrder, now: datetime) -> Verdict:
    if not order.accepted and device.deferred_since is not None:
        return _deferred(plan, device, device.deferred_since, now, free=False)
    # One that took the order goes back by itself when no confirm comes; until then it may be restarting.
    silence = timedelta(seconds=plan.confirm_within) + GRACE if order.accepted else timedelta()
    until = _out_of_time(plan, device, at_least=silence)
    if until is not None and now >= until:
        return _straggler(device, _unreached(device), device.unreachable_since, free=False)
    silent = f", {_unreached(device)}" if device.unreachable_since else ""
    why = f"attempt {order.attempt}{order_words(plan, device)}: {order.state}{silent}"
    return _asked(device, "in-flight", why, until, free=False)


def _staged(plan: Plan, device: DeviceView, now: datetime) -> Verdict:
    """Return the verdict on a device that may switch to what it holds. It has a place only when it is asked to."""
    if device.quarantined:
        return replace(MAY_START, quarantine=f"in quarantine: {device.quarantined}")
    until = _out_of_time(plan, device)
    if until is not None and now >= until:
        return _straggler(device, _unreached(device), device.unreachable_since, free=True)
    away = device.unreachable_since is not None
    why = _unreached(device) if away else "holds the firmware and may switch"
    return _asked(device, "retry" if away else "staged", why, until, free=True)


def _deferred(plan: Plan, device: DeviceView, since: datetime, now: datetime, *, free: bool) -> Verdict:
    """A device that is not ready holds nobody's place, and counts against nothing; its time ends, too."""
    why = f"not ready since {since:%Y-%m-%d %H:%M:%SZ}"
    until = since + timedelta(seconds=plan.spec.preconditions.readiness.max_defer)
    if now >= until:
        return _straggler(device, why, since, free=free)
    return _asked(device, "retry", why, until, free=free)


def _may_start(plan: Plan, device: DeviceView, now: datetime) -> Verdict:
    if device.deferred_since is not None:
        return _deferred(plan, device, device.deferred_since, now, free=True)
    until = _out_of_time(plan, device)
    if until is not None and now >= until:
        return _straggler(device, _unreached(device), device.unreachable_since, free=True)
    if device.unreachable_since is not None:
        return _asked(device, "retry", _unreached(device), until, free=True)
    if device.failure is not None and not device.pardoned:
        due = retry_at(plan.retry, device=device.id, failures=device.tries, failed_at=device.failure.at)
        return Verdict("retry", f"after {device.failure.klass} ({device.failure.code})", due, free=True)
    why = step_words(plan, device)
    if device.due_at is None:
        return replace(MAY_START, reason=why) if why else MAY_START
    return Verdict("pending", why or "may start", device.due_at, free=True)


def _asked(device: DeviceView, state: StandingState, why: str, until: datetime | None, *, free: bool) -> Verdict:
    """Return the verdict on a device that is contacted as soon as it may be."""
    rule = device.unreachable_code
    return Verdict(state, why, device.due_at, asap=device.due_at is None, rule=rule, until=until, free=free)


def _straggler(device: DeviceView, why: str, since: datetime | None, *, free: bool) -> Verdict:
    """Return the verdict on a device whose time is up: it is left alone for a while, and then looked for."""
    moments = [since + STRAGGLER_RETRY if since else None, device.due_at]
    due = max((moment for moment in moments if moment is not None), default=None)
    return Verdict("straggler", why, due, asap=device.due_at is None, rule=device.unreachable_code, free=free)


def _out_of_time(plan: Plan, device: DeviceView, *, at_least: timedelta = timedelta()) -> datetime | None:
    """Return when a device that cannot be reached is given up; None if it answers, or never."""
    limit, since = plan.spec.gates.timeout_per_device, device.unreachable_since
    if since is None or limit is None:
        return None
    return since + max(timedelta(seconds=limit), at_least)


def _unreached(device: DeviceView) -> str:
    why = f": {device.unreachable_code}" if device.unreachable_code else ""
    return f"unreachable since {device.unreachable_since:%Y-%m-%d %H:%M:%SZ} ({device.misses} tries){why}"
