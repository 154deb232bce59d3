"""Line charts as SVG, the same bytes for the same numbers: nothing but text, so no plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 34, 46
_COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#475569", "#be185d")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """A range of numbers on so many pixels, from `low` to `high`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        low, high, here = (log10(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return round(self.start + (here - low) / (high - low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        if self.logarithmic:
            return [10.0**power for power in range(round(log10(self.low)), round(log10(self.high)) + 1)]
        step = nice(self.high / 5)
        return [step * number for number in range(floor(self.high / step) + 1)]


def chart(title: str, across: str, lines: Mapping[str, Points], *, logarithmic: bool = False) -> str:
    """Return an SVG with a line per name; the vertical axis begins at 0."""
    xs = [x for points in lines.values() for x, _ in points] or [1]
    ys = [y for points in lines.values() for _, y in points] or [1]
    low, high = 0.0, max(max(xs), 1e-9)
    if logarithmic:
        low, high = 10.0 ** floor(log10(min(xs))), 10.0 ** max(ceil(log10(max(xs))), floor(log10(min(xs))) + 1)
    x = Axis(low, high, _LEFT, _WIDTH - _RIGHT, logarithmic)
    y = Axis(0, nice(max(max(ys), 1e-9) * 1.05), _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#334155">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="18" font-size="14" font-weight="bold">{title}</text>',
        *_grid(x, y),
        f'<text x="{(x.start + x.end) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{across}</text>',
    ]
    for number, (name, points) in enumerate(lines.items()):
        parts += _line(name, [(x.at(a), y.at(b)) for a, b in points], number)
    return "\n".join([*parts, "</svg>", ""])


def nice(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(value))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value * 0.999999)


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for tick in y.ticks:
        at = y.at(tick)
        parts.append(f'<path d="M{x.start} {at}H{x.end}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{x.start - 8}" y="{at + 4}" text-anchor="end">{tick:,g}</text>')
    for tick in x.ticks:
        at = x.at(tick)
        parts.append(f'<path d="M{at} {y.start}V{y.start + 5}" stroke="#94a3b8"/>')
        parts.append(f'<text x="{at}" y="{y.start + 18}" text-anchor="middle">{tick:,.0f}</text>')
    return parts


def _line(name: str, points: Points, number: int) -> list[str]:
    colour, height = _COLOURS[number % len(_COLOURS)], _TOP + 14 + 18 * number
    path = " ".join(f"{a},{b}" for a, b in points)
    marks = [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in points] if len(points) <= 12 else []
    legend = f'<text x="{_WIDTH - _RIGHT + 32}" y="{height}">{name}</text>'
    key = f'<path d="M{_WIDTH - _RIGHT + 12} {height - 4}h14" stroke="{colour}" stroke-width="3"/>'
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *marks, key, legend]
