"""Plans as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fwctl.render.regions import order_words, region_head, shares
from fwctl.render.words import counted, document, exactly, labelled
from fwctl.rollouts.rails.rules import set_aside

if TYPE_CHECKING:
    from fwctl.cli.planning import PlanResult
    from fwctl.manifests.models.rollout_parts import Limit
    from fwctl.reconcile.commit import Prepared
    from fwctl.rollouts.plan import Plan, Wave

_SHOWN = 20
_WAVES = 20


def text(results: Sequence[PlanResult]) -> str:
    """Return the plans for people: waves with their devices, skips with reasons, a closing count."""
    return "\n\n".join(_one(result) for result in results)


def as_json(results: Sequence[PlanResult]) -> str:
    """Return the plans for programs."""
    return document({"plans": [_json(result) for result in results]})


RENDERERS: Mapping[str, Callable[[Sequence[PlanResult]], str]] = {"text": text, "json": as_json}


def _one(result: PlanResult) -> str:
    prepared, plan = result.prepared, result.prepared.plan
    pairs = [
        ("release", plan.release.digest),
        ("plan", plan.digest),
        ("mandate", prepared.mandate.id if prepared.mandate else "none yet: no lock"),
        ("signed", _approvals(prepared)),
    ]
    lines = [
        f"Rollout {plan.key}: {plan.release.model} {plan.release.version}, {plan.spec.strategy.type}",
        *labelled(pair for pair in pairs if pair[1]),
        "",
    ]
    steps = shares(plan)
    lines += _waves(plan, steps)
    merged = sorted(steps.keys() - {wave.name for wave in plan.waves})
    lines += [f"  {name} adds nobody ({steps[name]}): merged" for name in merged[:_SHOWN]]
    lines += [f"  ... and {counted(len(merged) - _SHOWN, 'more step')} that add nobody"] if len(merged) > _SHOWN else []
    order = [f"  order: {order_words(plan)}"] if order_words(plan) else []
    lines += ["", *order, f"  gates: {gates(plan)}", f"  then:  {_then(plan)}", *_ways(result)]
    if prepared.guarded.policies:
        lines.append(f"  guard rails: {', '.join(prepared.guarded.policies)}")
    lines += _beside("Rules of guard rails set aside", set_aside(plan))
    lines += _beside("Skipped for now", [f"{skip.device}: {skip.reason}" for skip in result.skips])
    lines += _beside("Not covered by the lock (run `fwctl plan --lock` to add them)", plan.not_covered)
    lines += [
        "",
        f"{_devices(len(plan.members))} in {len(plan.waves)} wave{'s' * (len(plan.waves) != 1)}, "
        f"{result.to_update} to update, {len(result.skips)} skipped; {_seen(result)}.",
    ]
    return "\n".join(lines)


def _ways(result: PlanResult) -> list[str]:
    """Return the stops on the way, and how many devices go how, as far as that is known."""
    plan = result.prepared.plan
    names = [f"{stop.version}{' (for everybody below it)' * (stop.digest in plan.barriers)}" for stop in plan.stops]
    return [
        *([f"  stops: {', '.join(names)}"] if names else []),
        *([f"  ways:  {result.ways}"] if result.ways else []),
    ]


def _seen(result: PlanResult) -> str:
    if result.observed is None:
        return "no ledger is here, so what they run now is not known"
    total = len(result.prepared.plan.members)
    return f"{result.observed} of {total} seen by the ledger" if result.observed else "no device seen yet"


def _waves(plan: Plan, steps: Mapping[str, str]) -> Iterator[str]:
    """Yield the first waves, those that wait for an approval, and the last; what lies between is counted."""
    total = len(plan.waves)
    opening = [at for at in range(1, total) if plan.waves[at].stage > _stage_before(plan, at)]
    shown = sorted({*range(min(total, _WAVES)), *opening[:_WAVES], total - 1})
    before, region = -1, ""
    for at in shown if total else ():
        if hidden := plan.waves[before + 1 : at]:
            held = _devices(sum(len(wave.devices) for wave in hidden))
            yield f"  ... {counted(len(hidden), 'more wave')} with {held} (--format json lists all)"
        before, wave = at, plan.waves[at]
        if wave.region != region:
            region = wave.region
            yield f"  {region_head(plan, region)}"
        if wave.stage > _stage_before(plan, at):
            yield f"  -- {wave.name} waits for approval of stage {wave.stage} --"
        yield f"  {wave.name} (stage {wave.stage}): {_devices(len(wave.devices))}{_how(wave, steps)}"
        yield from (f"    + {device}" for device in wave.devices[:_SHOWN])
        if len(wave.devices) > _SHOWN:
            yield f"    ... and {len(wave.devices) - _SHOWN} more (--format json lists all)"


def _stage_before(plan: Plan, at: int) -> int:
    """Return the stage of the wave that goes before one; the first of a track needs stage 1 anyway."""
    return next((wave.stage for wave in reversed(plan.waves[:at]) if wave.track == plan.waves[at].track), 1)


def gates(plan: Plan) -> str:
    """Return what decides whether a wave passes, in one line."""
    spec, watch = plan.spec.gates, plan.spec.watch_seconds
    rate, time = spec.max_failure_rate, spec.timeout_per_device
    parts = [
        f"at most {rate.percent:g} % failed (early stop from {rate.min_sample} settled)",
        f"at least {spec.min_reached.percent:g} % reached",
        *([f"{exactly(time)} per device"] if time else []),
        f"probes {spec.health.probes}" + (f" watched for {exactly(watch)}" if watch else ""),
        *(f"{name} {_range(limit)}" for name, limit in sorted(spec.health.limits.items())),
    ]
    return ", ".join(parts)


def _range(limit: Limit) -> str:
    low = [f"at least {limit.min:g}"] if limit.min is not None else []
    return " and ".join([*low, *([f"at most {limit.max:g}"] if limit.max is not None else [])])


def _then(plan: Plan) -> str:
    rollback = plan.spec.rollback
    if not rollback.allowed:
        return "a failed gate stops the rollout; going back needs its own approval"
    if not rollback.automatic:
        return "a failed gate stops the rollout; going back is yours to order"
    if rollback.scope == "wave":
        return f"a failed gate takes back every wave that has not passed, within {exactly(rollback.deadline)}"
    return f"a failed gate takes every device back, within {exactly(rollback.deadline)}"


def _how(wave: Wave, steps: Mapping[str, str]) -> str:
    parts = [
        *([steps[wave.name]] if wave.name in steps else []),
        *([f"at most {wave.max_unavailable} at once"] if wave.max_unavailable else []),
        *([f"soak {exactly(wave.soak)}"] if wave.soak else []),
    ]
    return "".join(f", {part}" for part in parts)


def _approvals(prepared: Prepared) -> str:
    """Return how far it is approved; nothing where no root is pinned here, so that nobody could judge."""
    if prepared.verdict is None:
        return ""
    if prepared.not_approved:
        return prepared.not_approved
    return f"by {', '.join(prepared.verdict.approvers)}"


def _beside(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"    ... and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return ["", f"  {title}:", *(f"    - {item}" for item in items[:_SHOWN]), *more]


def _devices(count: int) -> str:
    return counted(count, "device")


def _json(result: PlanResult) -> dict[str, Any]:
    plan, mandate = result.prepared.plan, result.prepared.mandate
    stops = [{"version": stop.version, "digest": stop.digest} for stop in plan.stops]
    return ({"stops": stops} if stops else {}) | {
        "rollout": plan.key,
        "digest": plan.digest,
        "mandate": mandate.id if mandate else None,
        "release": {"digest": plan.release.digest} | plan.release.to_wire(),
        "plan": plan.to_json(),
        "skips": [{"device": skip.device, "reason": skip.reason} for skip in result.skips],
        "dropped": list(plan.dropped),
        "notCovered": list(plan.not_covered),
    }
