"""The storage port: what the loop and `firmware add` need from a place that holds images."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from fwctl.errors import InputError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Stat:
    """An image that is there: its digest and its length in bytes."""

    digest: str
    length: int


class Reader(Protocol):
    """A stream of one image. `length` is known before the first byte."""

    length: int

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, b"" at the end.

        Raises WorldError E_HASH at the end when the bytes were not those of the digest.
        """
        ...

    def seek(self, offset: int, /) -> None:
        """Continue at `offset` bytes from the start, to resume a transfer.

        What was skipped is read through the hash first, so that the end still proves the whole.
        """
        ...


class Storage(Protocol):
    """Content-addressed images. Digests are `sha256:<64 lower-case hex>`."""

    def address(self, digest: str) -> str | None:
        """Return where devices may fetch an image themselves, perhaps with a secret in it; None if nowhere."""
        ...

    def put(self, digest: str, source: Path | BinaryIO) -> Stat:
        """Store the bytes of `source`; storing them again changes nothing.

        Raises InputError E_HASH when they do not have the digest (then nothing is stored), WorldError when the
        storage cannot take them.
        """
        ...

    def open(self, digest: str) -> AbstractContextManager[Reader]:
        """Open an image for streaming. Raises InputError E_STORAGE_MISSING when it is not there."""
        ...

    def exists(self, digest: str) -> bool:
        """Tell whether the image is there (its bytes are judged when they are read)."""
        ...

    def stat(self, digest: str) -> Stat:
        """Return digest and length. Raises InputError E_STORAGE_MISSING when it is not there."""
        ...


def check_digest(digest: str) -> str:
    """Return the hex part of a digest. Raises InputError E_DIGEST when it is not written as one."""
    if not _DIGEST.fullmatch(digest):
        raise InputError(
            f"this is no digest: {digest[:80]!r}",
            code="E_DIGEST",
            remedy="Write it as sha256: followed by 64 lower-case hexadecimal digits.",
        )
    return digest.removeprefix("sha256:")
