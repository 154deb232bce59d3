"""A device that could not be reached and answers again: what holds it that did not hold the question."""

from __future__ import annotations

from fwctl.rollouts.limits.places import named, place_name, share_of
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import RolloutView


def full_place(plan: Plan, rollout: RolloutView, device: str) -> str | None:
    """Return why a device that could not be reached, and answers now, must not start at once; None if it may.

    Asking it cost its place nothing. Taking it out of service again does, if meanwhile others are.
    """
    budget, before = plan.limits.disruption, rollout.devices.get(device)
    if budget is None or before is None or before.unreachable_since is None:
        return None
    place = place_name(budget.group_by, plan.profile(device))
    mine = plan.by_place.get(place, ())
    down = {one for one in mine if one != device and _out_of_service(plan, rollout, one)}
    down |= {one for one in rollout.down_elsewhere if place_name(budget.group_by, plan.profile(one)) == place}
    most = share_of(budget.max_unavailable, len(mine))
    return f"{place} has {len(down)} of at most {most} out of service: {named(down)}" if len(down) >= most else None


def _out_of_service(plan: Plan, rollout: RolloutView, device: str) -> bool:
    known = rollout.devices.get(device)
    if known is None:
        return device in rollout.visiting
    away = known.unreachable_since is not None and not known.quarantined
    starting = device in rollout.visiting and known.running != plan.release.digest
    return away or starting or (known.order is not None and not known.waits_to_switch)
