"""One image on its way in: a descriptor, a running hash, and how much of it is durable."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from fwctl_agent.runtime.job import Job
from fwctl_agent.runtime.ports import Installer, Stream
from fwctl_agent.trust.policy import StorageHost

CHECKPOINT: Final = 8 << 20
"""bytes between two durable offsets: what a power cut may cost"""


@dataclass(frozen=True)
class Fetched:
    """What a device that fetches for itself needs to know. `url` may hold a secret."""

    url: str = field(repr=False)
    length: int
    allow: tuple[StorageHost, ...]


class Intake:
    """Bytes pass the hash on their way to the slot; the same descriptor from first to last."""

    def __init__(self, order: str, stream: Stream, hasher: hashlib._Hash, offset: int, durable: int) -> None:
        self.order = order
        self.offset = offset
        self._stream = stream
        self._hasher = hasher
        self._durable = durable

    def taken_over(self) -> Intake:
        """Return the same intake as a new object, so that an older upload no longer fits."""
        return Intake(self.order, self._stream, self._hasher, self.offset, self._durable)

    def write(self, data: bytes) -> int | None:
        """Write and hash; return the offset when it has just been made durable."""
        self._stream.write(data)
        self._hasher.update(data)
        self.offset += len(data)
        return self.sync() if self.offset - self._durable >= CHECKPOINT else None

    def sync(self) -> int:
        """Make everything so far durable and return the offset."""
        if self.offset != self._durable:
            self._stream.sync()
            self._durable = self.offset
        return self.offset

    def digest(self) -> str:
        return "sha256:" + self._hasher.hexdigest()

    def close(self) -> None:
        self._stream.close()


def hashed_so_far(installer: Installer, job: Job) -> tuple[hashlib._Hash, int]:
    """Hash what is durable again, and return the offset to go on from (D01): 0 if not all of it is there."""
    hasher, seen = hashlib.sha256(), 0
    if job.offset:
        for piece in installer.arrived(job.slot, job.offset - 1):
            hasher.update(piece)
            seen += len(piece)
    return (hasher, seen) if seen == job.offset else (hashlib.sha256(), 0)
