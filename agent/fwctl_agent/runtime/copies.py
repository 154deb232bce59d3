"""Small durable state in two alternating copies, each with generation and checksum."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.runtime.ports import Fs

MAX_BYTES: Final = 8 << 20


class Corrupt(Exception):
    """Something stands there, but no copy of it is whole."""


class TwoCopies:
    """One JSON value. A torn copy is told by its checksum, and the other one is used (D06, D19)."""

    def __init__(self, fs: Fs, path: str) -> None:
        self._fs = fs
        self._path = path
        self._generation = 0

    def load(self) -> Any | None:
        """Return the newest whole value, or None where nothing was ever stored.

        Raises:
            Corrupt: files exist but none is whole.
        """
        copies = [data for copy in (0, 1) if (data := self._fs.read(f"{self._path}.{copy}")) is not None]
        for data in sorted(copies, key=_generation, reverse=True):
            found = _read(data)
            if found is not None:
                self._generation, newest = found
                return newest
        if copies:
            raise Corrupt(self._path)
        return None

    def store(self, value: Any) -> None:
        """Store durably. After an error the old value or the new one will be loaded, never a mixture."""
        self.store_written(canonical.dump(value))

    def store_written(self, body: bytes) -> None:
        """As `store`, for a value that is written as JSON already."""
        generation = self._generation + 1
        head = f"{generation} {hashlib.sha256(b'%d ' % generation + body).hexdigest()}\n".encode()
        self._fs.replace(f"{self._path}.{generation % 2}", head + body)
        self._generation = generation


def _generation(data: bytes) -> int:
    """Return the generation that a copy states; a torn one is found out when it is read."""
    number = data.partition(b"\n")[0].partition(b" ")[0]
    return int(number) if number.isdigit() and len(number) <= 18 else -1


def _read(data: bytes) -> tuple[int, Any] | None:
    head, _, body = data.partition(b"\n")
    number, _, checksum = head.partition(b" ")
    if not number.isdigit() or len(number) > 18:
        return None
    if hashlib.sha256(b"%d " % int(number) + body).hexdigest().encode() != checksum:
        return None
    try:
        return int(number), canonical.decode(body, what="stored state", max_bytes=MAX_BYTES)
    except Refusal:
        return None
