"""The timeline of a rollout as a file of its own: for a page, a pull request or a wiki. Light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fwctl.render.page_style import COLOURS, DRAWING
from fwctl.render.timeline import WIDTH, drawing, legend_of
from fwctl.render.words import visible

if TYPE_CHECKING:
    from fwctl.cli.reporting import Report

_HEAD, _FOOT, _PAD = 44, 30, 20
_TONES = {"stage": "stage", "open": "open", "soaking": "soak", "good": "passed", "bad": "failed", "back": "back"}


def picture(report: Report) -> str:
    """Return the drawing with its title and legend as one SVG file without script or resource from elsewhere."""
    status, plan = report.status, report.status.prepared.plan
    parts, height = drawing(report)
    title = f"{plan.key}: {plan.release.model} {plan.release.version}, {plan.spec.strategy.type}: {status.state}"
    whole = _HEAD + height + _FOOT
    told = escape(visible(title), quote=True)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-_PAD} 0 {WIDTH + 2 * _PAD} {whole}" role="img">',
            f"<title>{told}</title>",
            f"<style>{COLOURS}{DRAWING}</style>",
            f'<rect x="{-_PAD}" width="{WIDTH + 2 * _PAD}" height="{whole}" rx="12" fill="var(--card)"/>',
            f'<text class="name" x="0" y="28">{told}</text>',
            f'<g transform="translate(0 {_HEAD})">{"".join(parts)}</g>',
            f'<g transform="translate(0 {_HEAD + height})">{_legend(report)}</g>',
            "</svg>",
            "",
        ]
    )


def _legend(report: Report) -> str:
    x, parts = 0, []
    for kind, words in legend_of(report):
        parts.append(f'<rect class="{_TONES[kind]}" x="{x}" y="4" width="12" height="12" rx="3"/>')
        parts.append(f'<text x="{x + 18}" y="14">{words}</text>')
        x += 18 + 7 * len(words) + 18
    return "".join(parts)
