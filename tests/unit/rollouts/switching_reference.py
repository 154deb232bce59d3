"""The switch of a BlueGreen wave in its plainest form, judged from everybody anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fwctl.manifests.models import BlueGreen
from fwctl.rollouts.actions import GoBack, MoveWave
from fwctl.rollouts.health.gates import Fail, Inconclusive, Pass, Tally, judge
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView
from fwctl.rollouts.waves import WaveStep


def stage(plan: Plan, rollout: RolloutView, wave: Wave, here: Sequence[Standing], waits: str) -> WaveStep:
    """Return what a wave does of which nobody has switched."""
    there = [one for one in here if one.state in ("reached", "staged")]
    plain = Tally.of(here)
    verdict = judge(plan.spec.gates, Tally(plain.size, len(there), plain.counted, plain.other))
    told = f"{len(there)} of {plain.size} staged"
    if isinstance(verdict, Fail):
        keeps = plan.spec.rollback.scope == "wave"
        back = GoBack(verdict.rule, f"{wave.name}: {verdict.reason} while staging; no device had switched", keeps)
        return WaveStep((back, MoveWave(wave.name, "failed", f"staging: {verdict.reason}")))
    if waits:
        return WaveStep(holding=waits)
    control = rollout.control
    if control is not None and f"switch/{wave.name}" in control.promoted:
        return WaveStep((MoveWave(wave.name, "switching", f"{told}; promoted by {control.words}"),))
    if isinstance(verdict, Inconclusive):
        why = verdict.reason.replace(" reached", " staged")
        return WaveStep(holding=f"{wave.name} stages, {verdict.rule}: {why}")
    if not isinstance(verdict, Pass):
        return WaveStep(holding=f"{wave.name} stages: {told}")
    strategy = plan.spec.strategy
    if isinstance(strategy, BlueGreen) and strategy.switch == "Manual":
        return WaveStep(holding=f"{told}; fwctl promote makes the switch of {wave.name}")
    return WaveStep((MoveWave(wave.name, "switching", told),))


def retained(plan: Plan, rollout: RolloutView, now: datetime) -> datetime | None:
    """Return until when the old slots are kept."""
    strategy, control, ends = plan.spec.strategy, rollout.control, list[datetime]()
    for wave in plan.waves if isinstance(strategy, BlueGreen) else ():
        view = rollout.waves.get(wave.name)
        word = control is not None and f"retain/{wave.name}" in control.promoted
        if view is not None and view.state == "passed" and view.judged_at is not None and not word:
            ends.append(view.judged_at + timedelta(seconds=strategy.retain))  # type: ignore[union-attr]
    return max((end for end in ends if end > now), default=None)
