"""Disk access for a real device, and the same in memory for dense simulations."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from fwctl_agent.runtime.ports import Stream


class StepwiseFs(ABC):
    """The order of the steps that makes a write durable, over primitives that a test can interrupt one by one."""

    def replace(self, path: str, data: bytes) -> None:
        temporary = path + ".new"
        stream = self._create(temporary)
        try:
            stream.write(data)
            stream.sync()
        finally:
            stream.close()
        self._rename(temporary, path)
        self._sync_folder(path.rpartition("/")[0])

    def open(self, path: str, offset: int) -> Stream:
        stream = self._open_at(path, offset)
        try:
            self._sync_folder(path.rpartition("/")[0])
        except OSError:
            stream.close()
            raise
        return stream

    def link(self, path: str, target: str) -> None:
        self._symlink(path + ".new", target)
        self._rename(path + ".new", path)

    @abstractmethod
    def _create(self, path: str) -> Stream: ...

    @abstractmethod
    def _open_at(self, path: str, offset: int) -> Stream: ...

    @abstractmethod
    def _rename(self, path: str, onto: str) -> None: ...

    @abstractmethod
    def _sync_folder(self, folder: str) -> None: ...

    @abstractmethod
    def _symlink(self, path: str, target: str) -> None: ...


class OsFs(StepwiseFs):
    """Files below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        try:
            file = (self._root / path).open("rb", buffering=0)
        except FileNotFoundError:
            return
        with file:
            while piece := file.read(size):
                yield piece

    def _create(self, path: str) -> Stream:
        return self._open_at(path, 0)

    def _open_at(self, path: str, offset: int) -> Stream:
        # O_NOFOLLOW: a link in the place of a slot or journal is somebody's trap.
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._root / path, flags, 0o600)
        try:
            os.ftruncate(descriptor, offset)
            os.lseek(descriptor, offset, os.SEEK_SET)
        except OSError:
            os.close(descriptor)
            raise
        return OsStream(descriptor)

    def _rename(self, path: str, onto: str) -> None:
        (self._root / path).replace(self._root / onto)

    def _sync_folder(self, folder: str) -> None:
        descriptor = os.open(self._root / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _symlink(self, path: str, target: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._root / path).unlink()
        (self._root / path).symlink_to(target)


class OsStream:
    """One descriptor, written in order."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class MemoryFs:
    """Files in a dictionary, gone with the process; `below` is read where nothing was written yet."""

    def __init__(self, below: Path | None = None) -> None:
        self._below = below
        self._files: dict[str, bytes | bytearray] = {}
        # Most devices start with nothing but their image: looking once spares them six looks at missing files.
        self._blank = below is None or not (below / "state").is_dir()

    def read(self, path: str) -> bytes | None:
        if path in self._files:
            return bytes(self._files[path])
        if self._below is None or (self._blank and path.startswith("state/")):
            return None
        return OsFs(self._below).read(path)

    def replace(self, path: str, data: bytes) -> None:
        self._files[path] = bytes(data)

    def open(self, path: str, offset: int) -> Stream:
        content = bytearray((self.read(path) or b"")[:offset].ljust(offset, b"\0"))
        self._files[path] = content
        return MemoryStream(content)

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        content = self.read(path) or b""
        for start in range(0, len(content), size):
            yield content[start : start + size]

    def link(self, path: str, target: str) -> None:
        self._files[path] = target.encode()

    def settle(self, pool: Pool) -> None:
        """Give up what only writers need; nobody may hold a stream. Equal files in `pool` are stored once."""
        for path, content in self._files.items():
            self._files[path] = pool.one(bytes(content))


class Pool:
    """Equal bytes as one object, for the newest `size` of them."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._known: dict[bytes, bytes] = {}

    def one(self, data: bytes) -> bytes:
        known = self._known.pop(data, data)
        self._known[known] = known
        if len(self._known) > self._size:
            del self._known[next(iter(self._known))]
        return known


class MemoryStream:
    """Appends to one file of a `MemoryFs`."""

    def __init__(self, content: bytearray) -> None:
        self._content = content

    def write(self, data: bytes) -> None:
        self._content += data

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass
