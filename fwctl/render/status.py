"""Status as text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fwctl.render.words import ICONS, STANDINGS, counted, document

if TYPE_CHECKING:
    from fwctl.cli.standing import RolloutStatus, Status

_SHOWN = 20


def text(status: Status) -> str:
    """Return the status for people; with devices if one rollout was asked for."""
    applied = f", applied {status.last_applied[:12]}" if status.last_applied else ", nothing applied yet"
    lines = [f"Fleet {status.repo_id}: {counted(status.devices, 'device')}, commit {status.commit[:12]}{applied}"]
    if status.dirty:
        names = ", ".join([*status.dirty[:2], *(["..."] if len(status.dirty) > 2 else [])])
        lines.append(f"  {counted(len(status.dirty), 'file')} not committed, which counts for nothing yet: {names}")
    for one in status.rollouts:
        lines += ["", *_rollout(one, detailed=status.detailed)]
    if not status.rollouts:
        lines += ["", "No rollout is declared."]
    return "\n".join(lines)


def as_json(status: Status) -> str:
    """Return the status for programs, with all devices."""
    return document(
        {
            "repoId": status.repo_id,
            "commit": status.commit,
            "lastApplied": status.last_applied,
            "devices": status.devices,
            "dirty": list(status.dirty),
            "rollouts": [_json(one) for one in status.rollouts],
        }
    )


RENDERERS: Mapping[str, Callable[[Status], str]] = {"text": text, "json": as_json}


def _rollout(one: RolloutStatus, *, detailed: bool) -> list[str]:
    plan, verdict = one.prepared.plan, one.prepared.verdict
    counts: Counter[str] = Counter(standing.state for standing in one.standings)
    lines = [f"{plan.key}: {plan.release.model} {plan.release.version}: {one.state}"]
    if one.reason:
        lines.append(f"  reason    {one.reason}")
    if verdict:
        lines.append(f"  approved  {', '.join(verdict.approvers) or 'by nobody'}")
        lines += [f"  stale     {path}" for path in verdict.stale[:3]]
    lines.append("  devices   " + (", ".join(f"{ICONS[s]} {counts[s]} {s}" for s in STANDINGS if counts[s]) or "none"))
    shown = one.standings if detailed else [s for s in one.standings if s.state in ("failed", "straggler", "retry")]
    lines += [f"    {ICONS[s.state]} {s.device}  {s.state}: {s.reason}" for s in shown[:_SHOWN]]
    if len(shown) > _SHOWN:
        lines.append(f"    ... and {len(shown) - _SHOWN} more (--format json lists all)")
    return lines


def _json(one: RolloutStatus) -> dict[str, Any]:
    prepared = one.prepared
    return {
        "rollout": prepared.key,
        "state": one.state,
        "reason": one.reason,
        "plan": prepared.plan.digest,
        "mandate": prepared.mandate.id if prepared.mandate else None,
        "approvedStage": prepared.approved_stage,
        "approvers": list(prepared.verdict.approvers) if prepared.verdict else [],
        "staleApprovals": list(prepared.verdict.stale) if prepared.verdict else [],
        "devices": [{"device": s.device, "state": s.state, "reason": s.reason, "rule": s.rule} for s in one.standings],
    }
