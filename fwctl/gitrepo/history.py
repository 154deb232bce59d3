"""What files held in all commits that one follows from, merged branches included: to find what was taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from fwctl.gitrepo.command import Answer, checked, run
from fwctl.gitrepo.paths import check_path
from fwctl.gitrepo.repo import CommitId, Repo

_LARGEST: Final = 1 << 20
_ENTRY: Final = re.compile(r":\d{6} 100(?:644|755) [0-9a-f]+ (?P<blob>[0-9a-f]+) \w+\t(?P<path>.+)")
_SIZE: Final = re.compile(r"(?P<blob>[0-9a-f]+) blob (?P<size>\d+)")


def contents(repo: Repo, commit: CommitId, paths: Sequence[str]) -> Iterator[tuple[CommitId, str, bytes]]:
    """Yield every content that files had in a commit or before, newest first: commit, path, bytes. Each one once.

    Files of more than a megabyte are left out, and so is what a shallow clone does not hold.
    """
    what = ["log", "--full-history", "-m", "--raw", "--no-abbrev", "--no-renames", "--no-show-signature", "--format=%H"]
    log = _git(repo, *what, "--end-of-options", commit, "--", *map(check_path, paths))
    first: dict[tuple[str, str], CommitId] = {}
    at = commit
    for line in log.stdout.decode("utf-8", "replace").splitlines():
        if found := _ENTRY.fullmatch(line):
            first.setdefault((found["path"], found["blob"]), at)
        elif line:
            at = CommitId(line)
    blobs = _blobs(repo, dict.fromkeys(blob for _, blob in first))
    yield from ((commit, path, blobs[blob]) for (path, blob), commit in first.items() if blob in blobs)


def _blobs(repo: Repo, names: Sequence[str] | dict[str, None]) -> dict[str, bytes]:
    asked = "\n".join(names).encode()
    sizes = _git(repo, "cat-file", "--batch-check", stdin=asked).text().splitlines() if names else []
    known = {found["blob"]: int(found["size"]) for line in sizes if (found := _SIZE.fullmatch(line))}
    small = [blob for blob, size in known.items() if size <= _LARGEST]
    raw = _git(repo, "cat-file", "--batch", stdin="\n".join(small).encode()).stdout if small else b""
    read: dict[str, bytes] = {}
    for blob in small:
        begin = raw.index(b"\n") + 1
        read[blob], raw = raw[begin : begin + known[blob]], raw[begin + known[blob] + 1 :]
    return read


def _git(repo: Repo, *args: str, stdin: bytes | None = None) -> Answer:
    return checked(run(args, cwd=repo.git_dir, stdin=stdin), what="read the history", place=repo.origin)
