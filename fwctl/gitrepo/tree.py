"""The managed files of one commit, read blob by blob from the object store; a work tree is never touched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from fwctl.errors import InputError, WorldError
from fwctl.gitrepo.cache import Cache
from fwctl.gitrepo.command import Answer, checked, run
from fwctl.gitrepo.files import Files
from fwctl.gitrepo.paths import check_collisions, check_path, check_sizes, is_managed, path_error, shown

_KINDS = {"120000": "a symbolic link", "160000": "a submodule"}


class _Blob(NamedTuple):
    id: str
    size: int


class Tree:
    """What one commit holds under the managed folders."""

    def __init__(self, git_dir: Path, commit: str) -> None:
        self._folder = git_dir
        self.commit = commit

    @cached_property
    def _blobs(self) -> dict[str, _Blob]:
        listing = checked(
            self._git("ls-tree", "-r", "-z", "-l", "--full-tree", "--end-of-options", self.commit),
            what="list the commit",
            place=str(self._folder),
        )
        entries = _entries(listing.stdout)
        blobs = dict(entries)
        if len(blobs) != len(entries):
            twice = next(path for path, blob in entries if blobs[path] is not blob)
            raise path_error(twice, "the commit holds it twice")
        if any(blob.size < 0 for blob in blobs.values()):
            raise _damaged(self._folder)
        check_collisions(blobs)
        return blobs

    def paths(self) -> Mapping[str, str]:
        """Return the managed paths with their blob ids, sorted.

        Raises InputError E_PATH for a link, a submodule or a name that is not the same on every system.
        """
        return MappingProxyType({path: blob.id for path, blob in sorted(self._blobs.items())})

    def read(self, path: str) -> bytes:
        """Return the bytes of one file as committed (no filter, no line-end conversion).

        Raises InputError E_PATH_MISSING when the commit does not hold it.
        """
        if path not in self._blobs:
            raise InputError(
                "the commit does not hold this file",
                code="E_PATH_MISSING",
                place=shown(path),
                remedy=f"List what it holds: git ls-tree -r {self.commit[:12]}",
            )
        return self.read_all(lambda name: name == path)[path]

    def read_all(self, predicate: Callable[[str], bool] = lambda _path: True) -> dict[str, bytes]:
        """Return the bytes of all managed files whose path satisfies `predicate`, through one git process.

        Raises InputError E_SIZE when they are too large, WorldError E_GIT when the object store is damaged.
        """
        wanted = {path: blob for path, blob in sorted(self._blobs.items()) if predicate(path)}
        if not wanted:
            return {}
        check_sizes((path, blob.size) for path, blob in wanted.items())
        unique = dict.fromkeys(blob.id for blob in wanted.values())
        answer = self._git("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in unique).encode())
        contents = _split_batch(checked(answer, what="read files", place=str(self._folder)).stdout)
        if len(contents) != len(unique):
            raise _damaged(self._folder)
        return {path: contents[blob.id] for path, blob in wanted.items()}

    def files(self, *, cache: Cache | None = None, notice: Callable[[str], None] = lambda _text: None) -> Files:
        """Return all managed files: their ids now, their bytes when they are asked for.

        Raises InputError E_PATH and E_SIZE, WorldError E_GIT when a file is missing in the object store.
        """
        check_sizes((path, blob.size) for path, blob in self._blobs.items())

        def read(paths: Collection[str]) -> Mapping[str, bytes]:
            wanted = frozenset(paths)
            return self.read_all(wanted.__contains__)

        return Files(self._blobs, read, cache=cache, notice=notice)

    def _git(self, *args: str, stdin: bytes | None = None) -> Answer:
        return run([f"--git-dir={self._folder}", *args], cwd=self._folder, stdin=stdin)


def _entries(listing: bytes) -> list[tuple[str, _Blob]]:
    found = []
    for line in listing.split(b"\0"):
        if not line:
            continue
        head, _, raw = line.partition(b"\t")
        mode, _kind, blob, size = head.decode("ascii").split()
        path = raw.decode("utf-8", "surrogateescape")
        if not is_managed(path):
            continue
        check_path(path)
        if mode in _KINDS:
            raise path_error(path, f"it is {_KINDS[mode]}")
        # git prints BAD for a blob it does not have
        found.append((path, _Blob(blob, int(size) if size.isdecimal() else -1)))
    return found


def _split_batch(out: bytes) -> dict[str, bytes]:
    """Split the output of `cat-file --batch`: `<id> blob <size>LF<bytes>LF`, again and again."""
    contents: dict[str, bytes] = {}
    at = 0
    while at < len(out):
        end = out.find(b"\n", at)
        parts = out[at:end].split()
        if end == -1 or len(parts) != 3 or parts[1] != b"blob":
            return {}
        size = int(parts[2])
        contents[parts[0].decode("ascii")] = out[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return contents


def _damaged(folder: Path) -> WorldError:
    return WorldError(
        "the repository lacks objects that its commits name",
        code="E_GIT",
        place=str(folder),
        remedy="Run `git fsck` in the repository; if it reports damage, clone it again.",
    )
