"""An inventory as columns: what many devices share is kept once, and no object is made per device."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

_FORMAT: Final = "fwctl-inventory-1"
_HEAD: Final = frozenset({"format", "devices", "profiles", "addresses"})


class Profile(NamedTuple):
    """What devices have in common, defaults applied. Labels are sorted by key; what is lacking is empty."""

    model: str
    hardware: str
    env: str
    region: str | None = None
    site: str | None = None
    time_zone: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def facts(self) -> dict[str, str]:
        """Labels and built-in keys without the id: what selectors look at."""
        own = {"model": self.model, "hardware": self.hardware, "env": self.env}
        if self.region is not None:
            own["region"] = self.region
        if self.site is not None:
            own["site"] = self.site
        return {**dict(self.labels), **own}


@dataclass(frozen=True)
class InventoryTable:
    """The devices of one file in the order they stand there; row `n` is the file's device `n`, from 0.

    `numbers[n]` says which of `profiles` device `n` has; `addresses` has the rows that give an address.
    """

    ids: Sequence[str]
    numbers: array[int]
    profiles: tuple[Profile, ...]
    addresses: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, ids: Sequence[str], profiles: Iterable[Profile], addresses: Mapping[int, str]) -> Self:
        """Return the table of devices with a profile each, equal profiles kept once."""
        known: dict[Profile, int] = {}
        numbers = array("I", [known.setdefault(profile, len(known)) for profile in profiles])
        return cls(list(ids), numbers, tuple(known), addresses)

    def to_bytes(self) -> bytes:
        """Return the table as bytes: one line of JSON, four bytes per device, the ids as lines."""
        head = {
            "format": _FORMAT,
            "devices": len(self.ids),
            "profiles": self.profiles,
            "addresses": {str(row): address for row, address in self.addresses.items()},
        }
        first = json.dumps(head, separators=(",", ":"), ensure_ascii=True).encode()
        return b"\n".join((first, _swapped(self.numbers).tobytes() + "\n".join(self.ids).encode()))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the table that `to_bytes` wrote.

        Raises:
            ValueError: when the bytes are none, or of another format.
        """
        line, _, rest = data.partition(b"\n")
        try:
            head = json.loads(line)
        except RecursionError:
            head = None
        if not isinstance(head, dict) or head.keys() != _HEAD or head["format"] != _FORMAT:
            raise ValueError("not an inventory table of this format")
        count = head["devices"]
        if type(count) is not int or not 0 <= count * 4 <= len(rest):
            raise ValueError("an inventory table with an impossible number of devices")
        numbers = array("I")
        numbers.frombytes(rest[: count * 4])
        ids = rest[count * 4 :].decode("ascii").split("\n") if count else []
        profiles = tuple(_profile(one) for one in _a_list(head["profiles"]))
        if len(ids) != count or max(_swapped(numbers), default=-1) >= len(profiles):
            raise ValueError("an inventory table whose columns do not fit together")
        return cls(ids, _swapped(numbers), profiles, _addresses(head["addresses"], count))


def _swapped(numbers: array[int]) -> array[int]:
    """Return the numbers in little-endian order on every machine (an array of unsigned ints has four bytes each)."""
    if sys.byteorder == "little":
        return numbers
    turned = array("I", numbers)
    turned.byteswap()
    return turned


def _a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("an inventory table without profiles")
    return value


def _profile(fields: Any) -> Profile:
    match fields:
        case [str(model), str(hardware), str(env), region, site, zone, list(labels)]:
            if all(text is None or isinstance(text, str) for text in (region, site, zone)):
                return Profile(model, hardware, env, region, site, zone, tuple(_pair(label) for label in labels))
    raise ValueError("an inventory table with a profile that is none")


def _pair(label: Any) -> tuple[str, str]:
    match label:
        case [str(key), str(value)]:
            return key, value
        case _:
            raise ValueError("an inventory table with a label that is none")


def _addresses(given: Any, count: int) -> dict[int, str]:
    if not isinstance(given, dict) or not all(isinstance(address, str) for address in given.values()):
        raise ValueError("an inventory table with addresses that are none")
    found = {int(row): address for row, address in given.items()}
    if not all(0 <= row < count for row in found):
        raise ValueError("an inventory table with an address of no device")
    return found
