"""Devices by state over time as SVG: bands on top of each other, and the waves as bars above them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from fwctl.render.words import STANDINGS
from fwctl.whatif.results import Run, Sample, WaveSpan

_WIDTH, _LEFT, _RIGHT = 960, 110, 24
_ROW, _TOP, _HEIGHT = 26, 8, 220
_MOST_ROWS = 24
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800, 2592000)
TONES = {
    "reached": "good",
    "staged": "open",
    "in-flight": "open",
    "retry": "warn",
    "pending": "plain",
    "held": "plain",
    "straggler": "warn",
    "failed": "bad",
    "back": "back",
    "untouched": "plain",
}
_ORDER = ("reached", "back", "staged", "in-flight", "failed", "retry", "straggler", "pending", "untouched", "held")
"""from the floor up"""


def chart(run: Run, devices: int) -> str:
    """Return the drawing of one run with its legend."""
    end = max(run.seconds, 1.0)
    shown = run.waves[:_MOST_ROWS]
    top = _TOP + _ROW * len(shown) + 12
    floor = top + _HEIGHT
    states = _states(run.samples)
    parts = [
        *_ticks(end, floor),
        *(_wave(wave, end, _TOP + _ROW * at) for at, wave in enumerate(shown)),
        *_bands(run.samples, states, devices, end, top, floor),
    ]
    label = f"Devices by state over time in run {run.number}"
    drawing = (
        f'<svg viewBox="0 0 {_WIDTH} {floor + 28}" role="img" aria-label="{escape(label, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )
    return f'<div class="scroll">{drawing}</div>{_legend(states)}'


def _states(samples: Sequence[Sample]) -> list[str]:
    found = {state for sample in samples for state, number in sample.counts.items() if number}
    return [*(state for state in _ORDER if state in found), *sorted(found.difference(_ORDER))]


def _x(after: float, end: float) -> float:
    return _LEFT + max(0.0, min(1.0, after / end)) * (_WIDTH - _LEFT - _RIGHT)


def _ticks(end: float, floor: int) -> Iterable[str]:
    step = next((size for size in _STEPS if end / size <= 8), _STEPS[-1])
    for number in range(int(end // step) + 1):
        x = _x(number * step, end)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{floor}"/>'
        yield f'<text x="{x:.1f}" y="{floor + 20}" text-anchor="middle">{_told(number * step)}</text>'


def _told(seconds: int) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s" if seconds < 60 or seconds % 60 else f"{seconds // 60} min"


def _wave(wave: WaveSpan, end: float, y: int) -> str:
    middle = y + _ROW / 2
    parts = [f'<text class="name" x="0" y="{middle + 4:.0f}">{escape(wave.name, quote=True)}</text>']
    if wave.opened is not None:
        over = end if wave.judged is None else wave.judged
        parts.append(_bar("open", wave.opened, over if wave.soaked is None else wave.soaked, end, y))
        if wave.soaked is not None:
            parts.append(_bar("soak", wave.soaked, over, end, y))
        if wave.judged is not None:
            kind = escape(wave.state, quote=True)
            parts.append(f'<circle class="mark {kind}" cx="{_x(wave.judged, end):.1f}" cy="{middle:.1f}" r="6"/>')
    return "".join(parts)


def _bar(kind: str, begin: float, over: float, end: float, y: int) -> str:
    left = _x(begin, end)
    width = max(2.0, _x(over, end) - left)
    return f'<rect class="{kind}" x="{left:.1f}" y="{y + 7}" width="{width:.1f}" height="{_ROW - 14}" rx="3"/>'


def _bands(
    samples: Sequence[Sample], states: Sequence[str], devices: int, end: float, top: int, floor: int
) -> Iterable[str]:
    for number in dict.fromkeys((0, devices // 2, devices)):
        y = floor - (floor - top) * number / max(1, devices)
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{number:,}</text>'
    under = [0] * len(samples)
    for state in states:
        over = [low + sample.counts.get(state, 0) for low, sample in zip(under, samples, strict=True)]
        path = _between(samples, under, over, devices, end, top, floor)
        tone = TONES.get(state, "plain")
        yield f'<path class="b-{tone} s-{escape(state, quote=True)}" d="{path}"><title>{escape(state)}</title></path>'
        under = over


def _between(
    samples: Sequence[Sample],
    under: Sequence[int],
    over: Sequence[int],
    devices: int,
    end: float,
    top: int,
    floor: int,
) -> str:
    """Return the outline of a band: steps to the right along its top, and back along its bottom."""

    def y(number: int) -> str:
        return f"{floor - (floor - top) * number / max(1, devices):.1f}"

    xs = [*(f"{_x(sample.after, end):.1f}" for sample in samples), f"{_x(end, end):.1f}"]
    there = "".join(f"V{y(number)}H{xs[at + 1]}" for at, number in enumerate(over))
    back = "".join(f"V{y(under[at])}H{xs[at]}" for at in range(len(samples) - 1, -1, -1))
    return f"M{xs[0]},{y(over[0])}{there}{back}Z"


def _legend(states: Sequence[str]) -> str:
    known = [state for state in (*STANDINGS, *states) if state in states]
    told = "".join(
        f'<span><i class="{TONES.get(state, "plain")} s-{state}"></i>{escape(state)}</span>'
        for state in dict.fromkeys(known)
    )
    return f'<div class="legend">{told}</div>'
