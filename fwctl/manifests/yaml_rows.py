"""The short way to read a YAML inventory that is written as programs write them: each distinct entry read once.

Entries that differ in their id only are read once, by the strict reader, as a document of their own. That is sound
where the list of devices ends the file and each entry is complete by itself. Wherever it is not plainly so, or
anything is wrong, there is no short way: the file is then read as a whole, and that gives the findings.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import ValidationError

from fwctl.manifests.inventory import profile_of
from fwctl.manifests.models import DeviceInventory
from fwctl.manifests.models.devices import DeviceEntry
from fwctl.manifests.scalar_kinds import Surprise, resolve
from fwctl.manifests.scalars import ID_PATTERN
from fwctl.manifests.strict_yaml import LARGE, SMALL, Document, encoding, read
from fwctl.manifests.table import InventoryTable, Profile

_ID: Final = re.compile(ID_PATTERN[1:-1])
_LIST: Final = re.compile(r"^ *devices:\n(?= +- )", re.MULTILINE)
_PROBE: Final = "probe"
_FEW: Final = 1000


def tabulate_text(data: bytes) -> InventoryTable | None:
    """Return the table of an inventory without findings, or None where it has to be read as a whole."""
    if len(data) > LARGE.size or (data.count(b":") + data.count(b",")) * 3 > LARGE.nodes or encoding(data):
        return None
    text = data.decode()
    if (at := _LIST.search(text)) is None:
        return None
    body = text[at.end() :].removesuffix("\n")
    indent = body[: body.index("-")]
    inventory = _header(text[: at.end()], indent)
    if inventory is None:
        return None
    return _entries(re.split(f"\n(?={indent}- )", body), indent, inventory)


def _header(text: str, indent: str) -> DeviceInventory | None:
    """Return the inventory with one device, whose entry proves that what follows `text` is in the list of devices."""
    document = _whole(f"{text}{indent}- {{id: {_PROBE}}}")
    if document is None:
        return None
    try:
        found = DeviceInventory.model_validate(document.value)
    except ValidationError:
        return None
    return found if [entry.id for entry in found.spec.devices] == [_PROBE] else None


def _whole(text: str) -> Document | None:
    document = read(text.encode(), SMALL)
    return document if document.complete and not document.findings else None


def _entries(chunks: list[str], indent: str, inventory: DeviceInventory) -> InventoryTable | None:
    begin = re.compile(indent + r"- (\{?)id: ([a-z0-9-]+)(?=[,}\n]|\Z)")
    known: dict[tuple[str, str], tuple[Profile, str | None]] = {}
    ids: list[str] = []
    profiles: list[Profile] = []
    addresses: dict[int, str] = {}
    for row, chunk in enumerate(chunks):
        found = begin.match(chunk)
        if found is None or not _plain(found[2]):
            return None
        key = (found[1], chunk[found.end() :])
        if (said := known.get(key)) is None:
            if len(known) > max(_FEW, row // 4) or (said := _entry(*key, indent, inventory)) is None:
                return None
            known[key] = said
        ids.append(found[2])
        profiles.append(said[0])
        if said[1] is not None:
            addresses[row] = said[1]
    return InventoryTable.of(ids, profiles, addresses)


def _plain(device: str) -> bool:
    try:
        return _ID.fullmatch(device) is not None and resolve(device) == device
    except Surprise:
        return False


def _entry(brace: str, rest: str, indent: str, inventory: DeviceInventory) -> tuple[Profile, str | None] | None:
    """Return what the entries say that go on with `rest` after their id; None where they are not entries alone."""
    if not all(line.startswith(f"{indent}  ") for line in rest.split("\n")[1:]):
        return None
    document = _whole(f"{indent}- {brace}id: {_PROBE}{rest}\n")
    if document is None or not isinstance(document.value, list) or len(document.value) != 1:
        return None
    try:
        entry = DeviceEntry.model_validate(document.value[0])
    except ValidationError:
        return None
    return (profile_of(entry, inventory.spec.defaults), entry.address) if entry.id == _PROBE else None
