"""Open a repository: a local one where it lies, a remote one through a mirror that heals itself."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from fwctl.errors import InputError, WorldError
from fwctl.gitrepo.command import FETCH_TIMEOUT, Answer, checked, run, run_discovering, said
from fwctl.gitrepo.location import Local, Remote, check_host, parse_location, redact
from fwctl.gitrepo.repo import Repo

_REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


def open_repo(location: str, *, cache: Path) -> Repo:
    """Open the repository at a path, or bring its mirror under `cache` up to date and open that.

    The environment's `FWCTL_GIT_HOSTS` may name the only hosts to fetch from.

    Raises InputError E_GIT_URL for an address outside the allow-list, E_GIT_REPO when a path holds no repository,
    WorldError E_GIT_FETCH when the remote cannot be fetched (never taken for an empty repository).
    """
    where = parse_location(location)
    if isinstance(where, Local):
        return _open_local(where.path)
    check_host(where, os.environ.get("FWCTL_GIT_HOSTS"))
    return Repo(_mirrored(where, cache), None, where.url)


def init(path: Path) -> Repo:
    """Make an empty repository with the branch `main` at `path`, or open the one that is there."""
    path.mkdir(parents=True, exist_ok=True)
    checked(run(["init", "--quiet", "-b", "main", "--template="], cwd=path), what="init", place=str(path))
    return _open_local(path)


def _open_local(path: Path) -> Repo:
    if not path.is_dir():
        raise _no_repo(path)
    path = path.resolve()
    facts = ["--path-format=absolute", "--git-dir", "--is-bare-repository"]
    answer = run_discovering(["rev-parse", *facts], cwd=path)
    if answer.status != 0 and "not a git repository" in answer.stderr:
        raise _no_repo(path)
    lines = checked(answer, what="open the repository", place=str(path)).text().split("\n")
    git_dir, bare = Path("\n".join(lines[:-1])), lines[-1] == "true"
    if bare:
        return Repo(git_dir, None, str(path))
    top = run_discovering(["rev-parse", "--path-format=absolute", "--show-toplevel"], cwd=path)
    worktree = Path(checked(top, what="find the work tree", place=str(path)).text())
    return Repo(git_dir, worktree, str(worktree))


def _mirrored(remote: Remote, cache: Path) -> Path:
    """Return the folder of an up-to-date mirror of `remote`."""
    mirror = cache / f"{hashlib.sha256(remote.url.encode()).hexdigest()[:32]}.git"
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(mirror):
            if not (mirror.is_dir() and _fetch(remote, mirror) and _sound(mirror)):
                _clone(remote, mirror)
    except OSError as error:
        raise WorldError(
            f"the mirror could not be written: {error.strerror}",
            code="E_DISK",
            place=str(cache),
            remedy="Check free space and permissions of the cache folder, then run the command again.",
        ) from error
    return mirror


@contextmanager
def _locked(mirror: Path) -> Iterator[None]:
    """Hold the mirror alone, and clear what a killed process left: with our lock held, git's locks are stale."""
    handle = os.open(f"{mirror}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for stale in mirror.parent.glob(f"{mirror.name}.new-*"):
            shutil.rmtree(stale, ignore_errors=True)
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/incoming-*", "objects/tmp_objdir-*"):
            for stale in mirror.glob(pattern):
                shutil.rmtree(stale, ignore_errors=True) if stale.is_dir() else stale.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def _sound(mirror: Path) -> bool:
    """Tell whether the mirror has a HEAD and every object its branches need at their tips."""
    head = run(["--git-dir=.", "rev-parse", "--verify", "--quiet", "HEAD^{commit}"], cwd=mirror)
    tips = ["--git-dir=.", "rev-list", "--quiet", "--objects", "--no-walk", "--all"]
    return head.status == 0 and run(tips, cwd=mirror).status == 0


def _fetch(remote: Remote, mirror: Path) -> bool:
    """Fetch into the mirror; False when it is the mirror that is broken, so that a new clone may help."""
    options = ("--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
    answer = run(
        ["--git-dir=.", "fetch", *options, "--end-of-options", remote.url, *_REFSPECS],
        cwd=mirror,
        protocol=remote.protocol,
        timeout=FETCH_TIMEOUT,
    )
    if answer.status == 0:
        return True
    if run(["--git-dir=.", "fsck", "--connectivity-only", "--no-dangling"], cwd=mirror).status != 0:
        return False
    raise _unreachable(remote, answer)


def _clone(remote: Remote, mirror: Path) -> None:
    """Clone beside the mirror and swap, so that a half-made clone is never taken for one."""
    fresh = Path(mkdtemp(prefix=f"{mirror.name}.new-", dir=mirror.parent))
    try:
        answer = run(
            [
                "clone",
                "--quiet",
                "--bare",
                "--no-local",
                "--template=",
                "--end-of-options",
                remote.url,
                str(fresh.absolute()),
            ],
            cwd=mirror.parent,
            protocol=remote.protocol,
            timeout=FETCH_TIMEOUT,
        )
        if answer.status != 0:
            raise _unreachable(remote, answer)
        if mirror.exists():
            mirror.rename(fresh.with_name(f"{fresh.name}-old"))
        fresh.rename(mirror)
    finally:
        for left in mirror.parent.glob(f"{mirror.name}.new-*"):
            shutil.rmtree(left, ignore_errors=True)


def _unreachable(remote: Remote, answer: Answer) -> WorldError:
    return WorldError(
        f"the repository could not be fetched: {said(answer)}",
        code="E_GIT_FETCH",
        place=redact(remote.url),
        remedy=f"Check address, network and access: git ls-remote {redact(remote.url)}",
    )


def _no_repo(path: Path) -> InputError:
    return InputError(
        "there is no git repository here",
        code="E_GIT_REPO",
        place=str(path),
        remedy="Change into a clone of the fleet repository, or make one: fwctl init",
    )
