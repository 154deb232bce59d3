"""One line of JSON Lines: its object, read strictly, and where its members stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from fwctl.manifests.diagnostic import Loc, quoted
from fwctl.manifests.positions import Span

_BLANK: Final = re.compile(r"[ \t]*")
_LENIENT: Final = json.JSONDecoder()


class Refused(ValueError):
    """The line is JSON to some readers, but says something twice or that JSON does not know."""

    def __init__(self, code: str, message: str, token: str) -> None:
        super().__init__(message)
        self.code = code
        self.token = token


class Member(NamedTuple):
    """A member of an object: its path and the offsets of its key and its value."""

    loc: Loc
    key: tuple[int, int]
    value: tuple[int, int]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise Refused("E_YAML_DUPKEY", f"the key {quoted(twice)} stands here again", twice)
    return found


def _no_constant(name: str) -> Any:
    raise Refused("E_JSON", f"{quoted(name)} is not JSON", name)


_STRICT: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
decode: Final = _STRICT.decode
"""Return what a line says. Raises ValueError (JSONDecodeError, Refused) or RecursionError when it is not JSON."""


def members(line: str) -> Iterator[Member]:
    """Yield the members of the line's object and of the objects in it, also repeated ones, as far as it is JSON."""
    try:
        yield from _members(line, _blank(line, 0), ())
    except (ValueError, IndexError, RecursionError):
        return


def _blank(line: str, at: int) -> int:
    found = _BLANK.match(line, at)
    return found.end() if found else at


def _members(line: str, at: int, loc: Loc) -> Iterator[Member]:
    if line[at] != "{":
        return
    at = _blank(line, at + 1)
    while line[at] == '"':
        name, key_end = _LENIENT.raw_decode(line, at)
        start = _blank(line, _blank(line, key_end) + 1)
        _, end = _LENIENT.raw_decode(line, start)
        inside = (*loc, name)
        yield Member(inside, (at, key_end), (start, end))
        if line[start] == "{" and len(inside) < 3:
            yield from _members(line, start, inside)
        at = _blank(line, end)
        if line[at] != ",":
            return
        at = _blank(line, at + 1)


class JsonPositions:
    """Where the values of a file of JSON Lines stand: `("devices", 3, "site")` is in line 4."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def value(self, loc: Loc) -> Span:
        """Return where a value stands, or the nearest thing around it."""
        return self._span(loc, of_key=False)

    def key(self, loc: Loc) -> Span:
        """Return where the key of a value stands, or the nearest thing around it."""
        return self._span(loc, of_key=True)

    def _span(self, loc: Loc, *, of_key: bool) -> Span:
        row = loc[1] if len(loc) > 1 else 0
        if not isinstance(row, int) or row >= len(self._lines):
            return Span(1, 1, 2)
        line, inside = self._lines[row], loc[2:]
        start, end = 0, len(line)
        for member in members(line):
            if member.loc == inside:
                start, end = member.key if of_key else member.value
                break
            if member.loc == inside[: len(member.loc)]:
                start, end = member.value
        return Span(row + 1, start + 1, max(end, start + 1) + 1)


def again(line: str, name: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the offsets of a key that stands twice in one object: the first and the second."""
    seen: dict[Loc, tuple[int, int]] = {}
    for member in members(line):
        first = seen.setdefault(member.loc, member.key)
        if first != member.key and member.loc[-1] == name:
            return first, member.key
    return None
