"""Inventories to devices: defaults applied, addresses resolved, each device declared once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from fwctl.manifests.devices import Devices, Origin, resolve_address, row_loc
from fwctl.manifests.diagnostic import Diagnostic, Related, quoted
from fwctl.manifests.models import DeviceInventory, Fleet
from fwctl.manifests.models.devices import DeviceDefaults, DeviceEntry
from fwctl.manifests.scalars import ADDRESS_PATTERN
from fwctl.manifests.sources import Sources
from fwctl.manifests.strict_yaml import MAX_FINDINGS
from fwctl.manifests.table import InventoryTable, Profile

NEEDED: Final = ("model", "hardware", "env")
_ADDRESS: Final = re.compile(ADDRESS_PATTERN[1:-1])


def tabulate(inventory: DeviceInventory) -> InventoryTable:
    """Return the devices of a YAML inventory as a table, its defaults applied."""
    devices, defaults = inventory.spec.devices, inventory.spec.defaults
    return InventoryTable.of(
        [entry.id for entry in devices],
        (profile_of(entry, defaults) for entry in devices),
        {row: entry.address for row, entry in enumerate(devices) if entry.address is not None},
    )


def profile_of(entry: DeviceEntry, defaults: DeviceDefaults) -> Profile:
    """Return the profile of an entry: what it says itself, else what its file's defaults say."""
    labels = {**defaults.labels, **entry.labels} if defaults.labels else entry.labels
    return Profile(
        entry.model or defaults.model or "",
        entry.hardware or defaults.hardware or "",
        entry.env or defaults.env or "",
        entry.region or defaults.region,
        entry.site or defaults.site,
        entry.time_zone or defaults.time_zone,
        tuple(sorted(labels.items())),
    )


def flatten(
    inventories: Mapping[str, InventoryTable], fleet: Fleet | None, sources: Sources
) -> tuple[Devices, list[Diagnostic]]:
    """Return all devices by id, sorted, and what is wrong with them.

    Without a fleet there is no address template: devices then have an empty address.
    """
    tables = dict(sorted(inventories.items()))
    rows, found = (None, []) if _plain(tables) else _sifted(tables, sources)
    devices = Devices(tables, rows, fleet)
    if fleet is not None and not (found and found[-1].code == "I_TRUNCATED"):
        found += _addresses(devices, fleet, sources)
    return devices, found


def lacking(profile: Profile) -> tuple[str, ...]:
    """Return the names of the fields that each device needs and this profile does not have."""
    return tuple(name for name in NEEDED if not getattr(profile, name))


def _plain(tables: Mapping[str, InventoryTable]) -> bool:
    """Whether each id stands once and no profile lacks anything: so it is nearly always."""
    if any(lacking(profile) for table in tables.values() for profile in table.profiles):
        return False
    ids = set[str]()
    for table in tables.values():
        ids.update(table.ids)
    return len(ids) == sum(map(len, tables.values()))


def _sifted(tables: Mapping[str, InventoryTable], sources: Sources) -> tuple[list[int], list[Diagnostic]]:
    """Return the rows that are good, counted through all tables, and what is wrong with the others."""
    rows: list[int] = []
    found: list[Diagnostic] = []
    first: dict[str, Origin] = {}
    start = 0
    for path, table in tables.items():
        lacks = [lacking(profile) for profile in table.profiles]
        for row, (device, number) in enumerate(zip(table.ids, table.numbers, strict=True)):
            origin = Origin(path, row_loc(path, row))
            if device in first:
                found.append(_twice(device, first[device], origin, sources))
            elif lacks[number]:
                found.append(_lacks(device, lacks[number], origin, sources))
            else:
                first[device] = origin
                rows.append(start + row)
            if len(found) >= MAX_FINDINGS:
                found.append(_at_device(origin, sources, "I_TRUNCATED", "there are more findings in the inventories"))
                return rows, found
        start += len(table)
    return rows, found


def _addresses(devices: Devices, fleet: Fleet, sources: Sources) -> list[Diagnostic]:
    """Check that each address is one. Devices may share one (a gateway): they are told apart by name, not address."""
    wrong = islice(((i, text) for i, text in _resolved(devices, fleet) if not _ADDRESS.fullmatch(text)), MAX_FINDINGS)
    return [
        _at_device(
            devices.at(index).origin,
            sources,
            "E_ADDRESS",
            f"device {quoted(devices.ids[index])} has no usable address: the template gives {quoted(address)}",
        )
        for index, address in wrong
    ]


def _resolved(devices: Devices, fleet: Fleet) -> Iterator[tuple[int, str]]:
    """Yield the addresses that have to be looked at one by one.

    Whether a site and region give an address depends on the device's id only by its length: an id is a label of a
    host name. Where the longest id gives one, all do.
    """
    longest = "a" * max(map(len, devices.ids), default=0)
    doubtful = devices.where(lambda p: not _ADDRESS.fullmatch(resolve_address(fleet, longest, p.site, p.region)))
    if not doubtful:
        return
    for index, doubted in enumerate(devices.bits(doubtful)):
        if doubted and devices.given_address(index) is None:
            profile = devices.profiles[devices.numbers[index]]
            yield index, resolve_address(fleet, devices.ids[index], profile.site, profile.region)


def _at_device(
    origin: Origin, sources: Sources, code: str, message: str, remedy: str = "", related: tuple[Related, ...] = ()
) -> Diagnostic:
    loc = (*origin.loc, "id")
    return sources.diagnostic(origin.path, loc, code=code, message=message, remedy=remedy, related=related)


def _twice(device: str, first: Origin, again: Origin, sources: Sources) -> Diagnostic:
    related = (Related(sources.place(first.path, (*first.loc, "id")), "it is declared here first"),)
    return _at_device(again, sources, "E_DUPLICATE", f"device {quoted(device)} is declared a second time", "", related)


def _lacks(device: str, names: tuple[str, ...], origin: Origin, sources: Sources) -> Diagnostic:
    what = ", ".join(quoted(name) for name in names)
    remedy = "Add it to the device, or to `spec.defaults` for all devices of the file."
    return _at_device(origin, sources, "E_SCHEMA", f"device {quoted(device)} lacks {what}", remedy)
