"""Late joiners: devices that match a rollout only since its approval, in one wave after all others.

Git says who could join, in the order of a lot; the approval says how many may, and the ledger who has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fwctl.manifests.models import RolloutSpec
from fwctl.rollouts.cohorts import by_lot
from fwctl.rollouts.plan import LATE, Plan, Wave


def late_waves(spec: RolloutSpec, candidates: Sequence[str], waves: Sequence[Wave], rollout: str) -> tuple[Wave, ...]:
    """Return the wave of those who could join, or none. It needs the highest stage, and soaks as the others do.

    All candidates are in it, in the order of the lot: `seated` leaves as many as may join.
    """
    if spec.late_joiners is None or not spec.late_joiners.max or not candidates or not waves:
        return ()
    stage, soak = max(wave.stage for wave in waves), max(wave.soak for wave in waves)
    return (Wave(LATE, stage, by_lot(candidates, rollout), soak, track=LATE),)


def seated(plan: Plan, *, joined: Collection[str], barred: Collection[str]) -> Plan:
    """Return the plan with those late joiners that have a seat: who has joined already, then the first by lot.

    `joined` were ordered to install it under this mandate, and keep their seats for ever; `barred` would refuse.
    """
    if not plan.late or plan.spec.late_joiners is None:
        return plan
    (wave,) = plan.late
    free = plan.spec.late_joiners.max - len(joined)
    chosen = []
    for device in wave.devices:
        if device in joined:
            chosen.append(device)
        elif free > 0 and device not in barred:
            chosen.append(device)
            free -= 1
    return replace(plan, late=(replace(wave, devices=tuple(chosen)),) if chosen else ())
