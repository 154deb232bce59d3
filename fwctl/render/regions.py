"""Regions in a plan: in which order they go, who is in them, and when they may start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fwctl.manifests.models import Canary, Direct, Regional, Rolling
from fwctl.render.words import counted, exactly
from fwctl.rollouts.cohorts import share
from fwctl.rollouts.strategies.regional import inner_of

if TYPE_CHECKING:
    from fwctl.manifests.models import Strategy
    from fwctl.manifests.models.rollout_parts import Span, Window
    from fwctl.rollouts.plan import Plan


def order_words(plan: Plan) -> str:
    """Return how the regions follow each other; empty for another strategy."""
    strategy = plan.spec.strategy
    if not isinstance(strategy, Regional):
        return ""
    names = [step.name for step in strategy.regions if any(wave.region == step.name for wave in plan.waves)]
    if len(names) < 2:
        return ""
    if strategy.order == "Sequential":
        return f"{', then '.join(names)}; a region that fails stops those after it"
    return f"{', '.join(names[:-1])} and {names[-1]} side by side; one that fails stops the others"


def region_head(plan: Plan, region: str) -> str:
    """Return the line over the waves of a region: its strategy, its devices, its window."""
    strategy = plan.spec.strategy
    if not isinstance(strategy, Regional):
        raise TypeError("only Regional has regions")
    step = next(step for step in strategy.regions if step.name == region)
    size = sum(len(wave.devices) for wave in plan.waves if wave.region == region)
    parts = [f"{inner_of(strategy, step).type}", counted(size, "device")]
    return f"{region}: {', '.join([*parts, *([window_spans(step.window)] if step.window else [])])}"


def window_spans(window: Window) -> str:
    """Return a window as it is written: `allow 0 1 * * * for 4h (Europe/Berlin)`."""
    told = [f"allow {' or '.join(map(_span, window.allow))}"] if window.allow else []
    return ", ".join([*told, *([f"deny {' or '.join(map(_span, window.deny))}"] if window.deny else [])])


def _span(span: Span) -> str:
    return f"{span.cron} for {exactly(span.duration)} ({span.time_zone})"


def shares(plan: Plan) -> Mapping[str, str]:
    """Return wave name -> the share it was cut by, as in "5 % of 37 = 2", also of steps that add nobody.

    In a Regional rollout shares are of the region's members; a region without members has no steps.
    """
    strategy = plan.spec.strategy
    if not isinstance(strategy, Regional):
        return _shares(strategy, len(plan.members), [wave.name for wave in plan.waves])
    found: dict[str, str] = {}
    for step in strategy.regions:
        waves = [wave for wave in plan.waves if wave.region == step.name]
        names = [wave.name.removeprefix(f"{step.name}/") for wave in waves]
        total = sum(len(wave.devices) for wave in waves)
        told = _shares(inner_of(strategy, step), total, names) if total else {}
        found |= {f"{step.name}/{name}": words for name, words in told.items()}
    return found


def _shares(strategy: Strategy | Canary | Rolling | Direct, total: int, waves: list[str]) -> dict[str, str]:
    if isinstance(strategy, Canary):
        steps = (strategy.initial_percentage, *strategy.increments)
        return {f"wave-{n}": f"{p:g} % of {total} = {share(p, total)}" for n, p in enumerate(steps, start=1)}
    if isinstance(strategy, Rolling):
        size = strategy.batch_size
        told = (
            f"{size.value} % of {total} = {max(1, size.of(total))}" if size.unit == "percent" else f"{size} at a time"
        )
        return dict.fromkeys(waves, told)
    return {}
