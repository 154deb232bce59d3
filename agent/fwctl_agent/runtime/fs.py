"""Disk access for a real device, and the same in memory for dense simulations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from fwctl_agent.runtime.ports import Stream


class OsFs:
    """Files below one folder. Small steps, each of which a test can interrupt."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def replace(self, path: str, data: bytes) -> None:
        target = self._root / path
        temporary = target.with_name(target.name + ".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        stream = OsStream(os.open(temporary, flags, 0o600))
        try:
            stream.write(data)
            stream.sync()
        finally:
            stream.close()
        temporary.replace(target)
        self._sync_folder(target.parent)

    def open(self, path: str, offset: int) -> Stream:
        target = self._root / path
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(target, flags, 0o600)
        try:
            os.ftruncate(descriptor, offset)
            os.lseek(descriptor, offset, os.SEEK_SET)
            self._sync_folder(target.parent)
        except OSError:
            os.close(descriptor)
            raise
        return OsStream(descriptor)

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        try:
            file = (self._root / path).open("rb", buffering=0)
        except FileNotFoundError:
            return
        with file:
            while piece := file.read(size):
                yield piece

    def link(self, path: str, target: str) -> None:
        temporary = self._root / (path + ".new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(target)
        temporary.replace(self._root / path)

    def _sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
        self._files: dict[str, bytearray] = {}

    def read(self, path: str) -> bytes | None:
        if path in self._files:
            return bytes(self._files[path])
        return OsFs(self._below).read(path) if self._below else None

    def replace(self, path: str, data: bytes) -> None:
        self._files[path] = bytearray(data)

    def open(self, path: str, offset: int) -> Stream:
        content = bytearray((self.read(path) or b"")[:offset].ljust(offset, b"\0"))
        self._files[path] = content
        return MemoryStream(content)

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        content = self.read(path) or b""
        for start in range(0, len(content), size):
            yield content[start : start + size]

    def link(self, path: str, target: str) -> None:
        self._files[path] = bytearray(target.encode())


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
