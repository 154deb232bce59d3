"""Taking a rollout back: where each device stands on the way back, and what is left to do.

Reverts ignore windows, ramps and budgets; only `rollback.maxConcurrent` holds them (DESIGN section 6). A device that
cannot be reached is taken back when it returns, however long that takes.

With `rollback.scope: wave` a gate that fails takes back only waves that have not passed: what was judged good stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from fwctl.rollouts.paths.reversal import STAYS, stays
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.standing import Standing, StandingState, Verdict
from fwctl.rollouts.view import DeviceView, RolloutView
from fwctl_agent.protocol.statements import FailureClass

NEVER_TOUCHED = Verdict("untouched", "never got the firmware")
_NAMED = 5
"""waves that are told by name"""


def kept(rollout: RolloutView) -> frozenset[str]:
    """Return the waves that keep the firmware while the rollout goes back: they have passed, and nobody took all back.

    The ledger moves no wave of a rollout that goes back, so this stays what it was when the gate failed.
    """
    if rollout.back_since is None or not rollout.back_keeps:
        return frozenset()
    return passed(rollout)


def passed(rollout: RolloutView) -> frozenset[str]:
    """Return the waves that were judged good."""
    return frozenset(name for name, view in rollout.waves.items() if view.state == "passed")


def keep_words(plan: Plan, waves: Mapping[str, int]) -> str:
    """Return in words which waves keep the firmware, by how many devices of each run it; empty if none does."""
    named = [f"{name} ({size} device{'' if size == 1 else 's'})" for name, size in waves.items() if size]
    return f"{_doing(named, 'keep')} {plan.release.model}@{plan.release.version}" if named else ""


def stay_words(waves: Sequence[str]) -> str:
    """Return in words that these waves do not go back."""
    return _doing(waves, "stay") if waves else ""


def _doing(named: Sequence[str], verb: str) -> str:
    more = [f"{len(named) - _NAMED} more waves"] if len(named) > _NAMED + 1 else []
    told = ", ".join([*(named[:_NAMED] if more else named), *more])
    return f"{told} {verb}{'s' if len(named) == 1 else ''}"


def stand_back(plan: Plan, rollout: RolloutView, device_id: str, now: datetime) -> Standing:
    """Return where a member stands while the rollout goes back."""
    wave = plan.wave_of[device_id].name
    return judge_back(plan, rollout.devices.get(device_id), wave if wave in kept(rollout) else "").standing(
        device_id, now
    )


def judge_back(plan: Plan, device: DeviceView | None, kept_by: str = "") -> Verdict:
    """Return the verdict on the way back, None for a device never heard of. No wave holds anybody there.

    `kept_by` is the name of its wave, if that one has passed and keeps the firmware. Who got no further than an order
    was never judged with it, and goes back.
    """
    if device is None:
        return NEVER_TOUCHED
    settled = device.order is None and device.back is None and not device.spent
    if kept_by and settled and device.by_mandate and device.running == plan.release.digest:
        return _keeps(plan.release.version, kept_by)
    if why := stays(plan, device):
        return _staying(why)
    if device.spent:
        klass = _own_failure(device)
        code = f" ({device.failure.code})" if device.failure else ""
        why = f"back on what it ran before{f', by itself: {klass}{code}' if klass else ''}"
        return _over("back", why, klass)
    if device.back_refused:
        return Verdict("failed", f"refuses to go back: {device.back_refused}")
    ours = device.by_mandate and device.running in plan.chain
    if device.install is None or not (ours or device.order is not None or device.back is not None):
        return _over("untouched", _why_untouched(plan, device), _own_failure(device))
    if device.unreachable_since is not None:
        since = f"{device.unreachable_since:%Y-%m-%d %H:%M:%SZ}"
        code = device.unreachable_code
        why = f"unreachable since {since}{f' ({code})' if code else ''}; it goes back when it returns"
        return Verdict("retry", why, device.due_at, asap=device.due_at is None, rule=code, free=True)
    # What the install order waits for does not hold up its revert.
    return Verdict("in-flight", "is taken back", device.back_due_at, asap=device.back_due_at is None, free=True)


@lru_cache(maxsize=64)
def _keeps(version: str, wave: str) -> Verdict:
    return Verdict("reached", f"runs {version} and keeps it: {wave} had passed")


@lru_cache(maxsize=64)
def _staying(why: str) -> Verdict:
    return Verdict("failed", f"stays: {why}", rule=STAYS)


@lru_cache(maxsize=256)
def _over(state: StandingState, why: str, klass: FailureClass | None) -> Verdict:
    """Return one verdict for all devices that are told the same: in a large fleet they are many."""
    return Verdict(state, why, klass=klass)


def _why_untouched(plan: Plan, device: DeviceView) -> str:
    if device.running == plan.release.digest:
        return f"ran {plan.release.version} before this rollout"
    if device.install is None:
        return "never got the firmware"
    if device.confirmed:
        return "silent-revert: it confirmed and does not run the firmware"
    return f"never switched to the firmware{_because(device)}"


def _own_failure(device: DeviceView) -> FailureClass | None:
    """Return the class of the device's own failure, which the way back would hide; None if it did nothing wrong."""
    if device.install is None or device.taken_back or device.order is not None:
        return None
    if device.failure is not None:
        withdrawn = device.failure.code in ("E_NEVER_ARRIVED",) or device.failure.klass == "deferred"
        return None if withdrawn else device.failure.klass
    if device.spent:
        return "health"  # confirmed, and gone back in its watch
    return "silent-revert" if device.confirmed and not device.by_mandate else None


def _because(device: DeviceView) -> str:
    return f": {device.failure.klass} ({device.failure.code})" if device.failure else ""
