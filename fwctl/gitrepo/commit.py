"""Commit a few files without hooks, filters or anything else that is staged."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from fwctl.errors import InputError, WorldError
from fwctl.gitrepo.command import Answer, checked, run
from fwctl.gitrepo.paths import check_path
from fwctl.gitrepo.worktree import open_parent


class _Git(Protocol):
    def __call__(self, *args: str, stdin: bytes | None = None, private: bool = True) -> Answer: ...


def commit_files(
    git_dir: Path,
    worktree: Path,
    files: Mapping[str, bytes],
    message: str,
    *,
    head: str,
    env: Mapping[str, str],
) -> str:
    """Write `files` below `worktree`, commit exactly them on HEAD and return the commit id.

    `head` is the commit HEAD names, "" on a branch without commits.

    Order: files, objects, branch. A crash leaves changed files that the same call commits later, never a commit
    whose files are missing from the work tree.
    """
    for path in files:
        check_path(path)
    for path, data in sorted(files.items()):
        write_file(worktree, path, data)
    index = git_dir / f"fwctl-index-{secrets.token_hex(8)}"

    def git(*args: str, stdin: bytes | None = None, private: bool = True) -> Answer:
        own = {"GIT_INDEX_FILE": str(index)} if private else {}
        where = (f"--git-dir={git_dir}", f"--work-tree={worktree}")
        answer = run([*where, *args], cwd=worktree, stdin=stdin, env={**env, **own})
        return checked(answer, what=f"commit ({args[0]})", place=str(worktree))

    try:
        return _commit(git, head, files, message)
    finally:
        index.unlink(missing_ok=True)
        Path(f"{index}.lock").unlink(missing_ok=True)


def _commit(git: _Git, head: str, files: Mapping[str, bytes], message: str) -> str:
    git("read-tree", "--end-of-options", head) if head else git("read-tree", "--empty")
    paths = sorted(files)
    # --stdin-paths without filters: the blob is the file's bytes, whatever .gitattributes says
    listing = "".join(f"{path}\n" for path in paths).encode()
    blobs = git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=listing).text().split()
    entries = "".join(f"100644 {blob}\t{path}\0" for path, blob in zip(paths, blobs, strict=True)).encode()
    git("update-index", "-z", "--index-info", stdin=entries)
    tree = git("write-tree").text()
    if head and git("rev-parse", f"{head}^{{tree}}").text() == tree:
        return head
    parents = ("-p", head) if head else ()
    commit = git("commit-tree", *parents, "-F", "-", tree, stdin=message.encode()).text()
    # the old value guards against a commit that landed meanwhile
    git("update-ref", "-m", "fwctl", "HEAD", commit, head or "0" * len(commit))
    git("update-index", "-z", "--index-info", stdin=entries, private=False)
    return commit


def write_file(root: Path, path: str, data: bytes) -> None:
    """Write one file below `root` atomically: temporary file, fsync, rename, fsync of the folder.

    Raises InputError E_PATH when a folder on the way, or the target, is a link; WorldError E_DISK when the disk
    refuses.
    """
    name = path.rpartition("/")[2]
    temporary = f".{name[:200]}.{secrets.token_hex(6)}.tmp"
    try:
        folder = open_parent(root, path, create=True)
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=folder)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            try:
                os.unlink(temporary, dir_fd=folder)
            except OSError:
                pass
            raise
        finally:
            os.close(folder)
    except InputError:
        raise
    except OSError as error:
        raise WorldError(
            f"the file could not be written: {error.strerror}",
            code="E_DISK",
            place=path,
            remedy="Check free space and permissions of the work tree, then run the command again.",
        ) from error
