"""The dirty work tree: read only when told to, by the rules that hold for commits."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from fwctl.errors import InputError
from fwctl.gitrepo.command import checked, run_discovering
from fwctl.gitrepo.paths import (
    MAX_FILE,
    check_collisions,
    check_path,
    check_sizes,
    is_managed,
    path_error,
)


def worktree_files(root: Path) -> dict[str, bytes]:
    """Return the managed files as they lie in the work tree at `root`, sorted by path; ignored files stay out.

    Raises InputError E_PATH for links, special files and odd names, E_SIZE for too much, E_GIT_REPO when `root`
    is no work tree.
    """
    answer = run_discovering(["ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root)
    if answer.status == 128 and "not a git repository" in answer.stderr:
        raise InputError(
            "this is no git work tree",
            code="E_GIT_REPO",
            place=str(root),
            remedy="Change into a clone of the fleet repository, or make one: fwctl init",
        )
    listing = checked(answer, what="list the work tree", place=str(root)).stdout
    names = {os.fsdecode(raw) for raw in listing.split(b"\0") if raw}
    managed = sorted(check_path(name) for name in names if is_managed(name))
    check_collisions(managed)
    found = {name: read for name in managed if (read := _read(root, name)) is not None}
    check_sizes((name, len(data)) for name, data in found.items())
    return found


def changed_files(root: Path, committed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the managed paths whose bytes differ from the committed blobs, sorted.

    Blob ids are computed here: `git status` would run the filters of the repository's configuration.
    """
    sha256 = any(len(blob) == 64 for blob in committed.values())
    now = {path: blob_id(data, sha256=sha256) for path, data in worktree_files(root).items()}
    return tuple(sorted(path for path in now.keys() | committed.keys() if now.get(path) != committed.get(path)))


def open_parent(root: Path, path: str, *, create: bool) -> int:
    """Open the folder of `path` below `root` without following a link; the caller closes the descriptor.

    Raises InputError E_PATH when a folder on the way is a link or a file, FileNotFoundError when it is missing
    and `create` is off.
    """
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for segment in path.split("/")[:-1]:
            if create:
                try:
                    os.mkdir(segment, dir_fd=at)
                    os.fsync(at)
                except FileExistsError:
                    pass
            below = os.open(segment, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
    except OSError as error:
        os.close(at)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise path_error(path, "a folder on its way is a symbolic link or a file") from error
        raise
    return at


def _read(root: Path, path: str) -> bytes | None:
    """Return the bytes of one file, or None when it is listed but deleted."""
    try:
        folder = open_parent(root, path, create=False)
    except FileNotFoundError:
        return None
    try:
        handle = os.open(path.rpartition("/")[2], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise path_error(path, "it is a symbolic link") from error
        raise path_error(path, f"it cannot be read ({os.strerror(error.errno or 0)})") from error
    finally:
        os.close(folder)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise path_error(path, "it is not a plain file")
        data = file.read(MAX_FILE + 1)
    check_sizes([(path, len(data))])
    return data


def blob_id(data: bytes, *, sha256: bool) -> str:
    """Return the id that git gives these bytes."""
    head = b"blob %d\0" % len(data)
    digest = hashlib.sha256() if sha256 else hashlib.sha1(usedforsecurity=False)
    digest.update(head)
    digest.update(data)
    return digest.hexdigest()
