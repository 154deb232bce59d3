"""Do updated devices report worse numbers than those that wait for a later wave? Pure; the judgement of samples.

The control group are members of waves of the same track that are not open yet. Both sides are chosen by lot, by device
and wave alone, so that a repeated question has the same answer. A wave is judged at planned looks of its soak only, and
the chance of a false alarm is shared out among looks (Bonferroni) and metrics (Holm). docs/health-analysis.md measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from statistics import median

from fwctl.manifests.models.rollout_parts import CompareWithControl
from fwctl.rollouts.health.gates import Fail, Inconclusive, Pass, Undecided, Verdict
from fwctl.rollouts.health.soaking import LEAST_LOOK, LOOKS_PER_SOAK
from fwctl.rollouts.health.statistics import NEEDS_STATS, can_compare, holm, rank_test
from fwctl.rollouts.plan import LATE, Plan, Wave
from fwctl.rollouts.view import DeviceView, RolloutView, WaveView

RULE = "compareWithControl"
MOST = 200
"""devices of a side that samples are kept of, about: more would add little certainty"""
BEFORE = "before"
Metrics = Mapping[str, int]
Samples = Mapping[tuple[str, str], Mapping[str, Metrics]]
"""(wave, phase) -> device -> what it reported first in this phase: `before`, `look-1`, `look-2`, ..."""


# -- when, and who -----------------------------------------------------------------------------------------------------


def planned(soak: int) -> int:
    """Return how many looks a soak of so many seconds has."""
    return max(1, ceil(timedelta(seconds=soak) / _every(soak)))


def look_at(soak: int, since: datetime, now: datetime) -> int:
    """Return which look has come; 0 before the first. The last one is at the end of the soak."""
    if now >= since + timedelta(seconds=soak):
        return planned(soak)
    return min(int((now - since) / _every(soak)), planned(soak) - 1)


def next_look(soak: int, since: datetime, now: datetime) -> datetime:
    """Return when the next look is due, or the end of the soak."""
    return min(since + _every(soak) * (look_at(soak, since, now) + 1), since + timedelta(seconds=soak))


def _every(soak: int) -> timedelta:
    return max(LEAST_LOOK, timedelta(seconds=soak) / LOOKS_PER_SOAK)


def phase_of(wave: Wave, view: WaveView | None, now: datetime) -> str | None:
    """Return what a sample that is taken now is of; None where none is wanted."""
    if view is None or view.state not in ("open", "soaking"):
        return None
    if view.soak_since is None:
        return BEFORE
    look = look_at(wave.soak, view.soak_since, now)
    return f"look-{look}" if look else None


def wanted(
    plan: Plan, rollout: RolloutView, device: DeviceView, now: datetime, *, begins: bool
) -> Iterator[tuple[str, str]]:
    """Yield (wave, phase) of the samples that a device that answers now gives; `begins`: it is about to be updated."""
    if plan.spec.gates.health.compare_with_control is None or rollout.back_since is not None:
        return
    mine = plan.wave_of[device.id]
    updated = device.running == plan.release.digest
    if begins or updated:
        phase = BEFORE if begins else phase_of(mine, rollout.waves.get(mine.name), now)
        if phase and (begins or phase != BEFORE) and device.id in _by_lot(mine.name, mine.devices, len(mine.devices)):
            yield mine.name, phase
        return
    if mine.name in rollout.waves or not _untouched(plan, device):
        return
    for wave in plan.tracks[mine.track]:
        phase = phase_of(wave, rollout.waves.get(wave.name), now)
        if phase is not None and device.id in _drawn(plan, rollout, wave, mine):
            yield wave.name, phase


def looks(plan: Plan, rollout: RolloutView, now: datetime) -> list[tuple[str, str]]:
    """Return (device, wave) of the control group who are to be looked at now; updated ones are seen in the soak."""
    if plan.spec.gates.health.compare_with_control is None or rollout.stopped or rollout.finished:
        return []
    found: dict[str, str] = {}
    for wave in plan.all_waves:
        phase = phase_of(wave, rollout.waves.get(wave.name), now)
        known = rollout.samples.get((wave.name, phase), {}) if phase else {}
        for device in _control(plan, rollout, wave, now) if phase else ():
            if device not in known and device not in rollout.visiting:
                found.setdefault(device, wave.name)
    return sorted(found.items())


def _waiting(plan: Plan, rollout: RolloutView, wave: Wave) -> tuple[Wave, ...]:
    """Return the waves whose devices a wave is compared with: those of its track that have not begun."""
    return tuple(other for other in plan.tracks[wave.track] if other.name not in rollout.waves and wave.track != LATE)


def _drawn(plan: Plan, rollout: RolloutView, wave: Wave, among: Wave) -> frozenset[str]:
    size = sum(len(other.devices) for other in _waiting(plan, rollout, wave))
    return _by_lot(wave.name, among.devices, size)


def _control(plan: Plan, rollout: RolloutView, wave: Wave, now: datetime) -> Iterator[str]:
    """Yield the control group of a wave, as far as it can be asked now."""
    dropped = frozenset(plan.dropped)
    for other in _waiting(plan, rollout, wave):
        for device in _drawn(plan, rollout, wave, other):
            view = rollout.devices.get(device)
            away = view is not None and (view.unreachable_since or (view.due_at is not None and view.due_at > now))
            if device not in dropped and not away and (view is None or _untouched(plan, view)):
                yield device


def _untouched(plan: Plan, device: DeviceView) -> bool:
    other = device.running != plan.release.digest and not device.spent
    return other and device.order is None and not device.attempts and not device.quarantined


def _any_left(plan: Plan, rollout: RolloutView, wave: Wave) -> bool:
    dropped, views = frozenset(plan.dropped), rollout.devices
    return any(
        device not in dropped and (device not in views or _untouched(plan, views[device]))
        for other in _waiting(plan, rollout, wave)
        for device in other.devices
    )


@lru_cache(maxsize=512)
def _by_lot(wave: str, devices: tuple[str, ...], size: int) -> frozenset[str]:
    """Return those of `devices` who are drawn when about `MOST` of `size` are."""
    if size <= MOST:
        return frozenset(devices)
    return frozenset(device for device in devices if _lot(wave, device) * size < MOST)


def _lot(wave: str, device: str) -> float:
    return int.from_bytes(blake2b(f"{wave} {device}".encode(), digest_size=4).digest()) / 0x100000000


# -- the verdict -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What one look says."""

    worse: str = ""
    """the metrics that are worse, in words"""
    lacking: str = ""
    """what there is too little of"""


def judge(plan: Plan, rollout: RolloutView, wave: Wave, since: datetime, now: datetime) -> Verdict:
    """Judge a wave that soaks since then by the looks that are over; the last is when all of the control are seen."""
    spec = plan.spec.gates.health.compare_with_control
    if spec is None:
        return Pass("")
    if not _any_left(plan, rollout, wave):
        return Pass("no control group is left")
    if not can_compare():
        return Inconclusive(RULE, NEEDS_STATS)
    last, at = planned(wave.soak), look_at(wave.soak, since, now)
    seen = rollout.samples.get((wave.name, f"look-{at}"), {})
    over = last if at == last and all(one in seen for one in _control(plan, rollout, wave, now)) else at - 1
    outcome = Outcome()
    for look in range(1, over + 1):
        outcome = compare(spec, rollout.samples, wave.name, frozenset(wave.devices), look, last)
        if outcome.worse:
            return Fail(RULE, outcome.worse)
    if over < last:
        return Undecided()
    return Inconclusive(RULE, outcome.lacking) if outcome.lacking else Pass("not worse than the control group")


def compare(
    spec: CompareWithControl, samples: Samples, wave: str, members: frozenset[str], look: int, of: int
) -> Outcome:
    """Compare the two sides at one look `of` so many."""
    before, after = samples.get((wave, BEFORE), {}), samples.get((wave, f"look-{look}"), {})
    chances, words, lacking = [], [], []
    for metric in spec.metrics:
        sides = _Sides.of(metric, before, after, members, spec.min_sample)
        if min(len(sides.updated), len(sides.control)) < spec.min_sample:
            have = f"{len(sides.updated)} updated and {len(sides.control)} control devices"
            lacking.append(f"{metric} is reported by {have}, {spec.min_sample} of each are wanted")
            continue
        chance = sides.chance(less_is_worse=metric in spec.less_is_worse)
        chances.append(chance)
        words.append(sides.words(metric, chance))
    held = holm(chances, (1 - spec.confidence) / of)
    return Outcome("; ".join(words[place] for place in sorted(held)), "; ".join(lacking))


@dataclass(frozen=True)
class _Sides:
    """One metric on both sides: values, or by how much they have changed since before."""

    updated: tuple[int, ...]
    control: tuple[int, ...]
    changes: bool

    @classmethod
    def of(
        cls,
        metric: str,
        before: Mapping[str, Metrics],
        after: Mapping[str, Metrics],
        members: frozenset[str],
        least: int,
    ) -> _Sides:
        values = {device: told[metric] for device, told in sorted(after.items()) if metric in told}
        changed = {
            device: value - before[device][metric]
            for device, value in values.items()
            if metric in before.get(device, {})
        }
        enough = min(sum(one in members for one in changed), sum(one not in members for one in changed)) >= least
        chosen = changed if enough else values
        updated = tuple(value for device, value in chosen.items() if device in members)
        return cls(updated, tuple(value for device, value in chosen.items() if device not in members), enough)

    def chance(self, *, less_is_worse: bool) -> float:
        sign = -1 if less_is_worse else 1
        return rank_test(tuple(sign * one for one in self.updated), tuple(sign * one for one in self.control))

    def words(self, metric: str, chance: float) -> str:
        here, there = median(self.updated), median(self.control)
        sizes = f"{len(self.updated)}/{len(self.control)} devices"
        what = f"{here:+g} since before (median) against control {there:+g}"
        what = what if self.changes else f"{here:g} (median) against control {there:g}"
        return f"{metric}: updated {what}, p = {chance:.2g} over {sizes}"
