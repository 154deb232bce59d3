"""Findings about manifests to text: for people, for a terminal's line parser, for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from fwctl.manifests import Diagnostic, Excerpt
from fwctl.manifests.diagnostic import safe

Format = Literal["full", "concise", "json"]

_RED, _YELLOW, _BLUE, _BOLD, _OFF = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"
_COLOURS: Final = {"error": _RED, "warning": _YELLOW, "info": _BLUE}


def full(diagnostics: Sequence[Diagnostic], *, color: bool = False) -> str:
    """Return each finding with its place, an excerpt with carets and help, and a closing count."""
    blocks = [_block(diagnostic, color) for diagnostic in diagnostics]
    return "\n\n".join([*blocks, count(diagnostics)]) + "\n"


def concise(diagnostics: Sequence[Diagnostic]) -> str:
    """Return one line per finding: `file:line:column: CODE message`."""
    return "".join(f"{d.place}: {d.code} {safe(d.message)}\n" for d in diagnostics)


def as_json(diagnostics: Sequence[Diagnostic]) -> str:
    """Return all findings and the counts as one JSON document."""
    document = {
        "schemaVersion": 1,
        "diagnostics": [d.to_json() for d in diagnostics],
        "counts": {s: sum(d.severity == s for d in diagnostics) for s in _COLOURS},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


FORMATS: Final[Mapping[Format, Callable[[Sequence[Diagnostic]], str]]] = MappingProxyType(
    {"full": full, "concise": concise, "json": as_json}
)


def count(diagnostics: Sequence[Diagnostic]) -> str:
    """Return the closing line: how many findings of which severity in how many files."""
    if not diagnostics:
        return "No findings."
    words = []
    for severity in _COLOURS:
        if number := sum(d.severity == severity for d in diagnostics):
            plural = "s" if number > 1 and severity != "info" else ""
            words.append(f"{number} {severity}{plural}")
    files = len({d.path for d in diagnostics if d.path})
    where = f" in {files} file{'s' if files > 1 else ''}" if files else ""
    return f"Found {', '.join(words)}{where}."


def _paint(text: str, colour: str, color: bool) -> str:
    return f"{colour}{text}{_OFF}" if color else text


def _block(diagnostic: Diagnostic, color: bool) -> str:
    colour = _COLOURS[diagnostic.severity]
    head = _paint(f"{diagnostic.severity}[{diagnostic.code}]", colour, color)
    title = _paint(diagnostic.title, _BOLD, color)
    lines = [f"{head}: {title}: {safe(diagnostic.message)}"]
    gutter = " " * max((len(str(e.line)) for e in diagnostic.excerpt), default=1)
    if diagnostic.path:
        lines.append(f"{gutter}--> {diagnostic.place}")
    if diagnostic.excerpt:
        lines.append(f"{gutter} |")
        for part in diagnostic.excerpt:
            lines += _excerpt(diagnostic, part, gutter, colour, color)
        lines.append(f"{gutter} |")
    lines += [f"{gutter} = note: {safe(r.message)}: {r.place}" for r in diagnostic.related]
    lines.append(f"{gutter} = help: {safe(diagnostic.remedy)}")
    return "\n".join(lines)


def _excerpt(diagnostic: Diagnostic, part: Excerpt, gutter: str, colour: str, color: bool) -> list[str]:
    cut = "..." if part.start else ""
    shown = [f"{part.line:>{len(gutter)}} | {cut}{part.text}".rstrip()]
    if part.line == diagnostic.line:
        before = part.text[: max(0, diagnostic.column - 1 - part.start)]
        under = part.text[len(before) : max(0, diagnostic.end_column - 1 - part.start)]
        carets = _paint("^" * max(1, _width(under)), colour, color)
        shown.append(f"{gutter} | {' ' * (len(cut) + _width(before))}{carets}")
    return shown


def _width(text: str) -> int:
    """Return the columns that a terminal needs for the text."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)
