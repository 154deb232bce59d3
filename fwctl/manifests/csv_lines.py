"""One line of CSV (RFC 4180): its values and where they stand. No value of an inventory holds a line break."""

from __future__ import annotations

import csv
import re
from typing import Final

from fwctl.manifests.diagnostic import Loc
from fwctl.manifests.positions import Span

_CELL: Final = re.compile(r'"(?:[^"]|"")*"[^,]*|[^,]*')


def cells(line: str) -> list[str]:
    """Return the values of a line.

    Raises:
        csv.Error: when a quoted value does not end on the line, or goes on after its end.
    """
    return next(csv.reader((line,), strict=True), []) if '"' in line else line.split(",")


def spans(line: str) -> list[tuple[int, int]]:
    """Return where each value of a line begins and ends, its quotes included; offsets from 0."""
    found: list[tuple[int, int]] = []
    start = 0
    while (cell := _CELL.match(line, start)) is not None:
        found.append(cell.span())
        if cell.end() >= len(line):
            break
        start = cell.end() + 1
    return found


class CsvPositions:
    """Where the values of a CSV file stand: `("devices", 3, "site")` is in line 5, after the header."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        try:
            self._columns = {name: place for place, name in reversed(list(enumerate(cells(lines[0]))))}
        except (csv.Error, IndexError):
            self._columns = {}

    def value(self, loc: Loc) -> Span:
        """Return where a value stands; the line where it has none, and the header for what is in no line."""
        match loc:
            case ("devices", int(row), *rest):
                return self._span(row + 1, self._columns.get(".".join(map(str, rest))))
            case ("header", int(column)):
                return self._span(0, column)
            case _:
                return self._span(0, None)

    def key(self, loc: Loc) -> Span:
        """Return where a value stands: it has no key of its own."""
        return self.value(loc)

    def _span(self, row: int, column: int | None) -> Span:
        line = self._lines[row] if row < len(self._lines) else ""
        where = spans(line)
        start, end = where[column] if column is not None and column < len(where) else (0, len(line))
        return Span(row + 1, start + 1, max(end, start + 1) + 1 if end <= start else end + 1)
