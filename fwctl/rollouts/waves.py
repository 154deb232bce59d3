"""The life of a wave: it opens, its devices settle, it soaks, it is judged. Only one wave is at this at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from fwctl.rollouts.actions import Action, GoBack, MoveWave, Stop, Visit
from fwctl.rollouts.gates import Fail, Inconclusive, Pass, Tally, Undecided, judge, too_many
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView, WaveView

LOOKS_PER_SOAK = 4
"""how often the devices of a soaking wave are looked at, so that what goes wrong is not found at the end only"""
LEAST_LOOK = timedelta(seconds=5)


def current(plan: Plan, rollout: RolloutView) -> Wave | None:
    """Return the first wave that has not passed."""
    return next((wave for wave in plan.waves if _view(rollout, wave).state != "passed"), None)


@dataclass(frozen=True)
class WaveStep:
    """What the current wave does: act, wait until `due`, or hold for a reason."""

    actions: tuple[Action, ...] = ()
    due: datetime | None = None
    holding: str = ""


def move_waves(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing], now: datetime) -> WaveStep:
    """Return what the current wave does next. An inconclusive gate holds: stragglers or a person may still move it."""
    if rollout.finished is None and (late := _failed_later(plan, rollout, standings)):
        return WaveStep(late)
    wave = current(plan, rollout)
    if wave is None:
        return WaveStep()
    if wave.stage > rollout.approved_stage:
        return WaveStep(holding=f"{wave.name} waits for approval: {rollout.not_approved}")
    view = rollout.waves.get(wave.name)
    if view is None:
        return WaveStep((MoveWave(wave.name, "open", f"{len(wave.devices)} devices may start"),))
    if view.state == "failed":
        # Judged, and killed before anything followed from it: what has settled since does not unsay it (R15).
        return WaveStep(_failed(plan, wave, "maxFailureRate", view.reason))
    verdict = judge(plan.spec.gates, Tally.of(standings[device] for device in wave.devices if device in standings))
    promoted = rollout.control is not None and wave.name in rollout.control.promoted
    if promoted and rollout.control is not None and not isinstance(verdict, Fail):
        return WaveStep((MoveWave(wave.name, "passed", f"promoted by {rollout.control.words}"),))
    match verdict:
        case Undecided():
            return WaveStep()
        case Fail(rule=rule, reason=reason):
            return WaveStep(_failed(plan, wave, rule, reason))
        case Inconclusive(rule=rule, reason=reason):
            return WaveStep(holding=f"{wave.name}, {rule}: {reason}")
        case Pass(reason=reason):
            return _passing(rollout, wave, view, standings, reason, now)
        case _:
            assert_never(verdict)


def looks(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing], now: datetime) -> list[Visit]:
    """Return the visits that a soak needs: some while it lasts, and one of every device after its end."""
    wave = current(plan, rollout)
    view = rollout.waves.get(wave.name) if wave else None
    if wave is None or view is None or view.state != "soaking" or view.soak_since is None:
        return []
    end = view.soak_since + timedelta(seconds=wave.soak)
    every = max(LEAST_LOOK, timedelta(seconds=wave.soak) / LOOKS_PER_SOAK)
    found = []
    for device in wave.devices:
        seen = rollout.devices[device].observed_at if device in rollout.devices else None
        if not _runs(standings, device) or _waits(rollout, device, now):
            continue
        last = max(seen, view.soak_since) if seen else view.soak_since
        if (now >= end and last < end) or (now < end and now >= last + every):
            found.append(Visit(device, f"{wave.name} soaks: does it still run well?"))
    return found


def _runs(standings: Mapping[str, Standing], device: str) -> bool:
    return device in standings and standings[device].state == "reached"


def _waits(rollout: RolloutView, device: str, now: datetime) -> bool:
    due = rollout.devices[device].due_at if device in rollout.devices else None
    return due is not None and due > now


def _passing(
    rollout: RolloutView,
    wave: Wave,
    view: WaveView,
    standings: Mapping[str, Standing],
    reason: str,
    now: datetime,
) -> WaveStep:
    if not wave.soak:
        return WaveStep((MoveWave(wave.name, "passed", reason),))
    if view.soak_since is None:
        return WaveStep((MoveWave(wave.name, "soaking", f"{reason}; soak for {wave.soak} s"),))
    end = view.soak_since + timedelta(seconds=wave.soak)
    if now < end:
        # `looks` visits the devices meanwhile; a pass stays for it only if it can see the end.
        return WaveStep(due=end, holding=f"{wave.name} soaks until {end:%H:%M:%SZ}")
    if any(_unseen(rollout, device, end) for device in wave.devices if _runs(standings, device)):
        return WaveStep()  # `looks` visits them first
    return WaveStep((MoveWave(wave.name, "passed", f"{reason}, healthy through the soak"),))


def _unseen(rollout: RolloutView, device: str, end: datetime) -> bool:
    """Say whether a device that runs the firmware has not been looked at since the soak ended. A silent one is."""
    view = rollout.devices.get(device)
    if view is None or view.unreachable_since is not None:
        return False
    return view.running is not None and (view.observed_at is None or view.observed_at < end)


def _failed_later(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing]) -> tuple[Action, ...]:
    """Return what follows when stragglers of a wave that has passed catch up and fail: the same gate holds for them.

    Judged by all devices that the wave ever had, so that somebody who leaves the fleet makes no wave fail.
    """
    for wave in plan.waves:
        if _view(rollout, wave).state == "passed":
            tally = Tally.of(standings[device] for device in wave.devices if device in standings)
            if too_many(plan.spec.gates, tally.counted, len(wave.devices)):
                why = f"{tally.counted} of {len(wave.devices)} failed in the end"
                return (_stop(plan, wave, "maxFailureRate", why),)
    return ()


def _failed(plan: Plan, wave: Wave, rule: str, reason: str) -> tuple[Action, ...]:
    return MoveWave(wave.name, "failed", reason), _stop(plan, wave, rule, reason)


def _stop(plan: Plan, wave: Wave, rule: str, reason: str) -> Action:
    why = f"{wave.name}: {reason}"
    automatic = plan.spec.rollback.automatic and plan.spec.rollback.allowed
    return GoBack(rule, why) if automatic else Stop(rule, why)


def _view(rollout: RolloutView, wave: Wave) -> WaveView:
    return rollout.waves.get(wave.name) or WaveView("open")
