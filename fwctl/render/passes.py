"""What a pass did, as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fwctl.reconcile.reports import PassReport, RolloutReport, Swept
from fwctl.render.words import STANDINGS, STATE_ICONS, counted, document, visible
from fwctl_agent.protocol.fields import format_time


def text(report: PassReport) -> str:
    """Return the pass for people: one line per rollout."""
    lines = [f"Commit {report.commit[:12]}, epoch {report.epoch}: {counted(report.visits, 'visit')}"]
    lines += [
        f"  {one.key}  {STATE_ICONS.get(one.state, '·')} {one.state}  {_counts(one)}" + _because(one)
        for one in report.rollouts
    ]
    if not report.rollouts:
        lines.append("  no rollouts are declared")
    if report.swept.devices:
        lines.append(f"  {_swept(report.swept)}")
    if report.next_due:
        lines.append(f"  next due {report.next_due:%Y-%m-%d %H:%M:%S}Z")
    return "\n".join(lines)


def as_json(report: PassReport) -> str:
    """Return the pass for programs."""
    return document(
        {
            "commit": report.commit,
            "epoch": report.epoch,
            "visits": report.visits,
            "started": format_time(report.started),
            "finished": format_time(report.finished),
            "ok": report.ok,
            "swept": {
                "devices": report.swept.devices,
                "unreachable": report.swept.unreachable,
                "drifted": report.swept.drifted,
            },
            "rollouts": [
                {
                    "rollout": one.key,
                    "state": one.state,
                    "reason": one.reason,
                    "counts": dict(one.counts),
                    "nextDue": format_time(one.next_due) if one.next_due else None,
                }
                for one in report.rollouts
            ],
        }
    )


RENDERERS: Mapping[str, Callable[[PassReport], str]] = {"text": text, "json": as_json}


def _swept(swept: Swept) -> str:
    words = [f"swept {counted(swept.devices, 'device')}"]
    words += [f"{swept.unreachable:,} unreachable"] if swept.unreachable else []
    words += [f"{swept.drifted:,} drifted: fwctl drift"] if swept.drifted else []
    return ", ".join(words)


def _counts(one: RolloutReport) -> str:
    return ", ".join(f"{one.counts[state]} {state}" for state in STANDINGS if one.counts.get(state)) or "no devices"


def _because(one: RolloutReport) -> str:
    return f"\n    because {visible(one.reason)}" if one.reason and one.state != "complete" else ""
