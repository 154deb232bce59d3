"""The images of a pass: read and proved once if they are small, streamed from the storage if they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fwctl.errors import WorldError
from fwctl.fleet.interface import ImageReader
from fwctl.storage import Stat, Storage

KEPT: Final = 64 << 20
"""bytes of images that are kept in memory, in all"""


class Images:
    """Gives each visit a source to send from; storage may be slow, so it is read in threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept: dict[str, bytes] = {}
        self._lock = asyncio.Lock()

    def stat(self, digest: str) -> Stat:
        """Return what the storage knows of an image. Raises InputError `E_STORAGE_MISSING`."""
        return self._storage.stat(digest)

    @asynccontextmanager
    async def source(self, digest: str, length: int) -> AsyncIterator[bytes | ImageReader]:
        """Yield the whole image, its digest proved, or a reader that proves it at the end.

        Raises:
            InputError, WorldError: the storage does not hold it, or holds something else.
        """
        if length > KEPT:
            with self._storage.open(digest) as reader:
                yield reader
            return
        async with self._lock:
            if digest not in self._kept:
                data = await asyncio.to_thread(self._read, digest, length)
                while self._kept and sum(map(len, self._kept.values())) + length > KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[digest] = data
        yield self._kept[digest]

    def _read(self, digest: str, length: int) -> bytes:
        parts = []
        with self._storage.open(digest) as reader:
            while part := reader.read(1 << 20):
                parts.append(part)
        data = b"".join(parts)
        if len(data) != length:
            raise WorldError(
                f"the image has {len(data)} bytes in the storage, {length} in its release",
                code="E_LENGTH",
                place=digest,
                remedy="The storage is damaged: upload the image again with `fwctl firmware add`.",
            )
        return data
