"""Inventories to devices: defaults applied, addresses resolved, each device declared once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Final

from fwctl.manifests.diagnostic import Diagnostic, Related, quoted
from fwctl.manifests.models import DeviceEntry, DeviceInventory, Fleet
from fwctl.manifests.models.devices import DeviceDefaults
from fwctl.manifests.repo import Device, Origin
from fwctl.manifests.scalars import ADDRESS_PATTERN
from fwctl.manifests.sources import Sources
from fwctl.manifests.strict_yaml import MAX_FINDINGS

_NEEDED: Final = ("model", "hardware", "env")
_ADDRESS: Final = re.compile(ADDRESS_PATTERN[1:-1])


def flatten(
    inventories: Mapping[str, DeviceInventory], fleet: Fleet | None, sources: Sources
) -> tuple[dict[str, Device], list[Diagnostic]]:
    """Return all devices by id, sorted, and what is wrong with them.

    Without a fleet there is no address template: devices then have an empty address.
    """
    devices: dict[str, Device] = {}
    found: list[Diagnostic] = []
    for path, inventory in sorted(inventories.items()):
        defaults = inventory.spec.defaults
        for index, entry in enumerate(inventory.spec.devices):
            origin = Origin(path, ("spec", "devices", index))
            lacking = [name for name in _NEEDED if getattr(entry, name) is None and getattr(defaults, name) is None]
            if (first := devices.get(entry.id)) is not None:
                found.append(_twice(entry.id, first.origin, origin, sources))
            elif lacking:
                found.append(_lacks(entry.id, lacking, origin, sources))
            else:
                devices[entry.id] = _device(entry, defaults, fleet, origin)
            if len(found) >= MAX_FINDINGS:
                found.append(_at_device(origin, sources, "I_TRUNCATED", "there are more findings in the inventories"))
                return dict(sorted(devices.items())), found
    if fleet is not None:
        found += _addresses(devices, sources)
    return dict(sorted(devices.items())), found


def _device(entry: DeviceEntry, defaults: DeviceDefaults, fleet: Fleet | None, origin: Origin) -> Device:
    region, site = entry.region or defaults.region, entry.site or defaults.site
    labels = {**defaults.labels, **entry.labels} if defaults.labels else entry.labels
    return Device(
        id=entry.id,
        model=entry.model or defaults.model or "",
        hardware=entry.hardware or defaults.hardware or "",
        env=entry.env or defaults.env or "",
        region=region,
        site=site,
        time_zone=entry.time_zone or defaults.time_zone,
        labels=labels,
        address=entry.address or _resolve(fleet, entry.id, site, region),
        origin=origin,
    )


def _resolve(fleet: Fleet | None, device: str, site: str | None, region: str | None) -> str:
    if fleet is None:
        return ""
    text = fleet.spec.device_address.replace("{id}", device)
    for name, value in (("{site}", site), ("{region}", region)):
        if value is not None:
            text = text.replace(name, value)
    return text


def _addresses(devices: Mapping[str, Device], sources: Sources) -> list[Diagnostic]:
    """Check that each address is one. Devices may share one (a gateway): they are told apart by name, not address."""
    return [
        _at_device(
            device.origin,
            sources,
            "E_ADDRESS",
            f"device {quoted(device.id)} has no usable address: the template gives {quoted(device.address)}",
        )
        for device in islice((d for d in devices.values() if not _ADDRESS.fullmatch(d.address)), MAX_FINDINGS)
    ]


def _at_device(
    origin: Origin, sources: Sources, code: str, message: str, remedy: str = "", related: tuple[Related, ...] = ()
) -> Diagnostic:
    loc = (*origin.loc, "id")
    return sources.diagnostic(origin.path, loc, code=code, message=message, remedy=remedy, related=related)


def _twice(device: str, first: Origin, again: Origin, sources: Sources) -> Diagnostic:
    related = (Related(sources.place(first.path, (*first.loc, "id")), "it is declared here first"),)
    return _at_device(again, sources, "E_DUPLICATE", f"device {quoted(device)} is declared a second time", "", related)


def _lacks(device: str, names: list[str], origin: Origin, sources: Sources) -> Diagnostic:
    what = ", ".join(quoted(name) for name in names)
    remedy = "Add it to the device, or to `spec.defaults` for all devices of the file."
    return _at_device(origin, sources, "E_SCHEMA", f"device {quoted(device)} lacks {what}", remedy)
