"""A finding about a manifest: a value, with its place, an excerpt and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from fwctl.manifests.codes import CODES

Severity = Literal["error", "warning", "info"]
Loc = tuple[str | int, ...]
_SEVERITIES: Final[dict[str, Severity]] = {"E": "error", "W": "warning", "I": "info"}

# Control, line-separating and direction-changing characters: never shown as they are, never accepted in a file.
UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
_UNSAFE_INLINE: Final = re.compile(UNSAFE.pattern[:-1] + "\t\n]")
_MAX_TEXT: Final = 200


def safe(text: str) -> str:
    """Return the text with characters that could disturb a terminal written as `\\x1b`."""

    def escaped(found: re.Match[str]) -> str:
        number = ord(found[0])
        return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"

    return _UNSAFE_INLINE.sub(escaped, text)


def quoted(value: object) -> str:
    """Return a value in backquotes, safe and shortened, for use in a message."""
    text = safe(value if isinstance(value, str) else str(value))
    return f"`{text if len(text) <= 80 else text[:77] + '...'}`"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file. Lines and columns count from 1, in characters; `end_column` is one past the end.

    Line 0 means the file as a whole.
    """

    path: str
    line: int = 0
    column: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{safe(self.path)}:{self.line}:{self.column}" if self.line else safe(self.path)


@dataclass(frozen=True, slots=True, order=True)
class Excerpt:
    """One line of the file; `start` is the number of characters cut off at its left."""

    line: int
    text: str
    start: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Related:
    """Another place that belongs to the finding."""

    place: Place
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding."""

    code: str
    message: str
    place: Place
    remedy: str
    field: str = ""
    excerpt: tuple[Excerpt, ...] = ()
    related: tuple[Related, ...] = ()

    @property
    def severity(self) -> Severity:
        """`error`, `warning` or `info`: the code's first letter."""
        return _SEVERITIES[self.code[0]]

    @property
    def title(self) -> str:
        """The code's title; the code itself where another part of fwctl stopped the work with its own error."""
        known = CODES.get(self.code)
        return known.title if known else self.code

    @property
    def path(self) -> str:
        """The file, relative to the top of the repository."""
        return self.place.path

    @property
    def line(self) -> int:
        """The line, from 1; 0 for the file as a whole."""
        return self.place.line

    @property
    def column(self) -> int:
        """The column, from 1."""
        return self.place.column

    @property
    def end_column(self) -> int:
        """The column after the last one."""
        return self.place.end_column

    def to_json(self) -> dict[str, Any]:
        """Return the finding as it stands in `--format json`."""
        return {
            "code": self.code,
            "severity": self.severity,
            "title": self.title,
            "message": self.message,
            "path": safe(self.path),
            "line": self.line,
            "column": self.column,
            "endColumn": self.end_column,
            "field": self.field,
            "excerpt": [{"line": e.line, "text": e.text} for e in self.excerpt],
            "remedy": self.remedy,
            "related": [
                {"path": safe(r.place.path), "line": r.place.line, "column": r.place.column, "message": r.message}
                for r in self.related
            ],
        }


def ordered(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the findings by file and line, each once."""
    return tuple(
        sorted(
            dict.fromkeys(diagnostics),
            key=lambda d: (d.path, d.line, d.column, d.code, d.message, d.related),
        )
    )


def excerpt(lines: list[str], place: Place) -> tuple[Excerpt, ...]:
    """Cut the line of a place out of the file's lines, at most 200 characters around the place."""
    if not 1 <= place.line <= len(lines):
        return ()
    text = _UNSAFE_INLINE.sub(lambda found: " " if found[0] == "\t" else "\ufffd", lines[place.line - 1])
    start = max(0, min(place.column - 40, len(text) - _MAX_TEXT)) if len(text) > _MAX_TEXT else 0
    return (Excerpt(place.line, text[start : start + _MAX_TEXT], start),)


def dotted(loc: Iterable[str | int]) -> str:
    """Return a field's path as people write it: `spec.devices[3].id`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{safe(part)}" if text else safe(part)
    return text
