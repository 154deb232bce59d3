"""Where each value of a YAML document stands: made only when a finding needs it.

Flat arrays and one dict per collection, so that the positions of a million values stay affordable.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

from yaml import YAMLError
from yaml._yaml import CParser
from yaml.events import AliasEvent, CollectionEndEvent, MappingStartEvent, NodeEvent, ScalarEvent

from fwctl.manifests.diagnostic import Loc

_MAX_DEPTH = 64


class Span(NamedTuple):
    """A stretch of one line; columns count from 1 and `end_column` is one past the end."""

    line: int
    column: int
    end_column: int


class _Open:
    """A collection whose end has not come yet."""

    __slots__ = ("children", "key", "key_index", "mapping")

    def __init__(self, mapping: bool) -> None:
        self.mapping = mapping
        self.children: dict[str | int, int] = {}
        self.key: str | None = None
        self.key_index = -1


class Positions:
    """Positions of the values and keys of one document; values are numbered in the order they come."""

    def __init__(self, data: bytes) -> None:
        """Read the positions of all values up to the first syntax error, if there is one."""
        self._spans = array("L")
        self._key_of: dict[int, int] = {}
        self._children: dict[int, dict[str | int, int]] = {}
        parser = CParser(data)
        try:
            self._read(parser)
        except (YAMLError, ValueError):
            pass  # what was read so far is what can be located
        finally:
            parser.dispose()

    def value(self, loc: Loc) -> Span:
        """Return where the value at `loc` stands, or the nearest thing around it that does."""
        return self._span(self._walk(loc)[0])

    def key(self, loc: Loc) -> Span:
        """Return where the key of the value at `loc` stands, or the value where it has none."""
        index = self._walk(loc)[0]
        return self._span(self._key_of.get(index, index))

    def depth(self, loc: Loc) -> int:
        """Return how many parts of `loc` are there."""
        return self._walk(loc)[1]

    def _walk(self, loc: Loc) -> tuple[int, int]:
        index = 0
        for depth, part in enumerate(loc):
            child = self._children.get(index, {}).get(part)
            if child is None:
                return index, depth
            index = child
        return index, len(loc)

    def _span(self, index: int) -> Span:
        if index * 3 >= len(self._spans):
            return Span(1, 1, 2)
        return Span(*self._spans[index * 3 : index * 3 + 3])

    def _read(self, parser: CParser) -> None:
        stack: list[_Open] = []
        while (event := parser.get_event()) is not None:
            if isinstance(event, CollectionEndEvent):
                stack.pop()
            elif isinstance(event, NodeEvent):
                if self._spans and not stack:
                    return  # a second document
                index = self._add(event)
                if stack:
                    self._into(stack[-1], index, event)
                if not isinstance(event, ScalarEvent | AliasEvent):
                    if len(stack) >= _MAX_DEPTH:
                        return
                    stack.append(_Open(isinstance(event, MappingStartEvent)))
                    self._children[index] = stack[-1].children

    def _add(self, event: Any) -> int:
        start, end = event.start_mark, event.end_mark
        same_line = end.line == start.line and end.column > start.column
        self._spans.extend((start.line + 1, start.column + 1, end.column + 1 if same_line else start.column + 2))
        return len(self._spans) // 3 - 1

    def _into(self, parent: _Open, index: int, event: Any) -> None:
        if not parent.mapping:
            parent.children[len(parent.children)] = index
        elif parent.key is None:
            parent.key = event.value if isinstance(event, ScalarEvent) else ""
            parent.key_index = index
        else:
            parent.children.setdefault(parent.key, index)
            self._key_of[index] = parent.key_index
            parent.key = None
