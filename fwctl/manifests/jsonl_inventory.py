"""An inventory as JSON Lines: an object per line, with the fields that an entry in YAML has. All values are text."""

from __future__ import annotations

from array import array
from json import JSONDecodeError
from typing import Any, Final

from fwctl.manifests.diagnostic import Diagnostic, Related
from fwctl.manifests.json_lines import Refused, again, decode
from fwctl.manifests.positions import Span
from fwctl.manifests.rows import Draft, finish, lines_of
from fwctl.manifests.sources import Source
from fwctl.manifests.strict_yaml import LARGE, Limits, YamlFinding
from fwctl.manifests.table import InventoryTable, Profile

_KNOWN: Final = frozenset({"id", "model", "hardware", "env", "region", "site", "timeZone", "address", "labels"})
_TEXT: Final = frozenset({str})
_ADD: Final = "Add {} to this line: an inventory in JSON Lines has no defaults."


def read_jsonl(
    source: Source, limit: int, limits: Limits = LARGE
) -> tuple[InventoryTable | None, list[Diagnostic], tuple[YamlFinding, ...]]:
    """Return the table of a file, or its findings, at most about `limit`; those of its bytes apart."""
    lines, trouble = lines_of(source.data, limits)
    if trouble:
        return None, [], trouble
    if not lines:
        remedy = "Write a device per line, or remove the file."
        place = source.at(Span(1, 1, 2))
        return None, [source.diagnostic(place, code="E_SCHEMA", message="the file holds no device", remedy=remedy)], ()
    draft, broken = _draft(lines, source, limit)
    table, more = finish(draft, lambda row: _entry(lines[row]), source, _ADD, max(limit - len(broken), 0))
    return table, [*broken, *more], ()


def _entry(line: str) -> dict[str, Any]:
    entry: dict[str, Any] = decode(line)
    return entry


def _draft(lines: list[str], source: Source, limit: int) -> tuple[Draft, list[Diagnostic]]:
    found: dict[int, Diagnostic] = {}
    ids: list[str] = []
    known: dict[tuple[Any, ...], int] = {}
    numbers = array("I")
    addresses: dict[int, str] = {}
    odd: set[int] = set()
    for row, line in enumerate(lines):
        try:
            said = decode(line)
        except (ValueError, RecursionError) as error:
            found[row] = _refused(row, line, error, source)
            said = None
        else:
            if type(said) is not dict:
                found[row] = _no_object(row, source)
        if row in found or not _plain(said):
            odd.add(row)
            said = {}
        ids.append(said.get("id", ""))
        if "address" in said:
            addresses[row] = said["address"]
        numbers.append(known.setdefault(_raw(said), len(known)))
        if len(found) >= limit:
            break
    return Draft(ids, numbers, [Profile(*raw) for raw in known], addresses, found.keys(), odd), list(found.values())


def _plain(said: dict[str, Any]) -> bool:
    """Whether the object has known keys only, and text as values: so it is nearly always."""
    labels = said.get("labels", _NONE)
    return (
        said.keys() <= _KNOWN
        and type(labels) is dict
        and _TEXT.issuperset(map(type, labels.values()))
        and all(type(value) is str or name == "labels" for name, value in said.items())
    )


_NONE: Final[dict[str, str]] = {}


def _raw(said: dict[str, Any]) -> tuple[Any, ...]:
    get = said.get
    labels = tuple(sorted(get("labels", _NONE).items()))
    return (
        get("model", ""), get("hardware", ""), get("env", ""), get("region"), get("site"), get("timeZone"), labels,
    )  # fmt: skip


def _no_object(row: int, source: Source) -> Diagnostic:
    loc = ("devices", row)
    remedy = 'Write a line like {"id": "device-1", "model": "sensor-v1", "hardware": "rev-a", "env": "prod"}.'
    message = "a line is one device, as a JSON object"
    return source.diagnostic(source.place(loc), code="E_SCHEMA", message=message, remedy=remedy, loc=loc)


def _refused(row: int, line: str, error: Exception, source: Source) -> Diagnostic:
    loc, remedy = ("devices", row), ""
    start, end = 0, len(line)
    related: tuple[Related, ...] = ()
    code, message = "E_JSON", "a number is too long to be read"
    if not line.strip():
        message, remedy = "the line is empty", "Remove the line."
    elif isinstance(error, JSONDecodeError):
        start, end = min(error.pos, max(len(line) - 1, 0)), 0
        message = f"{error.msg[:1].lower()}{error.msg[1:]}"
    elif isinstance(error, Refused):
        code, message = error.code, str(error)
        if code == "E_YAML_DUPKEY" and (both := again(line, error.token)) is not None:
            first, (start, end) = both
            related = (Related(source.at(Span(row + 1, first[0] + 1, first[1] + 1)), "it stands here first"),)
    elif isinstance(error, RecursionError):
        code, message = "E_YAML_LIMIT", "the line is nested too deep"
    place = source.at(Span(row + 1, start + 1, max(end, start + 1) + 1))
    return source.diagnostic(place, code=code, message=message, remedy=remedy, loc=loc, related=related)
