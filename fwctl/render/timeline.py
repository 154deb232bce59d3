"""The timeline of a rollout as SVG: a bar per wave, and how many devices got there and back, as step curves.

Of a Regional rollout each region has a row over its waves: from its first wave's opening to its last one's verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

from fwctl.reconcile.by_region import RegionSummary, by_region
from fwctl.reconcile.summarising import wave_summary

if TYPE_CHECKING:
    from fwctl.cli.reporting import Report
    from fwctl.reconcile.waving import WaveLine

WIDTH, _LEFT, _RIGHT = 960, 84, 64
_LETTER = 7.5
"""width of a letter of a name, about"""
_ROW, _TOP, _CURVE = 30, 8, 150
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800)
_POINTS = 400
"""points of a curve at most: more than a screen shows of 100,000 devices"""


@dataclass(frozen=True)
class _Scale:
    """Time to pixels."""

    begin: datetime
    end: datetime
    left: float

    def x(self, moment: datetime) -> float:
        share = (moment - self.begin) / (self.end - self.begin)
        return self.left + max(0.0, min(1.0, share)) * (WIDTH - self.left - _RIGHT)

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()


def timeline(report: Report) -> str:
    """Return the drawing with its legend. It tells nothing that the tables do not: it is for the eye."""
    label = f"Waves and devices of {report.status.key} over time"
    parts, height = drawing(report)
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label, quote=True)}">'
    legend = "".join(f"<span><i class={kind}></i>{words}</span>" for kind, words in legend_of(report))
    return f'<div class="scroll">{head}{"".join(parts)}</svg></div><div class="legend">{legend}</div>'


def drawing(report: Report) -> tuple[list[str], int]:
    """Return the parts of the drawing and its height; its width is `WIDTH`."""
    scale = _scale(report)
    lines = _rows(report)
    rows = _TOP + _ROW * len(lines)
    floor = rows + 24 + _CURVE
    parts = [
        _band(report, scale, floor),
        *_ticks(scale, floor),
        *(_row(line, scale, _TOP + _ROW * at, report) for at, line in enumerate(lines)),
        *_curves(report, scale, rows + 24, floor),
    ]
    return parts, floor + 26


def _scale(report: Report) -> _Scale:
    moments = [report.started, report.finished, *report.confirmed, *report.failed, *report.taken_back]
    moments += [moment for line in report.waves for moment in (line.opened, line.soak_since, line.judged)]
    moments += [report.back.since] if report.back else []
    if report.finished is None:
        moments.append(report.now)
    known = [moment for moment in moments if moment is not None]
    begin = min(known)
    longest = max((len(_name(line)) for line in _rows(report)), default=0)
    return _Scale(begin, max(max(known), begin + timedelta(seconds=1)), max(_LEFT, 16 + _LETTER * longest))


def _rows(report: Report) -> Sequence[WaveLine | RegionSummary]:
    """Return the waves, those of a region below it."""
    regions = {one.name: one for one in by_region(map(wave_summary, report.waves))}
    rows: list[WaveLine | RegionSummary] = []
    for line in report.waves:
        if (region := regions.pop(line.wave.region, None)) is not None:
            rows.append(region)
        rows.append(line)
    return rows


def _name(row: WaveLine | RegionSummary) -> str:
    """Return what stands before a row; a wave stands below the name of its region."""
    return row.name if isinstance(row, RegionSummary) else row.wave.name.removeprefix(f"{row.wave.region}/")


def _ticks(scale: _Scale, floor: int) -> Iterable[str]:
    step = next((size for size in _STEPS if scale.seconds / size <= 7), _STEPS[-1])
    first = scale.begin.timestamp()
    at = -(-first // step) * step
    while at <= scale.end.timestamp():
        moment = datetime.fromtimestamp(at, tz=scale.begin.tzinfo)
        x = scale.x(moment)
        words = f"{moment:%b %d}" if step >= 86400 else f"{moment:%H:%M}" if step >= 60 else f"{moment:%H:%M:%S}"
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{floor}"/>'
        yield f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{words}</text>'
        at += step
    yield f'<line class="grid" x1="{scale.left:g}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>'


def _band(report: Report, scale: _Scale, floor: int) -> str:
    if report.back is None:
        return ""
    x = scale.x(report.back.since)
    end = scale.x(report.finished or scale.end)
    return f'<rect class="band" x="{x:.1f}" y="0" width="{max(2.0, end - x):.1f}" height="{floor}"/>'


def _row(row: WaveLine | RegionSummary, scale: _Scale, y: int, report: Report) -> str:
    if not isinstance(row, RegionSummary):
        return _wave(row, scale, y, report)
    middle, name = y + _ROW / 2, escape(row.name, quote=True)
    parts = [f'<text class="name" x="0" y="{middle + 4:.0f}">{name}</text>']
    if row.opened is not None:
        ended = report.back.since if report.back else report.finished
        left, right = scale.x(row.opened), scale.x(row.judged or ended or scale.end)
        where = f'x1="{left:.1f}" x2="{max(right, left + 3):.1f}" y1="{middle:.1f}" y2="{middle:.1f}"'
        parts.append(f'<line class="region" {where}/>')
    parts.append(f'<text class="name" x="{WIDTH}" y="{middle + 4:.0f}" text-anchor="end">{row.size:,}</text>')
    return "".join(parts)


def _wave(line: WaveLine, scale: _Scale, y: int, report: Report) -> str:
    middle = y + _ROW / 2
    indent, name = 12 if line.wave.region else 0, escape(_name(line), quote=True)
    parts = [f'<text class="name" x="{indent}" y="{middle + 4:.0f}">{name}</text>']
    if line.opened is not None:
        ended = report.back.since if report.back else report.finished
        over = line.judged or ended or scale.end
        begin = report.switched.get(line.wave.name, line.opened)
        if begin != line.opened:
            parts.append(_bar("stage", scale, line.opened, begin, y))
        parts.append(_bar("open", scale, begin, line.soak_since or over, y))
        if line.soak_since is not None:
            parts.append(_bar("soak", scale, line.soak_since, over, y))
        if line.judged is not None:
            x, kind = scale.x(line.judged), escape(line.state, quote=True)
            parts.append(f'<circle class="mark {kind}" cx="{x:.1f}" cy="{middle:.1f}" r="7"/>')
    parts.append(f'<text x="{WIDTH}" y="{middle + 4:.0f}" text-anchor="end">{len(line.wave.devices):,}</text>')
    return "".join(parts)


def _bar(kind: str, scale: _Scale, begin: datetime, end: datetime, y: int) -> str:
    left, right = scale.x(begin), scale.x(max(begin, end))
    width = max(3.0, right - left)
    return f'<rect class="{kind}" x="{left:.1f}" y="{y + 8}" width="{width:.1f}" height="{_ROW - 16}" rx="3"/>'


def _curves(report: Report, scale: _Scale, top: int, floor: int) -> Iterable[str]:
    total = max(1, len(report.status.standings))
    for number in dict.fromkeys((0, total // 2, total)):
        y = floor - (floor - top) * number / total
        yield f'<text x="{scale.left - 10:g}" y="{y + 4:.0f}" text-anchor="end">{number:,}</text>'
        yield f'<line class="grid" x1="{scale.left:g}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    for tone, moments in (
        ("stage", report.staged),
        ("good", report.confirmed),
        ("bad", report.failed),
        ("back", report.taken_back),
    ):
        if moments:
            yield f'<path class="curve c-{tone}" d="{_path(moments, total, scale, top, floor)}"/>'


def _path(moments: Sequence[datetime], total: int, scale: _Scale, top: int, floor: int) -> str:
    """Return a step curve of how many there were so far."""
    every = max(1, len(moments) // _POINTS)
    parts = [f"M{scale.x(moments[0]):.1f},{floor}"]
    for count, moment in enumerate(moments, start=1):
        if count % every == 0 or count == len(moments):
            y = floor - (floor - top) * min(1.0, count / total)
            parts.append(f"H{scale.x(moment):.1f}V{y:.1f}")
    return "".join([*parts, f"H{scale.x(scale.end):.1f}"])


def legend_of(report: Report) -> list[tuple[str, str]]:
    """Return the tones in use with what they mean."""
    told = [("stage", "stages; devices hold it")] if report.staged else []
    told += [("open", "switches" if report.staged else "wave open"), ("soaking", "soak")]
    told += [("good", "passed; devices confirmed")]
    told += (
        [("bad", "failed; devices failed")] if report.failed or any(w.state == "failed" for w in report.waves) else []
    )
    return told + ([("back", "going back; devices taken back")] if report.back else [])
