"""The history of a device as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fwctl.render.words import counted, document, stamp, visible

if TYPE_CHECKING:
    from fwctl.cli.lineage import Lineage, Step

_ICONS = {"confirmed": "✔", "reverted": "↩", "failed": "✖", "cancelled": "↩", "under way": "▶", "found": "·"}


def text(lineage: Lineage) -> str:
    """Return every firmware of the device, oldest first: where it came from and what became of it."""
    now = f"runs {lineage.running}" if lineage.running else "never answered"
    lines = [f"Device {lineage.device}: {now}, {counted(len(lineage.steps), 'step')}"]
    for step in lineage.steps:
        lines += ["", *_step(step)]
    return "\n".join(lines)


def _step(step: Step) -> list[str]:
    result = f"{_ICONS.get(step.outcome, '·')} {step.outcome}"
    why = f" ({step.klass}{f', {step.code}' if step.code else ''})" if step.klass else ""
    attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
    lines = [f"{visible(step.version)}{attempt}: {result}{why}"]
    approved = ", ".join(f"{one.signer} (stage {one.stage}{f', {one.at}' if one.at else ''})" for one in step.approvals)
    pairs = [
        ("found", f"{_at(step.found)}, running, without an order from here" if step.found else ""),
        ("rollout", f"{step.rollout}, {step.wave}" if step.rollout else ""),
        ("approved", approved or ("by nobody that the repository still names" if step.mandate else "")),
        ("ordered", _at(step.ordered)),
        ("kept", _at(step.confirmed)),
        ("undone", _at(step.reverted)),
        ("release", step.release),
        ("image", step.image),
        ("mandate", step.mandate),
        ("commit", step.commit),
    ]
    lines += [f"  {label:<9} {value}" for label, value in pairs if value]
    lines += [f"  {'probe':<9} {visible(probe.words)}" for probe in (step.said.probes if step.said else ())]
    return lines


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z" if moment else ""


def as_json(lineage: Lineage) -> str:
    """Return the history for programs."""
    return document(
        {"device": lineage.device, "running": lineage.running or None, "history": [_json(s) for s in lineage.steps]}
    )


def _json(step: Step) -> dict[str, Any]:
    return {
        "version": step.version,
        "release": step.release or None,
        "image": step.image or None,
        "mandate": step.mandate or None,
        "rollout": step.rollout or None,
        "wave": step.wave or None,
        "attempt": step.attempt or None,
        "commit": step.commit or None,
        "approvals": [{"signer": a.signer, "stage": a.stage, "approvedAt": a.at or None} for a in step.approvals],
        "foundAt": stamp(step.found),
        "orderedAt": stamp(step.ordered),
        "confirmedAt": stamp(step.confirmed),
        "revertedAt": stamp(step.reverted),
        "outcome": step.outcome,
        "class": step.klass or None,
        "code": step.code or None,
        "evidence": [probe.to_json() for probe in step.said.probes] if step.said else [],
    }


RENDERERS: Mapping[str, Callable[[Lineage], str]] = {"text": text, "json": as_json}
