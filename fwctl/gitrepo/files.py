"""The managed files of a commit or work tree: what they are is known at once, what they say when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast

from fwctl.gitrepo.cache import Cache

SMALL: Final = 64 * 1024
"""files up to this size are read together by the first use of one of them, and kept; larger ones are read again"""
T = TypeVar("T")


class Files(Mapping[str, bytes]):
    """Bytes by path, sorted, never changing. `cache` keeps what follows from them between runs; None keeps nothing."""

    def __init__(
        self,
        blobs: Mapping[str, tuple[str, int]],
        read: Callable[[Collection[str]], Mapping[str, bytes]],
        *,
        cache: Cache | None = None,
        notice: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Take blob id and size of each path, and how to read paths together.

        `notice` is told what takes long while it does; empty when it is done.
        """
        self._blobs = dict(sorted(blobs.items()))
        self._read = read
        self._small: Mapping[str, bytes] | None = None
        self._known: dict[Hashable, Any] = {}
        self.cache = cache
        self.notice = notice

    @classmethod
    def of(
        cls,
        files: Mapping[str, bytes],
        *,
        sha256: bool = False,
        cache: Cache | None = None,
        notice: Callable[[str], None] = lambda _text: None,
    ) -> Files:
        """Return files whose bytes are there already; `sha256` says which ids the repository has."""
        from fwctl.gitrepo.worktree import blob_id

        blobs = {path: (blob_id(data, sha256=sha256), len(data)) for path, data in files.items()}
        return cls(blobs, lambda paths: {path: files[path] for path in paths}, cache=cache, notice=notice)

    def __getitem__(self, path: str) -> bytes:
        _, size = self._blobs[path]
        if size > SMALL:
            return self._read([path])[path]
        if self._small is None:
            self._small = self._read([name for name, (_, size) in self._blobs.items() if size <= SMALL])
        return self._small[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._blobs)

    def __len__(self) -> int:
        return len(self._blobs)

    def __contains__(self, path: object) -> bool:
        return path in self._blobs

    def blob_id(self, path: str) -> str:
        """Return git's id of the file's bytes. Raises KeyError when there is no such file."""
        return self._blobs[path][0]

    def once(self, what: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` made of these files when `what` was asked for first."""
        if what not in self._known:
            self._known[what] = make()
        return cast(T, self._known[what])

    def without(self, paths: Collection[str]) -> Files:
        """Return the other files."""
        left = {path: blob for path, blob in self._blobs.items() if path not in paths}
        return Files(left, self._all, cache=self.cache, notice=self.notice)

    def __or__(self, changes: Mapping[str, bytes]) -> Files:
        """Return these files with others in their place or beside them."""
        sha256 = any(len(blob) == 64 for blob, _ in self._blobs.values())
        new = Files.of(changes, sha256=sha256)

        def read(paths: Collection[str]) -> Mapping[str, bytes]:
            return {path: new[path] if path in new else self[path] for path in paths}

        return Files(self._blobs | new._blobs, read, cache=self.cache, notice=self.notice)

    def _all(self, paths: Collection[str]) -> Mapping[str, bytes]:
        return {path: self[path] for path in paths}
