"""Images in a folder: `<root>/sha256/<first two hex digits>/<hex>`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

from fwctl.errors import InputError, WorldError
from fwctl.storage.interface import Stat, check_digest

_CHUNK = 1 << 20


class FileStorage:
    """Content-addressed storage in a local folder. Constant memory, atomic writes, safe with many processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def address(self, digest: str) -> None:  # noqa: ARG002
        """No device reaches a folder."""
        return

    def put(self, digest: str, source: Path | BinaryIO) -> Stat:
        """Store the bytes under their digest: temporary file, fsync, rename, fsync of the folder.

        An image that is there already is judged again, and replaced when it has rotted. Raises InputError E_HASH
        when the bytes are not those of the digest, E_FILE when the source cannot be read, WorldError E_DISK when
        the disk refuses.
        """
        target = self._path(digest)
        if not isinstance(source, Path):
            return self._store(digest, target, source)
        try:
            stream = source.open("rb")
        except OSError as error:
            raise InputError(
                f"the image cannot be read: {error.strerror}",
                code="E_FILE",
                place=str(source),
                remedy="Name a file that exists and that you may read.",
            ) from error
        with stream:
            return self._store(digest, target, stream)

    def exists(self, digest: str) -> bool:
        """Tell whether the image is there (its bytes are judged when they are read)."""
        return self._path(digest).is_file()

    def stat(self, digest: str) -> Stat:
        """Return digest and length. Raises InputError E_STORAGE_MISSING when it is not there."""
        try:
            return Stat(digest, self._path(digest).stat().st_size)
        except FileNotFoundError as error:
            raise self._missing(digest) from error
        except OSError as error:
            raise self._disk(error) from error

    @contextmanager
    def open(self, digest: str) -> Iterator[FileReader]:
        """Open an image for streaming. Raises InputError E_STORAGE_MISSING when it is not there."""
        try:
            file = self._path(digest).open("rb")
        except FileNotFoundError as error:
            raise self._missing(digest) from error
        except OSError as error:
            raise self._disk(error) from error
        with file:
            yield FileReader(file, digest, place=str(self.root))

    def _store(self, digest: str, target: Path, stream: BinaryIO) -> Stat:
        temporary: Path | None = None
        try:
            _make_folder(target.parent)
            handle, name = mkstemp(prefix=".new-", dir=target.parent)
            temporary = Path(name)
            with os.fdopen(handle, "wb") as out:
                found, length = _copy(stream, out)
                if found != digest:
                    raise InputError(
                        f"the bytes have the digest {found}, not {digest}",
                        code="E_HASH",
                        place=str(getattr(stream, "name", "")),
                        remedy="Register the image again: the file is not the one that was hashed.",
                    )
                out.flush()
                os.fchmod(handle, 0o644)
                os.fsync(handle)
            temporary.replace(target)
            temporary = None
            _sync_folder(target.parent)
        except OSError as error:
            raise self._disk(error) from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        return Stat(digest, length)

    def _path(self, digest: str) -> Path:
        hexadecimal = check_digest(digest)
        return self.root / "sha256" / hexadecimal[:2] / hexadecimal

    def _missing(self, digest: str) -> InputError:
        return InputError(
            f"the storage does not hold {digest}",
            code="E_STORAGE_MISSING",
            place=str(self.root),
            remedy="Upload it: fwctl firmware add FILE --model MODEL --version VERSION",
        )

    def _disk(self, error: OSError) -> WorldError:
        return WorldError(
            f"the storage failed: {error.strerror}",
            code="E_DISK",
            place=str(self.root),
            remedy="Check free space and permissions of the storage folder, then run the command again.",
        )


class FileReader:
    """A stream of one stored image that proves its digest when it reaches the end."""

    def __init__(self, file: BinaryIO, digest: str, *, place: str) -> None:
        self._file = file
        self._digest = digest
        self._place = place
        self._hash = hashlib.sha256()
        self._hashed = 0
        self.length = os.fstat(file.fileno()).st_size

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, b"" at the end. Raises WorldError E_HASH at the end of wrong bytes."""
        if size < 0:
            size = max(0, self.length - self._hashed)
        try:
            data = self._file.read(size)
        except OSError as error:
            raise self._refuse(f"cannot be read: {error.strerror}", "E_DISK") from error
        self._hash.update(data)
        self._hashed += len(data)
        short = size > 0 and not data and self._hashed < self.length
        if short or self._hashed > self.length:
            raise self._refuse("changed its length while it was read", "E_HASH")
        if self._hashed == self.length and f"sha256:{self._hash.hexdigest()}" != self._digest:
            raise self._refuse(f"does not have the digest {self._digest}", "E_HASH")
        return data

    def seek(self, offset: int, /) -> None:
        """Continue at `offset`; what is skipped goes through the hash, and going back starts over."""
        if not 0 <= offset <= self.length:
            raise ValueError(f"offset {offset} is outside an image of {self.length} bytes")
        if offset < self._hashed:
            self._file.seek(0)
            self._hash, self._hashed = hashlib.sha256(), 0
        while self._hashed < offset:
            self.read(min(_CHUNK, offset - self._hashed))

    def _refuse(self, why: str, code: str) -> WorldError:
        return WorldError(
            f"an image in the storage {why}",
            code=code,
            place=self._place,
            remedy="The storage is damaged or was tampered with: upload the image again with fwctl firmware add.",
        )


def _copy(stream: BinaryIO, out: BinaryIO) -> tuple[str, int]:
    hashing, length = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        hashing.update(chunk)
        out.write(chunk)
        length += len(chunk)
    return f"sha256:{hashing.hexdigest()}", length


def _make_folder(folder: Path) -> None:
    """Make the folder and its parents, each durable before something is put into it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
