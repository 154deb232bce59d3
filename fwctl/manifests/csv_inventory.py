"""An inventory as CSV: a header of known columns, then a device per line. All values are text, empty ones not given."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Final

from fwctl.manifests.csv_lines import cells
from fwctl.manifests.diagnostic import Diagnostic, Loc, Related, quoted
from fwctl.manifests.fields import did_you_mean
from fwctl.manifests.models.selector import BUILT_IN_KEYS
from fwctl.manifests.rows import Draft, finish, lines_of, numbered
from fwctl.manifests.scalars import LABEL_KEY_PATTERN, WORDS
from fwctl.manifests.sources import Source
from fwctl.manifests.strict_yaml import LARGE, Limits, YamlFinding
from fwctl.manifests.table import InventoryTable, Profile

_NEEDED: Final = ("id", "model", "hardware", "env")
_COLUMNS: Final = (*_NEEDED, "region", "site", "timeZone", "address")
_LABEL: Final = "labels."
_LABEL_KEY: Final = re.compile(LABEL_KEY_PATTERN[1:-1])
_SEPARATOR: Final = re.compile(r"[;\t|]")
_FILL: Final = "Fill in {} on this line: an inventory in CSV has no defaults."


def read_csv(
    source: Source, limit: int, limits: Limits = LARGE
) -> tuple[InventoryTable | None, list[Diagnostic], tuple[YamlFinding, ...]]:
    """Return the table of a file, or its findings, at most about `limit`; those of its bytes apart."""
    lines, trouble = lines_of(source.data, limits)
    if not trouble and source.data.count(b",") + len(lines) > limits.nodes:
        trouble = (YamlFinding("E_YAML_LIMIT", f"more than {limits.nodes} values", 0, 0, 0),)
    if trouble:
        return None, [], trouble
    header, found = _header(lines, source)
    if found:
        return None, found[:limit], ()
    rows, broken = _rows(lines, len(header), source, limit)
    draft = _draft(header, rows, set(broken))
    table, more = finish(draft, _entry(header, rows), source, _FILL, max(limit - len(broken), 0))
    return table, [*broken.values(), *more], ()


def _header(lines: Sequence[str], source: Source) -> tuple[list[str], list[Diagnostic]]:
    try:
        header = cells(lines[0]) if lines else []
    except csv.Error as error:
        return [], [_not_csv(source, ("header",), str(error))]
    if not any(header):
        remedy = f"Begin with `{','.join(_NEEDED)}`, then write a device per line; or remove the file."
        return [], [_at(source, ("header",), "the file has no header", remedy)]
    found = [one for column, name in enumerate(header) if (one := _column(header, column, name, source)) is not None]
    if any(_SEPARATOR.search(name) for name in header):
        return header, found
    if lacks := [name for name in _NEEDED if name not in header]:
        what = ", ".join(map(quoted, lacks))
        found.append(_at(source, ("header",), f"the header lacks {what}", f"Add {what} to the first line."))
    return header, found


def _column(header: list[str], column: int, name: str, source: Source) -> Diagnostic | None:
    loc: Loc = ("header", column)
    if (first := header.index(name)) != column:
        related = (Related(source.place(("header", first)), "it stands here first"),)
        message = f"the column {quoted(name)} stands here again"
        return source.diagnostic(source.place(loc), code="E_REPEATED", message=message, loc=loc, related=related)
    if name in _COLUMNS:
        return None
    if not name.startswith(_LABEL):
        return _at(source, loc, f"unknown column {quoted(name)}", _which_column(name))
    key = name.removeprefix(_LABEL)
    if key in BUILT_IN_KEYS:
        remedy = f"Call the column `{key}`."
        return _at(source, loc, f"{quoted(key)} is a built-in key and cannot be a label", remedy)
    if not _LABEL_KEY.fullmatch(key):
        what, example = WORDS[LABEL_KEY_PATTERN]
        return _at(source, loc, f"{quoted(name)}: {quoted(key)} is not {what}", f"Write it like `{_LABEL}{example}`.")
    return None


def _which_column(name: str) -> str:
    if _SEPARATOR.search(name):
        return "Separate the columns by commas."
    if name in ("labels", "label"):
        return "Write a column per label, such as `labels.ring`."
    known = f"Known columns: {', '.join(_COLUMNS)}, and `labels.NAME` for each label."
    return did_you_mean(name, _COLUMNS) or known


def _rows(
    lines: Sequence[str], width: int, source: Source, limit: int
) -> tuple[list[list[str]], dict[int, Diagnostic]]:
    """Return the values of all lines after the header, and the findings of lines that are not as wide as it."""
    rows: list[list[str]] = []
    broken: dict[int, Diagnostic] = {}
    for row, line in enumerate(lines[1:]):
        try:
            values = line.split(",") if '"' not in line else cells(line)
            trouble = _width(len(values), width, line) if len(values) != width else ""
        except csv.Error as error:
            values, trouble = [], str(error)
        if trouble:
            broken[row] = _not_csv(source, ("devices", row), trouble)
            values = [""] * width
        rows.append(values)
        if len(broken) >= limit:
            break
    return rows, broken


def _width(values: int, columns: int, line: str) -> str:
    if not line.strip():
        return "the line is empty"
    return f"the line has {values} value{'s' * (values != 1)}, but the header has {columns} columns"


def _draft(header: list[str], rows: list[list[str]], broken: set[int]) -> Draft:
    columns = dict(zip(header, zip(*rows, strict=True) if rows else repeat(()), strict=False))
    ids, addresses = columns.pop("id"), columns.pop("address", ())
    known: dict[tuple[str, ...], int] = {}
    numbers = numbered(zip(*columns.values(), strict=True), known)
    names = list(columns)
    return Draft(
        ids=list(ids),
        numbers=numbers,
        profiles=[_profile(names, raw) for raw in known],
        addresses={row: address for row, address in enumerate(addresses) if address},
        broken=broken,
    )


def _profile(names: list[str], values: tuple[str, ...]) -> Profile:
    said = dict(zip(names, values, strict=True))
    return Profile(
        said["model"],
        said["hardware"],
        said["env"],
        said.get("region") or None,
        said.get("site") or None,
        said.get("timeZone") or None,
        tuple(sorted((name.removeprefix(_LABEL), text) for name, text in said.items() if text and name[:7] == _LABEL)),
    )


def _entry(header: list[str], rows: list[list[str]]) -> Callable[[int], dict[str, Any]]:
    def entry(row: int) -> dict[str, Any]:
        said = {name: text for name, text in zip(header, rows[row], strict=True) if text}
        labels = {name.removeprefix(_LABEL): text for name, text in said.items() if name.startswith(_LABEL)}
        return {**{name: text for name, text in said.items() if not name.startswith(_LABEL)}, "labels": labels}

    return entry


def _at(source: Source, loc: Loc, message: str, remedy: str) -> Diagnostic:
    return source.diagnostic(source.place(loc), code="E_SCHEMA", message=message, remedy=remedy, loc=loc)


def _not_csv(source: Source, loc: Loc, what: str) -> Diagnostic:
    remedy = ""
    if "end of data" in what:
        what, remedy = "a quoted value does not end on this line", "Close the quotes: no value holds a line break."
    elif "expected after" in what:
        what, remedy = "a quoted value goes on after its closing quote", 'Write a quote inside quotes as `""`.'
    return source.diagnostic(source.place(loc), code="E_CSV", message=what, remedy=remedy, loc=loc)
