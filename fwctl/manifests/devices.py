"""All devices of a repository: a mapping by id that makes a device when one is asked for."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, compress
from typing import NamedTuple

from fwctl.manifests.diagnostic import Loc
from fwctl.manifests.models import Fleet
from fwctl.manifests.table import InventoryTable, Profile

# A set of devices: byte `n` of the number is 1 where it holds the n-th device by id. Sets of 100,000 cost 100 KB,
# and `|`, `&` and `& ~` do what they do for sets.
Mask = int


class Origin(NamedTuple):
    """Which value of which file declares something."""

    path: str
    loc: Loc


@dataclass(frozen=True, slots=True)
class Device:
    """A device with its file's defaults applied and its address resolved to `host:port`."""

    id: str
    model: str
    hardware: str
    env: str
    region: str | None
    site: str | None
    time_zone: str | None
    labels: Mapping[str, str]
    address: str
    origin: Origin

    @property
    def facts(self) -> dict[str, str]:
        """Labels and built-in keys together: what selectors look at."""
        own = {"id": self.id, "model": self.model, "hardware": self.hardware, "env": self.env}
        if self.region is not None:
            own["region"] = self.region
        if self.site is not None:
            own["site"] = self.site
        return {**self.labels, **own}


def row_loc(path: str, row: int) -> Loc:
    """Return where the device `row` of an inventory stands: an entry of the list in YAML, else a line."""
    return ("spec", "devices", row) if path.endswith(".yaml") else ("devices", row)


def resolve_address(fleet: Fleet | None, device: str, site: str | None, region: str | None) -> str:
    """Return the address that the fleet's template gives a device; empty without a fleet."""
    if fleet is None:
        return ""
    text = fleet.spec.device_address.replace("{id}", device)
    for name, value in (("{site}", site), ("{region}", region)):
        if value is not None:
            text = text.replace(name, value)
    return text


class Devices(Mapping[str, Device]):
    """Devices by id, sorted; `profiles` are the distinct profiles and `numbers` says which each device has.

    Length, membership and iteration make no device. Work that depends on profiles alone (selectors, groups,
    checks) is done once per profile by `where`.
    """

    def __init__(self, tables: Mapping[str, InventoryTable], rows: Sequence[int] | None, fleet: Fleet | None) -> None:
        """Take the `rows` of all tables, counted through in the tables' order (None: all), each id once."""
        self._fleet = fleet
        self._paths = tuple(tables)
        self._tables = tuple(tables.values())
        self._starts = tuple(accumulate((len(table) for table in self._tables), initial=0))
        ids = [device for table in self._tables for device in table.ids]
        self.profiles, numbers = _joined(self._tables)
        chosen = range(len(ids)) if rows is None else rows
        order = sorted(chosen, key=ids.__getitem__)
        if all(row == place for place, row in enumerate(order)) and len(order) == len(ids):
            self._rows: Sequence[int] = range(len(ids))
            self.ids, self.numbers = tuple(ids), numbers
        else:
            self._rows = array("L", order)
            self.ids = tuple(map(ids.__getitem__, order))
            self.numbers = array("I", map(numbers.__getitem__, order))
        self._index = dict(zip(self.ids, range(len(self.ids)), strict=True))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, key: object) -> bool:
        return key in self._index

    def __getitem__(self, key: str) -> Device:
        return self.at(self._index[key])

    def at(self, index: int) -> Device:
        """Return the device at a place in the order of ids."""
        device, profile = self.ids[index], self.profiles[self.numbers[index]]
        path, table, row = self._whence(index)
        return Device(
            id=device,
            model=profile.model,
            hardware=profile.hardware,
            env=profile.env,
            region=profile.region,
            site=profile.site,
            time_zone=profile.time_zone,
            labels=self._labels[self.numbers[index]],
            address=table.addresses.get(row) or resolve_address(self._fleet, device, profile.site, profile.region),
            origin=Origin(path, row_loc(path, row)),
        )

    def _whence(self, index: int) -> tuple[str, InventoryTable, int]:
        row = self._rows[index]
        table = bisect_right(self._starts, row) - 1
        return self._paths[table], self._tables[table], row - self._starts[table]

    @cached_property
    def _labels(self) -> tuple[dict[str, str], ...]:
        return tuple(dict(profile.labels) for profile in self.profiles)

    def index(self, device: str) -> int:
        """Return a device's place in the order of ids. Raises KeyError when there is none."""
        return self._index[device]

    def profile(self, device: str) -> Profile:
        """Return a device's profile. Raises KeyError when there is none."""
        return self.profiles[self.numbers[self._index[device]]]

    def given_address(self, index: int) -> str | None:
        """Return the address that the inventory gives the device at a place, if it does."""
        _, table, row = self._whence(index)
        return table.addresses.get(row)

    def where(self, wanted: Callable[[Profile], bool]) -> Mask:
        """Return the devices whose profile is wanted; asks once per profile."""
        verdicts = [wanted(profile) for profile in self.profiles]
        if not any(verdicts):
            return 0
        return int.from_bytes(bytes(map(verdicts.__getitem__, self.numbers)), "little")

    def mask(self, ids: Iterable[str]) -> Mask:
        """Return the devices named; names of what does not exist add nobody."""
        found = bytearray(len(self.ids))
        for device in ids:
            if (index := self._index.get(device)) is not None:
                found[index] = 1
        return int.from_bytes(found, "little")

    def bits(self, mask: Mask) -> bytes:
        """Return one byte per device in the order of ids: 1 for those that the mask holds."""
        return mask.to_bytes(len(self.ids), "little")

    def named(self, mask: Mask) -> tuple[str, ...]:
        """Return the ids of the devices that a mask holds, sorted."""
        return tuple(compress(self.ids, self.bits(mask)))

    def profiles_of(self, mask: Mask) -> frozenset[int]:
        """Return the numbers of the profiles that devices of a mask have."""
        return frozenset(compress(self.numbers, self.bits(mask)))


def _joined(tables: Iterable[InventoryTable]) -> tuple[tuple[Profile, ...], array[int]]:
    known: dict[Profile, int] = {}
    numbers = array("I")
    for table in tables:
        new = [known.setdefault(profile, len(known)) for profile in table.profiles]
        same = all(number == old for old, number in enumerate(new))
        numbers.extend(table.numbers if same else array("I", map(new.__getitem__, table.numbers)))
    return tuple(known), numbers
