"""Inventories with a device per line, CSV and JSON Lines: what both have in common once their lines are read.

Each distinct value is checked once, by the models that check YAML. Only lines that are not plainly right become
an entry of their own, so that their findings are those of YAML.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fwctl.manifests.diagnostic import Diagnostic, Loc, quoted
from fwctl.manifests.inventory import NEEDED, lacking, profile_of
from fwctl.manifests.models.devices import DeviceDefaults, DeviceEntry, InventorySpec
from fwctl.manifests.scalars import ID_PATTERN, Address
from fwctl.manifests.schema_findings import explain
from fwctl.manifests.sources import Source
from fwctl.manifests.strict_yaml import LARGE, Limits, YamlFinding, encoding
from fwctl.manifests.table import InventoryTable, Profile

_ID: Final = re.compile(ID_PATTERN[1:-1])
_ADDRESS: Final[TypeAdapter[str]] = TypeAdapter(Address)
_NO_DEFAULTS: Final = DeviceDefaults.model_validate({})
_FIELDS: Final = {"region": "region", "site": "site", "time_zone": "timeZone"}


@dataclass(frozen=True)
class Draft:
    """What the lines say, one entry per line. Lines in `broken` have findings already and say nothing.

    Lines in `odd` could not be put into the columns; they are looked at one by one.
    """

    ids: list[str]
    numbers: array[int]
    profiles: list[Profile]
    addresses: dict[int, str]
    broken: Collection[int] = ()
    odd: set[int] = field(default_factory=set)


def lines_of(data: bytes, limits: Limits = LARGE) -> tuple[list[str], tuple[YamlFinding, ...]]:
    """Return a file's lines and what forbids to read them; a line feed at the end starts no line."""
    if len(data) > limits.size:
        size = f"the file has {len(data)} bytes, more than the {limits.size} allowed"
        return [], (YamlFinding("E_YAML_LIMIT", size, 0, 0, 0),)
    if trouble := encoding(data):
        return [], trouble
    lines = data.decode().split("\n")
    if not lines[-1]:
        lines.pop()
    if max(map(len, lines), default=0) > limits.scalar:
        line = next(number for number, text in enumerate(lines, 1) if len(text) > limits.scalar)
        message = f"a line of more than {limits.scalar} characters"
        return [], (YamlFinding("E_YAML_LIMIT", message, line, 1, 2),)
    return lines, ()


def finish(
    draft: Draft, entry: Callable[[int], dict[str, Any]], source: Source, where: str, limit: int
) -> tuple[InventoryTable | None, list[Diagnostic]]:
    """Check a draft and return its table, or at most `limit` findings.

    `entry` makes of a line what YAML would have said; `where` tells where to write a field that is lacking.
    """
    found: list[Diagnostic] = []
    mended: dict[int, DeviceEntry] = {}
    for row in sorted(_doubtful(draft).difference(draft.broken)):
        given = entry(row)
        more, model = _one(row, given, source, where, limit - len(found))
        found += more
        if model is not None:
            mended[row] = model
        if len(found) >= limit:
            break
    if found or draft.broken:
        return None, found
    return _table(draft, mended), []


def _doubtful(draft: Draft) -> set[int]:
    wrong = {number for number, profile in enumerate(draft.profiles) if not _good(profile)}
    rows = {row for row, device in enumerate(draft.ids) if not _ID.fullmatch(device)} | draft.odd
    if wrong:
        rows.update(row for row, number in enumerate(draft.numbers) if number in wrong)
    bad = {address for address in set(draft.addresses.values()) if not _good_address(address)}
    return rows | {row for row, address in draft.addresses.items() if address in bad}


def _good(profile: Profile) -> bool:
    said = {name: getattr(profile, name) for name in NEEDED}
    said |= {alias: value for name, alias in _FIELDS.items() if (value := getattr(profile, name)) is not None}
    try:
        DeviceDefaults.model_validate({**said, "labels": dict(profile.labels)})
    except ValidationError:
        return False
    return True


def _good_address(address: str) -> bool:
    try:
        _ADDRESS.validate_python(address, strict=True)
    except ValidationError:
        return False
    return True


def _one(
    row: int, given: dict[str, Any], source: Source, where: str, limit: int
) -> tuple[list[Diagnostic], DeviceEntry | None]:
    at: Loc = ("devices", row)
    model, found = None, list[Diagnostic]()
    lacks = tuple(name for name in ("id", *NEEDED) if given.get(name) is None and (name != "id" or name not in given))
    try:
        model = DeviceEntry.model_validate({"id": "x", **given})
        lacks = tuple(name for name in lacks if name == "id") + lacking(profile_of(model, _NO_DEFAULTS))
    except ValidationError as error:
        found = explain(error, {"devices": {row: given}}, InventorySpec, source, frozenset(), limit, within=at)
    if lacks:
        device = given.get("id")
        who = f"device {quoted(device)}" if isinstance(device, str) else "the device of this line"
        message = f"{who} lacks {', '.join(quoted(name) for name in lacks)}"
        remedy = where.format(", ".join(f"`{name}`" for name in lacks))
        loc = (*at, "id") if isinstance(device, str) else at
        found.append(source.diagnostic(source.place(loc), code="E_SCHEMA", message=message, remedy=remedy, loc=loc))
    return found[:limit], None if found else model


def _table(draft: Draft, mended: dict[int, DeviceEntry]) -> InventoryTable:
    if not mended:
        return InventoryTable(draft.ids, draft.numbers, tuple(draft.profiles), draft.addresses)
    ids, addresses = list(draft.ids), dict(draft.addresses)
    profiles: list[Profile] = [draft.profiles[number] for number in draft.numbers]
    for row, entry in mended.items():
        ids[row], profiles[row] = entry.id, profile_of(entry, _NO_DEFAULTS)
        addresses.pop(row, None)
        if entry.address is not None:
            addresses[row] = entry.address
    return InventoryTable.of(ids, profiles, dict(sorted(addresses.items())))


def numbered(raws: Iterable[tuple[Any, ...]], known: dict[tuple[Any, ...], int]) -> array[int]:
    """Return the number of each value, new ones added to `known`."""
    return array("I", [known.setdefault(raw, len(known)) for raw in raws])
