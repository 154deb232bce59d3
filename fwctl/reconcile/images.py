"""The images of a pass: read and proved once if they are small, streamed from the storage if they are not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final, TypeVar, cast

from fwctl.errors import WorldError
from fwctl.fleet.interface import ImageReader, printable
from fwctl.storage import FileStorage, Stat, Storage
from fwctl_agent.protocol.statements import Delivery, Outcome, Pull, Push

KEPT: Final = 64 << 20
"""bytes of images that are kept in memory, in all"""
STORAGE_CODES: Final = (
    *("E_HASH", "E_STORAGE_MISSING", "E_LENGTH", "E_URL", "E_REDIRECT", "E_RANGE"),
    *("E_STORAGE_UNREACHABLE", "E_STORAGE_TLS", "E_STORAGE_STATUS", "E_STORAGE_CUT", "E_STORAGE_QUERY"),
)
"""what holds one rollout until the next pass, and not the others"""
ENOUGH: Final = 3
"""devices that could not fetch their image in one pass, until the rollout waits"""
TRIES: Final = 3
PAUSE: Final = 1.0
"""seconds between two tries to read from a storage that fails"""
FAILS: Final = ("E_STORAGE_UNREACHABLE", "E_STORAGE_STATUS", "E_STORAGE_CUT", "E_HASH")
"""what another try may mend"""
T = TypeVar("T")


class Images:
    """Gives each visit a source to send from, or an address to fetch from; storage may be slow: it is read in threads.

    A large image is streamed from a local storage. From a remote one it is fetched once, into a file below `spool`.
    """

    def __init__(self, storage: Storage, *, pull: bool = False, spool: Path | None = None, name: str = "") -> None:
        """`name` is the storage's for people."""
        self._storage = storage
        self._pull = pull
        self._kept: dict[str, bytes] = {}
        self._spool = spool
        self._name = name
        self._hit: dict[str, set[str]] = {}
        self._stats: dict[str, Stat] = {}
        self._fetched: FileStorage | None = None
        self._lock = asyncio.Lock()

    def delivery(self, digest: str) -> Delivery:
        """Return how an image gets to a device."""
        address = self._storage.address(digest) if self._pull else None
        return Push() if address is None else Pull(address)

    def blame(self, rollout: str, outcome: Outcome) -> None:
        """Count a device that could not fetch its image.

        Raises:
            WorldError: so many could not that the rollout had better wait until somebody has looked at the storage.
        """
        if outcome.klass != "download":
            return
        hit = self._hit.setdefault(rollout, set())
        hit.add(outcome.device)
        if len(hit) >= ENOUGH:
            told = " ".join(one.detail for one in outcome.evidence) or "the image did not arrive"
            raise WorldError(
                f"{len(hit)} devices could not get their image: {printable(told)}",
                # The device chose its words and its code: only one of ours says what the pass does next.
                code=outcome.code if outcome.code in STORAGE_CODES else "E_STORAGE_STATUS",
                place=self._name,
                remedy="Look at the storage; the next pass goes on with the rollout.",
            )

    async def stat(self, digest: str) -> Stat:
        """Return what the storage knows of an image, asked once. Raises InputError `E_STORAGE_MISSING`."""
        if digest not in self._stats:
            # A storage that takes its time to answer must not hold those who are being visited.
            self._stats[digest] = await asyncio.to_thread(self._storage.stat, digest)
        return self._stats[digest]

    @asynccontextmanager
    async def source(self, digest: str, length: int) -> AsyncIterator[bytes | ImageReader]:
        """Yield the whole image, its digest proved, or a reader that proves it at the end.

        Raises:
            InputError, TrustRefused, WorldError: the storage does not hold it, may not be asked, or fails.
        """
        if length > KEPT:
            storage = self._storage if self._storage.address(digest) is None else await self._local(digest, length)
            with storage.open(digest) as reader:
                yield reader
            return
        async with self._lock:
            if digest not in self._kept:
                data = await asyncio.to_thread(_persistent, partial(self._read, digest, length))
                while self._kept and sum(map(len, self._kept.values())) + length > KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[digest] = data
        yield self._kept[digest]

    async def _local(self, digest: str, length: int) -> Storage:
        async with self._lock:
            if self._fetched is None:
                self._folder = TemporaryDirectory(prefix="fetched-", dir=self._spool)
                self._fetched = FileStorage(Path(self._folder.name))
            if not self._fetched.exists(digest):
                await asyncio.to_thread(_persistent, partial(self._fetch, self._fetched, digest, length))
        return self._fetched

    def _fetch(self, into: FileStorage, digest: str, length: int) -> None:
        with self._storage.open(digest) as reader:
            _check_length(reader.length, length, digest)
            into.put(digest, cast(BinaryIO, reader))

    def _read(self, digest: str, length: int) -> bytes:
        parts = []
        with self._storage.open(digest) as reader:
            _check_length(reader.length, length, digest)
            while part := reader.read(1 << 20):
                parts.append(part)
        data = b"".join(parts)
        _check_length(len(data), length, digest)
        return data


def _persistent(read: Callable[[], T]) -> T:
    """Read, again and again for a while where the storage fails."""
    for _ in range(TRIES - 1):
        try:
            return read()
        except WorldError as error:
            if error.code not in FAILS:
                raise
            time.sleep(PAUSE)
    return read()


def _check_length(found: int, wanted: int, digest: str) -> None:
    if found != wanted:
        raise WorldError(
            f"the image has {found} bytes in the storage, {wanted} in its release",
            code="E_LENGTH",
            place=digest,
            remedy="The storage is damaged: upload the image again with `fwctl firmware add`.",
        )
