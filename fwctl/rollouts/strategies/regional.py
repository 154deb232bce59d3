"""Regional: regions one after another on one track, or side by side on a track each; each by a strategy of its own.

A wave is named `<region>/wave-N`. Shares and lots are those of the region's members, so that a region goes in the same
order whatever the others hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fwctl.errors import InputError
from fwctl.manifests.models import Regional
from fwctl.manifests.models.strategy import Inner, RegionStep
from fwctl.rollouts.plan import Plan, Wave

Cut = Callable[[Inner, Sequence[str], str], tuple[Wave, ...]]
"""cuts the members of a region into waves by its inner strategy, for the rollout of that name"""
Steps = Callable[[Inner, Sequence[str]], int]
_NAMED = 5


@dataclass(frozen=True)
class Where:
    """In which region a member is."""

    region: Callable[[str], str | None]
    gone: Collection[str] = ()
    """members that are targeted no longer: where their region cannot be known, they are counted with the last one"""


def inner_of(strategy: Regional, step: RegionStep) -> Inner:
    """Return how a region goes."""
    return step.strategy or strategy.inner


def compile_regional(
    strategy: Regional, held: Mapping[str, Sequence[str]], rollout: str, *, cut: Cut, steps: Steps
) -> tuple[Wave, ...]:
    """Return the waves of all regions in the order in which they are listed; `held` is what `by_region` found."""
    points, found, stages = _points(strategy), [], _Stages()
    for step in strategy.regions:
        inner, mine = inner_of(strategy, step), held[step.name]
        waves = {wave.name: wave for wave in cut(_unstaged(inner), mine, rollout)} if mine else {}
        last = next(reversed(waves), "")
        if strategy.order == "Parallel":
            stages = _Stages()
        for name in _names(steps(inner, mine)):
            stages.pending |= f"{step.name}/{name}" in points
            if (wave := waves.get(name)) is not None:
                soak = max(wave.soak, strategy.soak) if name == last else wave.soak
                found.append(_placed(strategy, step, wave, stage=stages.next(), soak=soak))
    return tuple(found)


def by_region(strategy: Regional, members: Iterable[str], where: Where, place: str = "") -> Mapping[str, Sequence[str]]:
    """Return the members of each listed region, those without members, too.

    Raises:
        InputError: `E_REGION`: they would get nothing, and nobody would be told.
    """
    found: dict[str, list[str]] = {step.name: [] for step in strategy.regions}
    lost: dict[str | None, list[str]] = {}
    for device in members:
        region = where.region(device)
        if region in found:
            found[region].append(device)
        elif device in where.gone:
            found[strategy.regions[-1].name].append(device)
        else:
            lost.setdefault(region, []).append(device)
    if lost:
        raise _lost(lost, place)
    return found


def known_waves(strategy: Regional, held: Mapping[str, Sequence[str]], steps: Steps) -> Iterator[str]:
    """Yield what `approvalBefore` may name: each region, and its waves before empty ones are merged."""
    for step in strategy.regions:
        yield step.name
        yield from (f"{step.name}/{name}" for name in _names(steps(inner_of(strategy, step), held[step.name])))


def empty_regions(plan: Plan) -> Iterator[tuple[int, str]]:
    """Yield the regions that are listed and hold nobody, with their place in the list."""
    strategy, held = plan.spec.strategy, {wave.region for wave in plan.waves}
    for index, step in enumerate(strategy.regions if isinstance(strategy, Regional) else ()):
        if step.name not in held:
            yield index, step.name


def wanted_points(strategy: Regional) -> Iterator[str]:
    """Yield the approval points as they are written; those of inner strategies with their region."""
    yield from strategy.approval_before
    for step in strategy.regions:
        for wave in getattr(inner_of(strategy, step), "approval_before", ()):
            yield f"{step.name}/{wave}"


@dataclass
class _Stages:
    """Counts the stages of one track; an approval point attaches to the next wave that has devices."""

    stage: int = 1
    pending: bool = False

    def next(self) -> int:
        if self.pending:
            self.stage, self.pending = self.stage + 1, False
        return self.stage


def _placed(strategy: Regional, step: RegionStep, wave: Wave, *, stage: int, soak: int) -> Wave:
    # A track that no wave of late joiners can have, whatever regions are called.
    track = f"{step.name}/" if strategy.order == "Parallel" else ""
    name = f"{step.name}/{wave.name}"
    return replace(wave, name=name, stage=stage, soak=soak, region=step.name, track=track, window=step.window)


def _points(strategy: Regional) -> frozenset[str]:
    """Return the approval points as names of waves: a region is its first wave."""
    return frozenset(point if "/" in point else f"{point}/wave-1" for point in wanted_points(strategy))


def _unstaged(inner: Inner) -> Inner:
    """Return the strategy without its approval points: stages are counted over all regions of a track."""
    return inner.model_copy(update={"approval_before": ()}) if getattr(inner, "approval_before", ()) else inner


def _names(steps: int) -> Iterator[str]:
    return (f"wave-{number}" for number in range(1, steps + 1))


def _lost(lost: Mapping[str | None, Sequence[str]], place: str) -> InputError:
    told = [
        f"{_some(devices)} {'are' if len(devices) > 1 else 'is'} in {f'region {region}' if region else 'no region'}"
        for region, devices in sorted(lost.items(), key=lambda one: one[0] or "")
    ]
    more = f"; and in {len(told) - _NAMED} more regions" if len(told) > _NAMED else ""
    unnamed = "Give devices their `region` in the inventory, " if None in lost else ""
    listed = sorted(filter(None, lost))[:_NAMED]
    listing = f"list {', '.join(listed)} in `regions`, " if listed else ""
    words = f"{unnamed}{listing}or leave these devices out with `targets.exclude`."
    return InputError(
        f"{'; '.join(told[:_NAMED])}{more}: the strategy would never reach them",
        code="E_REGION",
        place=place,
        remedy=words[0].upper() + words[1:],
    )


def _some(devices: Sequence[str]) -> str:
    more = f" and {len(devices) - _NAMED} more" if len(devices) > _NAMED else ""
    return ", ".join(devices[:_NAMED]) + more
