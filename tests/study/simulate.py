"""Simulated waves and soaks, judged by the code that judges real ones; seeded, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from fwctl.manifests.models.rollout_parts import CompareWithControl, Gates
from fwctl.rollouts.health.control_group import BEFORE, compare
from fwctl.rollouts.health.gates import Fail, Inconclusive, Tally, judge
from fwctl.rollouts.health.soaking import LOOKS_PER_SOAK

LIMIT = 2.0
"""percent of failures that are allowed"""
RATES = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10)
SIZES = (20, 50, 200, 500, 2000)
SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
GROUPS = (20, 50, 100, 200)
RUNS = 1000
SOAKS = 150


@dataclass(frozen=True)
class Waves:
    """What became of many waves with one true failure rate; shares from 0 to 1."""

    failed: float
    held: float
    settled: float | None
    """of those that failed: which share of the wave had settled by then, in the mean"""


def waves(size: int, rate: float, confidence: float | None, runs: int = RUNS) -> Waves:
    """Let devices settle one after the other, and judge after each as the reconciler may."""
    given = {} if confidence is None else {"confidence": confidence}
    gates = Gates.model_validate({"maxFailureRate": {"percent": LIMIT, **given}})
    ends = [_wave(gates, size, rate, random.Random(f"{size} {rate} {run}")) for run in range(runs)]
    failed = [at for word, at in ends if word == "failed"]
    held = sum(word == "held" for word, _ in ends)
    settled = round(sum(failed) / len(failed), 4) if failed else None
    return Waves(round(len(failed) / runs, 4), round(held / runs, 4), settled)


def _wave(gates: Gates, size: int, rate: float, chance: random.Random) -> tuple[str, float]:
    failures, step = 0, max(1, size // 200)
    for settled in range(1, size + 1):
        failures += chance.random() < rate
        if settled % step and settled < size:
            continue
        verdict = judge(gates, Tally(size, settled - failures, failures, 0))
        if isinstance(verdict, Fail):
            return "failed", settled / size
    return ("held" if isinstance(verdict, Inconclusive) else "passed"), 1.0


@dataclass(frozen=True)
class Comparisons:
    """What became of many soaks with one true shift; shares from 0 to 1."""

    alarms: float
    look: float | None
    """of those with an alarm: at which look, in the mean"""


SPEC = CompareWithControl.model_validate({"metrics": ["metric"], "confidence": 0.99})


def comparisons(group: int, shift: float, *, baseline: bool, runs: int = SOAKS) -> Comparisons:
    """Compare a wave of `group` devices with as many others, whose metric the update shifts by `shift` sigma.

    Half of the variance is a device's own and stays, half is anew at each look. With `baseline`, each device's value
    before the update is known.
    """
    looks = [_soak(group, shift, baseline, random.Random(f"{group} {shift} {run}")) for run in range(runs)]
    found = [look for look in looks if look is not None]
    return Comparisons(round(len(found) / runs, 4), round(sum(found) / len(found), 3) if found else None)


def _soak(group: int, shift: float, baseline: bool, chance: random.Random) -> int | None:
    devices = [f"{side}-{number}" for side in ("updated", "control") for number in range(group)]
    own = {device: chance.gauss(0, 0.5**0.5) for device in devices}
    members = frozenset(device for device in devices if device.startswith("updated"))

    def told(by: float) -> dict[str, dict[str, int]]:
        return {
            device: {"metric": round(1000 * (own[device] + chance.gauss(0, 0.5**0.5) + by * (device in members)))}
            for device in devices
        }

    samples = {("wave", BEFORE): told(0.0)} if baseline else {}
    for look in range(1, LOOKS_PER_SOAK + 1):
        samples["wave", f"look-{look}"] = told(shift)
        if compare(SPEC, samples, "wave", members, look, LOOKS_PER_SOAK).worse:
            return look
    return None


def everything(runs: int = RUNS, soaks: int = SOAKS) -> dict[str, list[dict[str, object]]]:
    """Return all rows of the study."""
    return {"waves": list(_waves(runs)), "comparisons": list(_comparisons(soaks))}


def _waves(runs: int) -> Iterator[dict[str, object]]:
    for confidence in (None, 0.95):
        for size in SIZES:
            for rate in RATES:
                found = waves(size, rate, confidence, runs)
                yield {"confidence": confidence, "size": size, "rate": rate} | vars(found)


def _comparisons(runs: int) -> Iterator[dict[str, object]]:
    for baseline in (False, True):
        for group in GROUPS:
            for shift in SHIFTS:
                found = comparisons(group, shift, baseline=baseline, runs=runs)
                yield {"baseline": baseline, "group": group, "shift": shift} | vars(found)
