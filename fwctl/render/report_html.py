"""The report as one page: no script, no resource from elsewhere, light and dark, on paper too.

Everything that came from a device, a person or a file passes `safe`; a page of hostile names is only an ugly page.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from fwctl.reconcile.by_region import by_region
from fwctl.reconcile.summarising import wave_summary
from fwctl.render.page_style import STYLE
from fwctl.render.status import measured, standing_counts
from fwctl.render.timeline import timeline
from fwctl.render.words import STANDINGS, STATE_ICONS, WAVE_ICONS, counted, exactly, visible

if TYPE_CHECKING:
    from fwctl.cli.reporting import FailedDevice, FailureGroup, Report
    from fwctl.reconcile.by_region import RegionSummary
    from fwctl.reconcile.waving import WaveLine, WayBack

_SHOWN = 100
"""devices listed per failure class; JSON has all"""
_TONES = {"complete": "good", "stopped": "bad", "aborted": "bad", "rolled-back": "back", "rolling-back": "back"}
_COLOURS = {"reached": "good", "failed": "bad", "straggler": "warn", "retry": "warn", "back": "back"}


def safe(text: object) -> str:
    """Return text that cannot be anything but text in HTML, on one line."""
    return escape(visible(str(text)), quote=True)


def page(report: Report) -> str:
    """Return the page."""
    status, plan = report.status, report.status.prepared.plan
    title = f"{plan.key}: {plan.release.model} {plan.release.version}"
    sections = [
        _head(report),
        _tiles(report),
        _card("Timeline", timeline(report), wide=True) if report.started else "",
        _card("Regions", _regions(regions)) if (regions := by_region(map(wave_summary, report.waves))) else "",
        _card("Waves", _waves(report.waves)),
        _card("Failures by class", _failures(report.failures)) if report.failures else "",
        _card("Way back", _back(report.back)) if report.back else "",
        _card("By whose word", _word(report)),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{safe(title)}: {safe(status.state)}</title>",
            f"<style>{STYLE}</style>",
            f"<body><main>{''.join(sections)}</main>",
            f"<footer>Made by fwctl at {_time(report.now)} from the ledger. Times are UTC.</footer></body></html>",
        ]
    )


def _head(report: Report) -> str:
    status, plan = report.status, report.status.prepared.plan
    tone = _TONES.get(status.state, "plain")
    why = f'<p class="why">{safe(report.reason)}</p>' if report.reason else ""
    rule = f'<p class="rule">Rule <code>{safe(report.rule)}</code></p>' if report.rule else ""
    return (
        f'<header class="{tone}"><p class="kicker">Rollout {safe(plan.key)}</p>'
        f"<h1>{safe(plan.release.model)} <b>{safe(plan.release.version)}</b></h1>"
        f'<p class="state"><span class="pill {tone}">{safe(STATE_ICONS.get(status.state, "·"))} {safe(status.state)}'
        f"</span> {safe(plan.spec.strategy.type)}, {counted(len(plan.members), 'device')}</p>{why}{rule}</header>"
    )


def _tiles(report: Report) -> str:
    counts = report.results
    tiles = [(counts[state], state, _COLOURS.get(state, "plain")) for state in STANDINGS if counts[state]]
    told = "".join(
        f'<div class="tile {tone}"><b>{number:,}</b><span>{safe(state)}</span></div>' for number, state, tone in tiles
    )
    total = sum(counts.values()) or 1
    strip = "".join(f'<i class="{tone}" style="width:{100 * number / total:.3f}%"></i>' for number, _, tone in tiles)
    return f'<section class="tiles">{told}</section><div class="strip" aria-hidden="true">{strip}</div>'


def _card(title: str, body: str, *, wide: bool = False) -> str:
    return f'<section class="card{" wide" if wide else ""}"><h2>{safe(title)}</h2>{body}</section>'


def _waves(waves: Iterable[WaveLine]) -> str:
    rows = "".join(
        f"<tr><th>{safe(line.wave.name)}<small>stage {line.wave.stage}</small></th>"
        f'<td class="n">{len(line.wave.devices):,}</td>'
        f"<td>{_time(line.opened)}</td><td>{_time(line.soak_since)}</td><td>{_time(line.judged)}</td>"
        f'<td><span class="pill {line.state}">{WAVE_ICONS[line.state]} {line.state}</span>'
        f"<small>{safe(line.reason)}</small></td></tr>"
        for line in waves
    )
    head = "<tr><th>Wave</th><th>Devices</th><th>Opened</th><th>Soak from</th><th>Judged</th><th>Result</th></tr>"
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _regions(regions: Iterable[RegionSummary]) -> str:
    rows = "".join(
        f'<tr><th>{safe(one.name)}</th><td class="n">{one.size:,}</td>'
        f"<td>{_time(one.opened)}</td><td>{_time(one.judged)}</td>"
        f'<td><span class="pill {one.state}">{WAVE_ICONS[one.state]} {one.state}</span>'
        f"<small>{safe(standing_counts(one.counts))}</small></td></tr>"
        for one in regions
    )
    head = "<tr><th>Region</th><th>Devices</th><th>Opened</th><th>Judged</th><th>Result</th></tr>"
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _failures(groups: tuple[FailureGroup, ...]) -> str:
    most = max(len(group.devices) for group in groups)
    return "".join(_group(group, most) for group in groups)


def _group(group: FailureGroup, most: int) -> str:
    number, tone = len(group.devices), "bad" if group.counts else "warn"
    against = "counts against the gate" if group.counts else "does not count against the gate"
    more = f"<p class=more>... and {number - _SHOWN:,} more; the JSON report has all.</p>" if number > _SHOWN else ""
    devices = "".join(_device(one) for one in group.devices[:_SHOWN])
    return (
        f'<details class="failure" open><summary><span class="what"><b>{safe(group.klass)}</b>'
        f"<small>{against}</small></span>"
        f'<span class="bar"><i class="{tone}" style="width:{100 * number / most:.2f}%"></i></span>'
        f'<span class="n">{number:,}</span></summary><ul>{devices}</ul>{more}</details>'
    )


def _device(one: FailedDevice) -> str:
    told = ", ".join(filter(None, (one.wave, f"attempt {one.attempt}", one.code)))
    probes = "".join(
        f'<li class="{"ok" if probe.ok else "bad"}">probe {safe(probe.words)}</li>' for probe in one.probes
    )
    evidence = f"<ul>{probes}</ul>" if probes else ""
    return f"<li><code>{safe(one.device)}</code> <small>{safe(told)} {_time(one.at)}</small>{evidence}</li>"


def _back(back: WayBack) -> str:
    verdict = {True: ("good", "✔ met"), False: ("bad", "✖ missed"), None: ("plain", "· open")}[back.met]
    longest = max(back.deadline, back.longest or 0) or 1
    names = (("p50", back.quantile(0.5)), ("p95", back.quantile(0.95)), ("max", back.longest))
    bars = "".join(
        f'<div class="row"><span>{name}</span><span class="bar"><i class="back" '
        f'style="width:{100 * value / longest:.2f}%"></i><em style="left:{100 * back.deadline / longest:.2f}%"></em>'
        f'</span><span class="n">{measured(value)}</span></div>'
        for name, value in names
        if value is not None
    )
    late = f"<p>{counted(len(back.late), 'device')} out of reach meanwhile came back later.</p>" if back.late else ""
    waiting = f"<p>{counted(back.waiting, 'device')} still on the way.</p>" if back.waiting else ""
    return (
        f"<p>{counted(back.devices, 'device')} taken back from {_time(back.since)} on. "
        f'Deadline {exactly(back.deadline)}: <span class="pill {verdict[0]}">{verdict[1]}</span></p>'
        f'<div class="bars">{bars}</div>{late}{waiting}'
    )


def _word(report: Report) -> str:
    prepared = report.status.prepared
    signed = (
        "".join(
            f"<li><b>{safe(one.signer)}</b> <small>up to stage {one.stage}{f', {safe(one.at)}' if one.at else ''}"
            "</small></li>"
            for one in report.approvals
        )
        or "<li>nobody</li>"
    )
    pairs = (
        ("Plan", prepared.plan.digest),
        ("Release", prepared.plan.release.digest),
        ("Mandate", prepared.mandate.id if prepared.mandate else ""),
        ("Commit", report.commit),
    )
    digests = "".join(f"<dt>{name}</dt><dd><code>{safe(value)}</code></dd>" for name, value in pairs if value)
    return f'<ul class="signers">{signed}</ul><dl>{digests}</dl>'


def _time(moment: datetime | None) -> str:
    return f"<time>{moment:%Y-%m-%d %H:%M:%S}Z</time>" if moment else '<span class="none">-</span>'
