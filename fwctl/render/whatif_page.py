"""A simulation as one page: no script, no resource from elsewhere, light and dark, on paper too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fwctl.render.bands import chart
from fwctl.render.page_style import STYLE
from fwctl.render.report_html import safe
from fwctl.render.whatif import OUTCOME_WORDS, assumed, lasting, size
from fwctl.render.words import counted, stamp
from fwctl.whatif.forecast import Spread, radius, shares, sites, trips

if TYPE_CHECKING:
    from fwctl.whatif.results import Forecast

_TONES = {"complete": "good", "rolled-back": "back", "stopped": "bad", "held": "warn"}
_SITES = 50
_BANDS = """
svg .b-good{fill:var(--good)}svg .b-bad{fill:var(--bad)}svg .b-back{fill:var(--back)}svg .b-warn{fill:var(--warn)}
svg .b-open{fill:var(--open)}svg .b-plain{fill:var(--plain);opacity:.25}svg .s-pending{opacity:.45}
svg .s-staged,svg .s-retry{opacity:.6}.legend .s-held,.legend .s-untouched{opacity:.25}.legend .s-pending{opacity:.45}
.legend .s-staged,.legend .s-retry{opacity:.6}
"""


def page(made: Forecast) -> str:
    """Return the page."""
    typical = made.typical
    title = f"{made.rollout}: what if"
    sections = [
        _head(made),
        _outcomes(made),
        _card(
            f"Devices by state in a typical run: {OUTCOME_WORDS[typical.outcome]} after {lasting(typical.seconds)}",
            f"{chart(typical, made.devices)}<p class=more>{safe(typical.reason)}</p>",
        ),
        _card("How long, how far", _spreads(made)),
        _card("What stops it", _trips(made)) if trips(made) else "",
        _card("Bytes by site", _sites(made)) if sites(made) else "",
        _card("Taken for granted", f"<ul>{''.join(f'<li>{safe(line)}</li>' for line in assumed(made))}</ul>"),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{safe(title)}</title>",
            f"<style>{STYLE}{_BANDS}</style>",
            f"<body><main>{''.join(sections)}</main>",
            f"<footer>Simulated by fwctl from {stamp(made.start)}, seed {made.seed}. No device was contacted.</footer>",
            "</body></html>",
        ]
    )


def _head(made: Forecast) -> str:
    return (
        f'<header><p class="kicker">What if, rollout {safe(made.rollout)}</p>'
        f"<h1>{safe(made.model)} <b>{safe(made.version)}</b></h1>"
        f'<p class="state">{safe(made.strategy)}, {counted(made.devices, "device")} in {counted(made.waves, "wave")}, '
        f"{counted(len(made.runs), 'run')}</p></header>"
    )


def _outcomes(made: Forecast) -> str:
    found = [(outcome, number) for outcome, number in shares(made).items() if number]
    tiles = "".join(
        f'<div class="tile {_TONES[outcome]}"><b>{100 * number / len(made.runs):.0f} %</b>'
        f"<span>{safe(OUTCOME_WORDS[outcome])}</span></div>"
        for outcome, number in found
    )
    strip = "".join(
        f'<i class="{_TONES[outcome]}" style="width:{100 * number / len(made.runs):.3f}%"></i>'
        for outcome, number in found
    )
    return f'<section class="tiles">{tiles}</section><div class="strip" aria-hidden="true">{strip}</div>'


def _spreads(made: Forecast) -> str:
    rows = [
        (f"Time until {OUTCOME_WORDS[outcome].partition(',')[0]}", *_each(Spread.of([run.seconds for run in runs])))
        for outcome in shares(made)
        if (runs := made.having(outcome))
    ]
    hit = radius(made)
    if hit.most is not None:
        numbers = [f"{value:,.0f}" if value is not None else "-" for value in (hit.p50, hit.p95, hit.most)]
        rows.append(("Devices it ran on when it was stopped", numbers[0], numbers[1], numbers[2]))
    return _table(("", "p50", "p95", "max"), rows)


def _each(spread: Spread) -> tuple[str, str, str]:
    return lasting(spread.p50), lasting(spread.p95), lasting(spread.most)


def _trips(made: Forecast) -> str:
    total = len(made.runs)
    rows = [
        (one.wave, one.rule, f"{100 * one.runs / total:.0f} %", lasting(one.after.p50), lasting(one.after.p95))
        for one in trips(made)
    ]
    return _table(("Wave", "Gate", "Runs", "After (p50)", "After (p95)"), rows)


def _sites(made: Forecast) -> str:
    found = sites(made)
    rows = [
        (one.name or "(no site)", size(one.total.p50), size(one.peak.p50), size(one.peak.most))
        for one in found[:_SITES]
    ]
    more = f"<p class=more>... and {counted(len(found) - _SITES, 'more site')}.</p>" if len(found) > _SITES else ""
    return _table(("Site", "In all", "Peak a minute (p50)", "Peak a minute (max)"), rows) + more


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(
        f"<tr><th>{safe(row[0])}</th>{''.join(f'<td class=n>{safe(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    top = "".join(f"<th>{safe(cell)}</th>" for cell in head)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _card(title: str, body: str) -> str:
    return f'<section class="card"><h2>{safe(title)}</h2>{body}</section>'
