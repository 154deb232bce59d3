"""Commit a few files without hooks, filters or anything else that is staged."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fwctl.errors import InputError, WorldError
from fwctl.gitrepo.command import Answer, checked, run, said
from fwctl.gitrepo.paths import check_path
from fwctl.gitrepo.worktree import open_parent


class _Git(Protocol):
    def __call__(self, *args: str, stdin: bytes | None = None, private: bool = True) -> Answer: ...


def commit_files(
    git_dir: Path,
    worktree: Path,
    files: Mapping[str, bytes | None],
    message: str,
    *,
    head: str,
    env: Mapping[str, str],
    signing: Sequence[tuple[str, str]] | None = None,
) -> str:
    """Write `files` below `worktree`, commit exactly them on HEAD and return the commit id.

    None takes a file away. `head` is the commit HEAD names, "" on a branch without commits. With `signing`, git's
    settings for it, the commit is signed. Raises InputError E_GIT_SIGNING when git cannot do that.

    Order: files, objects, branch. A crash leaves changed files that the same call commits later, never a commit
    whose files are missing from the work tree.
    """
    for path in files:
        check_path(path)
    for path, data in sorted(files.items()):
        if data is not None:
            write_file(worktree, path, data)
    for path, data in sorted(files.items()):
        if data is None:
            remove_file(worktree, path)
    index = git_dir / f"fwctl-index-{secrets.token_hex(8)}"

    def git(*args: str, stdin: bytes | None = None, private: bool = True) -> Answer:
        own = {"GIT_INDEX_FILE": str(index)} if private else {}
        where = (f"--git-dir={git_dir}", f"--work-tree={worktree}")
        answer = run([*where, *args], cwd=worktree, stdin=stdin, env={**env, **own}, config=signing or ())
        if answer.status != 0 and "-S" in args:
            raise _unsigned(answer, worktree)
        return checked(answer, what=f"commit ({args[0]})", place=str(worktree))

    try:
        return _commit(git, head, files, message, sign=signing is not None)
    finally:
        index.unlink(missing_ok=True)
        Path(f"{index}.lock").unlink(missing_ok=True)


def _commit(git: _Git, head: str, files: Mapping[str, bytes | None], message: str, *, sign: bool) -> str:
    git("read-tree", "--end-of-options", head) if head else git("read-tree", "--empty")
    paths = sorted(path for path, data in files.items() if data is not None)
    gone = sorted(path for path, data in files.items() if data is None)
    # --stdin-paths without filters: the blob is the file's bytes, whatever .gitattributes says
    listing = "".join(f"{path}\n" for path in paths).encode()
    blobs = git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=listing).text().split()
    entries = "".join(f"100644 {blob}\t{path}\0" for path, blob in zip(paths, blobs, strict=True)).encode()
    entries += "".join(f"0 {'0' * (len(head) or 40)}\t{path}\0" for path in gone).encode()
    git("update-index", "-z", "--index-info", stdin=entries)
    tree = git("write-tree").text()
    if head and git("rev-parse", f"{head}^{{tree}}").text() == tree:
        return head
    parents = ("-p", head) if head else ()
    commit = git("commit-tree", *(["-S"] if sign else []), *parents, "-F", "-", tree, stdin=message.encode()).text()
    # the old value guards against a commit that landed meanwhile
    git("update-ref", "-m", "fwctl", "HEAD", commit, head or "0" * len(commit))
    git("update-index", "-z", "--index-info", stdin=entries, private=False)
    return commit


def remove_file(root: Path, path: str) -> None:
    """Remove one file below `root`, and the folders that it leaves empty; what is gone already stays so.

    Raises InputError E_PATH when a folder on the way is a link; WorldError E_DISK when the disk refuses.
    """
    try:
        _remove(root, path, os.unlink)
        while "/" in path:
            path = path.rpartition("/")[0]
            _remove(root, path, os.rmdir)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return
        raise WorldError(
            f"the file could not be removed: {error.strerror}",
            code="E_DISK",
            place=path,
            remedy="Check the permissions of the work tree, then run the command again.",
        ) from error


def _remove(root: Path, path: str, how: Callable[..., None]) -> None:
    folder = open_parent(root, path, create=False)
    try:
        how(path.rpartition("/")[2], dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def _unsigned(answer: Answer, worktree: Path) -> InputError:
    return InputError(
        f"git could not sign the commit, as commit.gpgSign demands: {said(answer)}",
        code="E_GIT_SIGNING",
        place=str(worktree),
        remedy="See what is wrong: git commit --allow-empty -S -m test. The files are written; run the command again.",
    )


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
