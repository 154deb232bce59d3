"""What a sweep asks of the ledger: who was contacted when. By index; nobody reads the whole fleet for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fwctl.rollouts.looks import Contact
from fwctl.state.reader import Reader
from fwctl.state.times import from_text, to_text

_COLUMNS = "id, tried_at, failure_count, next_due FROM devices"
IN_TOUCH = (
    f"SELECT tried_at, id, {_COLUMNS} WHERE reachable = 1 AND tried_at <= ? AND (tried_at, id) > (?, ?)"
    " ORDER BY tried_at, id LIMIT ?"
)
AWAY = f"SELECT id, {_COLUMNS} WHERE reachable = 0 AND tried_at <= ? AND id > ? ORDER BY id LIMIT ?"
KNOWN = "SELECT id, id FROM devices WHERE id > ? ORDER BY id LIMIT ?"


class Contacts(Reader):
    """Who was contacted when."""

    def in_touch(self, until: datetime) -> Iterator[Contact]:
        """Stream the devices that answered last and were tried up to a moment, the longest ago first."""
        return map(_contact, self._paged(IN_TOUCH, (to_text(until),), ("", "")))

    def away(self, until: datetime) -> Iterator[Contact]:
        """Stream the devices that did not answer last and were tried up to a moment, by id."""
        return map(_contact, self._paged(AWAY, (to_text(until),), ("",)))

    def known(self) -> Iterator[str]:
        """Stream the ids of all devices that were ever tried."""
        return (str(row[0]) for row in self._paged(KNOWN, (), ("",)))


def _contact(row: tuple[Any, ...]) -> Contact:
    device, tried, misses, due = row
    return Contact(device, from_text(tried), misses, from_text(due))
