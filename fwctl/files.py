"""Write files so that a crash leaves the old one or the new one, never half of it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fwctl.errors import InputError, WorldError


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` with `data`: temporary file, fsync, rename, fsync of the folder.

    Raises:
        WorldError: `E_DISK` when the file system refuses.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, mode)
                file.write(data)
                file.flush()
                os.fsync(handle)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_private(path: Path, data: bytes) -> None:
    """Like `write_atomic`, readable by the owner alone, in a folder of mode 0700."""
    make_private(path.parent)
    write_atomic(path, data, mode=0o600)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the owner alone, whatever the umask says.

    Raises:
        WorldError: `E_DISK` when the file system refuses.
    """
    with disk_errors(folder):
        for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)


def write_folders(folders: Iterable[tuple[Path, Mapping[str, bytes]]], *, private: Iterable[str]) -> None:
    """Make new folders, all of them at once: each is complete or not there, whenever the power fails.

    Every folder is written beside its place; then one wait makes the file system durable, which costs far less than
    one for every file; then they are renamed, and the folders that hold them are made durable. When this returns, all
    of it is on the disk. Files whose path is in `private`, and the folders that hold them, are for the owner alone.

    Raises:
        WorldError: `E_DISK` when the file system refuses; folders may then be there, complete, or not.
    """
    hidden = frozenset(private)
    beside: dict[Path, Path] = {}
    try:
        for folder, files in folders:
            beside[folder] = folder.with_name(f".{folder.name}.new")
            with disk_errors(folder):
                _write_new(beside[folder], files, hidden)
        for parent in {folder.parent for folder in beside}:
            with disk_errors(parent):
                sync_file_system(parent)
        for folder, fresh in beside.items():
            with disk_errors(folder):
                fresh.rename(folder)
    except BaseException:
        for fresh in beside.values():
            shutil.rmtree(fresh, ignore_errors=True)
        raise
    for parent in {folder.parent for folder in beside}:
        with disk_errors(parent):
            sync_folder(parent)


def _write_new(folder: Path, files: Mapping[str, bytes], private: frozenset[str]) -> None:
    """Write a folder that nobody relies on yet; one of that name was left by a process that was killed."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    made = {""}
    for path in sorted(files, key=lambda path: path not in private):
        inner = path.rpartition("/")[0]
        if inner not in made:
            (folder / inner).mkdir(mode=0o700 if path in private else 0o777, parents=True, exist_ok=True)
            made.add(inner)
        handle = os.open(f"{folder}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o600 if path in private else 0o644)
            file.write(files[path])


def sync_file_system(folder: Path) -> None:
    """Make everything durable that was written to the file system of `folder`.

    `os.sync` would wait for every other file system too, and never says that something could not be written.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if syncfs(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_input(path: Path, *, remedy: str = "Check the path.", most: int = -1) -> bytes:
    """Read a file that the user named.

    Of a file that should be small, `most` bytes and one more are read: enough to see that it is not.

    Raises:
        InputError: `E_NO_FILE` if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(most + 1 if most >= 0 else -1)
    except OSError as error:
        raise InputError(
            f"cannot read it: {error.strerror or error}", code="E_NO_FILE", place=str(path), remedy=remedy
        ) from error


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error with a remedy."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise WorldError(
            f"cannot write: {error.strerror or error}",
            code="E_DISK",
            place=str(path),
            remedy="Free some space and run the command again." if full else "Check the folder and its permissions.",
        ) from error
