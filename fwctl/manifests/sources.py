"""The files as they were read, and findings placed in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Protocol

from fwctl.manifests.codes import CODES
from fwctl.manifests.csv_lines import CsvPositions
from fwctl.manifests.diagnostic import UNSAFE, Diagnostic, Loc, Place, Related, dotted, excerpt
from fwctl.manifests.json_lines import JsonPositions
from fwctl.manifests.positions import Positions, Span


class Located(Protocol):
    """Where the values of a file stand."""

    def value(self, loc: Loc) -> Span:
        """Return where the value at `loc` stands, or the nearest thing around it that does."""

    def key(self, loc: Loc) -> Span:
        """Return where the key of the value at `loc` stands, or the nearest thing that does."""


class Source:
    """One file: its path in the repository and its bytes, or how to get them when a finding must be shown."""

    def __init__(self, path: str, data: bytes | Callable[[], bytes]) -> None:
        self.path = path
        self._data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and (self.path, self.data) == (other.path, other.data)

    def __hash__(self) -> int:
        return hash(self.path)

    @cached_property
    def data(self) -> bytes:
        """The file's bytes; got by the first use."""
        return self._data if isinstance(self._data, bytes) else self._data()

    @cached_property
    def lines(self) -> list[str]:
        """The file's lines as text; what is not UTF-8 shows as a replacement character."""
        return self.data.decode("utf-8", "replace").split("\n")

    @cached_property
    def positions(self) -> Located:
        """Where each value stands. The first use reads the file once more."""
        if self.path.endswith(".csv"):
            return CsvPositions(self.lines)
        if self.path.endswith(".jsonl"):
            return JsonPositions(self.lines)
        if UNSAFE.search(self.data.decode("utf-8", "replace")):
            return Positions(b"")
        return Positions(self.data)

    def place(self, loc: Loc, *, key: bool = False) -> Place:
        """Return the place of the value at `loc` (or of its key), or of the nearest thing around it."""
        return self.at(self.positions.key(loc) if key else self.positions.value(loc))

    def text(self, loc: Loc) -> str:
        """Return the value at `loc` as it is written, as far as it stands on one line."""
        line, column, end_column = self.positions.value(loc)
        return self.lines[line - 1][column - 1 : end_column - 1] if line <= len(self.lines) else ""

    def at(self, span: Span) -> Place:
        """Return a span of this file as a place."""
        return Place(self.path, *span)

    def diagnostic(
        self,
        place: Place,
        *,
        code: str,
        message: str,
        remedy: str = "",
        loc: Loc = (),
        related: tuple[Related, ...] = (),
    ) -> Diagnostic:
        """Return a finding at a place of this file; without a remedy, with the code's own."""
        return Diagnostic(
            code=code,
            message=message,
            place=place,
            remedy=remedy or CODES[code].remedy,
            field=dotted(loc),
            excerpt=excerpt(self.lines, place) if place.line else (),
            related=related,
        )


class Sources:
    """All files that were read."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = dict(sources)

    def __contains__(self, path: str) -> bool:
        return path in self._sources

    def __getitem__(self, path: str) -> Source:
        return self._sources[path]

    def place(self, path: str, loc: Loc = (), *, key: bool = False) -> Place:
        """Return the place of a value; the whole file where it was not read."""
        source = self._sources.get(path)
        return source.place(loc, key=key) if source else Place(path)

    def diagnostic(
        self,
        path: str,
        loc: Loc = (),
        *,
        code: str,
        message: str,
        remedy: str = "",
        key: bool = False,
        related: tuple[Related, ...] = (),
    ) -> Diagnostic:
        """Return a finding at the value (or key) `loc` of the file `path`.

        `loc` holds field names as in YAML and list indexes: `("spec", "targets", "groups", 0)`. Where the value
        is not there the finding stands at the nearest thing around it.
        """
        source = self._sources.get(path)
        if source is None:
            return Diagnostic(code, message, Place(path), remedy or CODES[code].remedy, related=related)
        return source.diagnostic(
            source.place(loc, key=key), code=code, message=message, remedy=remedy, loc=loc, related=related
        )
