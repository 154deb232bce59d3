"""Whether a device may go back: the image before is still on it, and can read the data that newer ones have written.

Two slots hold what runs and what ran before it: a device that came over a stop holds the stop, and nothing older. What
a release writes and reads, it declares itself (`data`). Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView
from fwctl_agent.protocol.statements import Release

STAYS = "no_way_back"
"""the rule by which a device stays on what it runs while its rollout goes back"""
_FLEET = ("E_NO_WAY_BACK", "E_DATA_FORMAT", "E_ROLLBACK_FLOOR")


@dataclass(frozen=True)
class Barred:
    """Why nothing leads back: a code, and words for people."""

    code: str
    why: str


def barred(before: Release | None, ran: Sequence[Release], *, floor: int = 0) -> Barred | None:
    """Return why a device that ran `before`, and then `ran`, cannot go back to it; None if nothing is known against it.

    `floor` is the policy's for the model. Nothing is known of a `before` that no manifest describes.
    """
    if len(ran) > 1:
        over = ", ".join(one.version for one in ran[:-1])
        return Barred(_FLEET[0], f"it came over {over}: its slots hold no older image")
    if before is None:
        return None
    for one in ran:
        if one.data_writes not in before.data_reads:
            why = f"their data cannot be read by {before.version}: {one.version} writes format {one.data_writes}"
            return Barred(_FLEET[1], why)
    if before.security_version < floor:
        why = f"{before.version} has security version {before.security_version}, below the floor {floor} of the policy"
        return Barred(_FLEET[2], why)
    return None


def matters(plan: Plan) -> bool:
    """Say whether some known release cannot read what a release of the chain writes: else no slot needs to be asked."""
    chain = (*plan.stops, plan.release)
    return any(one.data_writes not in before.data_reads for before in plan.family for one in chain)


def stays(plan: Plan, device: DeviceView) -> str:
    """Return why a device that runs a release of the chain by this mandate is not told to go back; empty if it is."""
    if not (device.by_mandate and device.running in plan.chain) or device.order is not None or device.back is not None:
        return ""
    if device.spent:
        if device.running == plan.release.digest:
            return ""
        return f"went back to {device.version}, a stop, by itself: its slots hold no older image"
    taken = [device.ordered] if device.ordered and device.taken == device.install else []
    ran = [stop for digest in dict.fromkeys([*device.passed, *taken]) if (stop := plan.paths.stop(digest))]
    found = barred(_known(plan, device.standby), ran)
    return found.why if found else ""


def _known(plan: Plan, image: str | None) -> Release | None:
    return next((one for one in plan.family if one.image == image), None) if image else None


def told(reasons: Iterable[str]) -> list[str]:
    """Return in words how many stay, by why."""
    return [f"{number} stay: {why}" for why, number in sorted(Counter(reasons).items())]
