"""Git's own objects as bytes: a commit and the folders on the way to some files, to be checked without git."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from fwctl.gitrepo.command import checked, run


def object_id(kind: str, data: bytes, *, like: str) -> str:
    """Return the id of an object; `like` is an id of the repository, whose length tells the algorithm."""
    whole = f"{kind} {len(data)}\0".encode() + data
    if len(like) == 64:
        return hashlib.sha256(whole).hexdigest()
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()


def read_objects(git_dir: Path, commit: str, paths: Iterable[str]) -> dict[str, bytes]:
    """Return by id, raw: the commit, and every tree on the way to `paths`."""

    def cat(kind: str, name: str) -> bytes:
        answer = run([f"--git-dir={git_dir}", "cat-file", kind, name], cwd=git_dir)
        return checked(answer, what="read an object", place=str(git_dir)).stdout

    found = {commit: cat("commit", commit)}
    root = tree_of(found[commit])
    found[root] = cat("tree", root)
    for path in paths:
        here = root
        for part in path.split("/")[:-1]:
            here = entries(found[here], like=commit).get(part, "")
            if not here:
                break
            if here not in found:
                found[here] = cat("tree", here)
    return found


def tree_of(commit: bytes) -> str:
    """Return the root tree of a raw commit; empty if it names none."""
    line = commit.partition(b"\n")[0]
    return line.removeprefix(b"tree ").decode("ascii", "replace") if line.startswith(b"tree ") else ""


def entries(tree: bytes, *, like: str) -> dict[str, str]:
    """Return name -> id of a raw tree; what is cut off is left out."""
    size, found, at = len(like) // 2, dict[str, str](), 0
    while (end := tree.find(b"\0", at)) >= 0 and end + size < len(tree) + 1:
        name = tree[at:end].partition(b" ")[2].decode("utf-8", "surrogateescape")
        found[name] = tree[end + 1 : end + 1 + size].hex()
        at = end + 1 + size
    return found


def blob_in(objects: Mapping[str, bytes], commit: str, path: str) -> str | None:
    """Return the blob id that a commit has for `path`, walking checked objects; None if it has none.

    `objects` are raw bytes by stated id; an object that does not have its id is as good as missing.
    """
    raw = objects.get(commit, b"")
    if object_id("commit", raw, like=commit) != commit:
        return None
    here = tree_of(raw)
    for part in path.split("/"):
        tree = objects.get(here)
        if tree is None or object_id("tree", tree, like=commit) != here:
            return None
        here = entries(tree, like=commit).get(part, "")
    return here or None
