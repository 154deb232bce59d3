"""A storage that cannot be used, with why. What needs no image goes on: nobody waits with a revert for a storage."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fwctl.errors import FwctlError
from fwctl.storage.interface import Reader, Stat


@dataclass(frozen=True)
class Unusable:
    """Raises its error whatever it is asked for."""

    error: FwctlError

    def address(self, digest: str) -> str | None:  # noqa: ARG002
        raise self.error

    def put(self, digest: str, source: Path | BinaryIO) -> Stat:  # noqa: ARG002
        raise self.error

    def open(self, digest: str) -> AbstractContextManager[Reader]:  # noqa: ARG002
        raise self.error

    def exists(self, digest: str) -> bool:  # noqa: ARG002
        raise self.error

    def stat(self, digest: str) -> Stat:  # noqa: ARG002
        raise self.error
