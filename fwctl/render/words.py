"""What all renderers share: one JSON head, counted words, aligned columns, ages. Never a cut, never markup."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from fwctl_agent.protocol.fields import format_time

SCHEMA_VERSION: Final = 1
ICONS: Final = {
    "reached": "✔",
    "in-flight": "▶",
    "retry": "↻",
    "pending": "·",
    "held": "‖",
    "straggler": "?",
    "failed": "✖",
    "back": "↩",
    "untouched": "·",
    "ok": "✔",
    "warn": "!",
    "fail": "✖",
}
"""always shown with the word itself"""
WAVE_ICONS: Final = {"waiting": "·", "open": "▶", "soaking": "◔", "passed": "✔", "failed": "✖"}
STATE_ICONS: Final = {
    "not-approved": "‖",
    "waiting": "·",
    "progressing": "▶",
    "complete": "✔",
    "paused": "‖",
    "held": "‖",
    "stopped": "✖",
    "aborted": "✖",
    "rolling-back": "↩",
    "rolled-back": "↩",
}
STANDINGS: Final = (
    *("reached", "in-flight", "retry", "pending", "held", "straggler", "failed"),
    *("back", "untouched"),
)
"""the order in which counts of devices are told"""


def document(fields: Mapping[str, Any]) -> str:
    """Return a JSON document of ours."""
    return json.dumps({"schemaVersion": SCHEMA_VERSION, **fields}, indent=2, ensure_ascii=False)


def stamp(moment: datetime | None) -> str | None:
    """Return a time as JSON has it, None for none."""
    return format_time(moment) if moment else None


def counted(number: int, noun: str) -> str:
    """Return `1 device`, `2 devices`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> list[str]:
    """Return rows as aligned lines; the last column is neither padded nor cut."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    return [
        indent + "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False)) + row[-1]
        for row in (tuple(row) for row in rows)
    ]


def labelled(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return `label value` lines; a digest beside an eight-column label fills 79 columns."""
    return [f"{label:<7} {value}" for label, value in pairs]


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in one unit."""
    if moment is None:
        return "never"
    return f"{span(now - moment)} ago" if now >= moment else f"in {span(moment - now)}"


def span(length: timedelta) -> str:
    """Return a length of time in its largest unit, rounded down."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def exactly(seconds: int) -> str:
    """Return a duration as one writes it in a manifest: `15m`, `90s`, `0s`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def visible(text: str) -> str:
    """Return text from a device or a person as one line that cannot steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def fold(text: str, width: int) -> str:
    """Return text for a terminal: long lines go on below their last column. Words, so ids and digests, stay whole.

    Documents for programs (JSON, HTML comments in markdown) stay as they are.
    """
    if text.startswith(("{", "<!--")):
        return text
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    starts = [found.end() for found in re.finditer(r"^ *(?:\S+ +)?|  +", line) if found.end() <= width // 2]
    hang = " " * max(starts, default=2)
    return textwrap.fill(
        line,
        width,
        subsequent_indent=hang,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


def some(items: Sequence[str], limit: int = 20) -> list[str]:
    """Return the first items, and how many more there are."""
    shown = list(items[:limit])
    return [*shown, f"... and {len(items) - limit} more"] if len(items) > limit else shown
