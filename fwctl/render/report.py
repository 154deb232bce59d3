"""The report of a rollout as text and JSON; as a page, see `report_html`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fwctl.reconcile.by_region import by_region
from fwctl.reconcile.summarising import back_summary, wave_summary
from fwctl.render.picture import picture
from fwctl.render.report_html import page
from fwctl.render.status import back_json, back_lines, regions_json, standing_counts, standings_json, wave_json
from fwctl.render.words import STATE_ICONS, WAVE_ICONS, columns, counted, document, labelled, some, stamp, visible

if TYPE_CHECKING:
    from fwctl.cli.reporting import FailureGroup, Report


def text(report: Report) -> str:
    """Return the report for people."""
    status, plan = report.status, report.status.prepared.plan
    approved = ", ".join(f"{a.signer} (stage {a.stage})" for a in report.approvals) or "by nobody"
    pairs = [
        ("reason", visible(report.reason)),
        ("rule", report.rule),
        ("started", moment(report.started)),
        ("ended", moment(report.finished)),
        ("devices", standing_counts(report.results)),
        ("signed", approved),
        ("plan", plan.digest),
        ("release", plan.release.digest),
        ("mandate", status.prepared.mandate.id if status.prepared.mandate else ""),
        ("commit", report.commit),
    ]
    head = f"Rollout {plan.key}: {plan.release.model} {plan.release.version}, {plan.spec.strategy.type}: "
    lines = [head + f"{STATE_ICONS.get(status.state, '·')} {status.state}", *labelled(p for p in pairs if p[1])]
    lines += _regions(report)
    rows = [("WAVE", "DEVICES", "OPENED", "SOAK", "JUDGED", "STATE")]
    rows += [
        (
            line.wave.name,
            str(len(line.wave.devices)),
            moment(line.opened) or "-",
            moment(line.soak_since) or "-",
            moment(line.judged) or "-",
            f"{WAVE_ICONS[line.state]} {line.state}" + (f": {visible(line.reason)}" if line.reason else ""),
        )
        for line in report.waves
    ]
    lines += ["", *columns(rows)]
    for group in report.failures:
        lines += ["", *_group(group)]
    if report.back is not None:
        began = f"Went back from {moment(report.back.since)}"
        lines += ["", began, *(f"  {label:<9} {value}" for label, value in back_lines(back_summary(report.back)))]
    return "\n".join(lines)


def _regions(report: Report) -> list[str]:
    """Return a table of the regions, nothing where there are none."""
    regions = by_region(map(wave_summary, report.waves))
    rows = [("REGION", "DEVICES", "OPENED", "JUDGED", "STATE")]
    rows += [
        (
            region.name,
            str(region.size),
            moment(region.opened) or "-",
            moment(region.judged) or "-",
            f"{WAVE_ICONS[region.state]} {region.state}: {standing_counts(region.counts)}",
        )
        for region in regions
    ]
    return ["", *columns(rows)] if regions else []


def _group(group: FailureGroup) -> list[str]:
    against = "counts against the gate" if group.counts else "does not count against the gate"
    lines = []
    for one in group.devices:
        told = ", ".join(filter(None, (one.wave, f"attempt {one.attempt}", one.code, moment(one.at))))
        lines.append(f"  {one.device}  {visible(told)}")
        lines += [f"    probe {visible(probe.words)}" for probe in one.probes]
    return [f"{group.klass}: {counted(len(group.devices), 'device')}, {against}", *some(lines, 40)]


def moment(when: datetime | None) -> str:
    """Return a time as the report writes it, nothing for none."""
    return f"{when:%Y-%m-%d %H:%M:%S}Z" if when else ""


def as_json(report: Report) -> str:
    """Return the report for programs, with all devices."""
    status, plan = report.status, report.status.prepared.plan
    return document(
        {
            "rollout": plan.key,
            "model": plan.release.model,
            "version": plan.release.version,
            "strategy": plan.spec.strategy.type,
            "state": status.state,
            "reason": report.reason,
            "rule": report.rule or None,
            "startedAt": stamp(report.started),
            "finishedAt": stamp(report.finished),
            "reportedAt": stamp(report.now),
            "plan": plan.digest,
            "release": plan.release.digest,
            "mandate": status.prepared.mandate.id if status.prepared.mandate else None,
            "commit": report.commit or None,
            "approvals": [{"signer": a.signer, "stage": a.stage, "approvedAt": a.at or None} for a in report.approvals],
            "counts": dict(report.results),
            "waves": [wave_json(wave_summary(line)) for line in report.waves],
            **regions_json(map(wave_summary, report.waves)),
            "failures": [_group_json(group) for group in report.failures],
            "rollback": back_json(back_summary(report.back)) if report.back else None,
            "confirmedAt": [stamp(when) for when in report.confirmed],
            "devices": standings_json(status.standings),
        }
    )


def _group_json(group: FailureGroup) -> dict[str, Any]:
    return {
        "class": group.klass,
        "countsAgainstGate": group.counts,
        "devices": [
            {
                "device": one.device,
                "wave": one.wave,
                "attempt": one.attempt,
                "code": one.code or None,
                "at": stamp(one.at),
                "evidence": [probe.to_json() for probe in one.probes],
            }
            for one in group.devices
        ],
    }


RENDERERS: Mapping[str, Callable[[Report], str]] = {"text": text, "json": as_json, "html": page, "svg": picture}
