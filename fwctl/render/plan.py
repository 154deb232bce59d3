"""Plans as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fwctl.render.words import counted, document, labelled

if TYPE_CHECKING:
    from fwctl.cli.planning import PlanResult
    from fwctl.reconcile.commit import Prepared

_SHOWN = 20


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
    for wave in plan.waves:
        soak = f", soak {wave.soak}s" if wave.soak else ""
        lines.append(f"  {wave.name} (stage {wave.stage}): {_devices(len(wave.devices))}{soak}")
        lines += [f"    + {device}" for device in wave.devices[:_SHOWN]]
        if len(wave.devices) > _SHOWN:
            lines.append(f"    ... and {len(wave.devices) - _SHOWN} more (--format json lists all)")
    lines += _beside("Skipped for now", [f"{skip.device}: {skip.reason}" for skip in result.skips])
    lines += _beside("Not covered by the lock (run `fwctl plan --lock` to add them)", plan.not_covered)
    seen = f"{result.observed} of {len(plan.members)} seen by the ledger" if result.observed else "no device seen yet"
    lines += [
        "",
        f"{_devices(len(plan.members))} in {len(plan.waves)} wave{'s' * (len(plan.waves) != 1)}, "
        f"{result.to_update} to update, {len(result.skips)} skipped; {seen}.",
    ]
    return "\n".join(lines)


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
    return {
        "rollout": plan.key,
        "digest": plan.digest,
        "mandate": mandate.id if mandate else None,
        "release": {"digest": plan.release.digest} | plan.release.to_wire(),
        "plan": plan.to_json(),
        "skips": [{"device": skip.device, "reason": skip.reason} for skip in result.skips],
        "dropped": list(plan.dropped),
        "notCovered": list(plan.not_covered),
    }
