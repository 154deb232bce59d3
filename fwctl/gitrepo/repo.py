"""One repository: names to commits, history, and commits of our own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NewType

from fwctl.errors import InputError, TrustRefused
from fwctl.gitrepo.command import Answer, checked, failure, run, user_config
from fwctl.gitrepo.commit import commit_files
from fwctl.gitrepo.location import check_ref
from fwctl.gitrepo.paths import check_path
from fwctl.gitrepo.tree import Tree
from fwctl.gitrepo.worktree import changed_files

CommitId = NewType("CommitId", str)

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SIGN_PROGRAMS = {"gpg.openpgp.program": "gpg", "gpg.ssh.program": "ssh-keygen", "gpg.x509.program": "gpgsm"}
_FORMAT = "%H%x00%an%x00%ae%x00%at%x00%s"
_LAST = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class Commit:
    """Who recorded a commit and when (`time` is UTC); provenance, not proof."""

    id: CommitId
    name: str
    email: str
    time: datetime
    subject: str


def time_told(text: str) -> datetime:
    """Return the time that a commit tells. Whoever writes one may tell any: the nearest that there is is taken.

    1970 stands for none.
    """
    try:
        return datetime.fromtimestamp(min(int(text), _LAST), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


class Repo:
    """A local repository or the mirror of a remote one. `worktree` is None when there is nothing to edit."""

    def __init__(self, git_dir: Path, worktree: Path | None, origin: str) -> None:
        self.git_dir = git_dir
        self.worktree = worktree
        self.origin = origin

    def resolve(self, ref: str) -> CommitId:
        """Return the commit that a branch, tag or commit id names.

        Raises InputError E_GIT_URL when the text is no name, E_GIT_EMPTY without any commit, E_GIT_REF when
        nothing has that name.
        """
        check_ref(ref)
        answer = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        commit = answer.text()
        if answer.status == 0 and _COMMIT.fullmatch(commit):
            return CommitId(commit)
        if ref == "HEAD" and self._unborn():
            raise InputError(
                "the repository has no commits yet",
                code="E_GIT_EMPTY",
                place=self.origin,
                remedy="Commit your manifests first: git add . && git commit",
            )
        if ref == "HEAD":  # a HEAD that leads nowhere is damage, never "empty"
            raise failure(answer, what="read HEAD", place=self.origin)
        raise InputError(
            f"no branch, tag or commit is called {ref!r}",
            code="E_GIT_REF",
            place=self.origin,
            remedy="List the names there are: git branch -a; git tag",
        )

    def head(self) -> CommitId:
        """Return the commit that HEAD names. Raises InputError E_GIT_EMPTY when there is none."""
        return self.resolve("HEAD")

    def tree(self, commit: CommitId) -> Tree:
        """Return the managed files of a commit; nothing is read before it is asked for."""
        return Tree(self.git_dir, commit)

    def file(self, commit: CommitId, path: str) -> bytes | None:
        """Return one file of a commit without listing the others; None where it is no plain file or not there."""
        entry = self._git("ls-tree", "-z", "--end-of-options", commit, "--", check_path(path)).stdout
        mode, _, rest = entry.partition(b" ")
        if mode not in (b"100644", b"100755"):
            return None
        blob = rest.split(b"\t")[0].split()[-1].decode("ascii")
        return checked(self._git("cat-file", "blob", blob), what="read a file", place=self.origin).stdout

    def is_ancestor(self, older: CommitId, newer: CommitId) -> bool:
        """Tell whether `newer` descends from `older` (or is it).

        A commit the repository does not hold is nobody's ancestor. Raises InputError E_GIT_SHALLOW when the
        clone was cut off, so that the question has no answer.
        """
        known = self._git("cat-file", "-e", f"{older}^{{commit}}").status == 0
        answer = self._git("merge-base", "--is-ancestor", older, newer) if known else None
        if answer is not None and answer.status == 0:
            return True
        if self.is_shallow():
            raise InputError(
                "the clone is shallow, so its history cannot be checked",
                code="E_GIT_SHALLOW",
                place=self.origin,
                remedy="git fetch --unshallow (in CI: fetch the whole history, fetch-depth: 0)",
            )
        if answer is not None and answer.status != 1:
            checked(answer, what="walk the history", place=self.origin)
        return False

    def is_shallow(self) -> bool:
        """Tell whether a part of the history was cut off."""
        return self._git("rev-parse", "--is-shallow-repository").text() == "true"

    def require_descent(self, last_applied: CommitId, commit: CommitId) -> None:
        """Refuse a commit that does not descend from the last applied one (DESIGN section 7).

        Raises TrustRefused E_GIT_REWIND after a force-push, a rewind or an unrelated history.
        """
        if not self.is_ancestor(last_applied, commit):
            raise TrustRefused(
                f"{commit[:12]} does not descend from {last_applied[:12]}, which was applied last",
                code="E_GIT_REWIND",
                place=self.origin,
                remedy="Find out who rewrote the history; put the applied commit back and add to it.",
            )

    def author(self, commit: CommitId) -> Commit:
        """Return who recorded the commit."""
        return self._log("-1", "--end-of-options", commit)[0]

    def log(self, path: str, n: int, *, ref: str = "HEAD") -> tuple[Commit, ...]:
        """Return at most `n` commits that touched `path`, newest first."""
        commit = self.resolve(ref)
        return self._log(f"-{max(1, n):d}", "--end-of-options", commit, "--", check_path(path))

    def dirty(self) -> tuple[str, ...]:
        """Return the managed paths whose bytes differ between HEAD and the work tree, sorted.

        A repository without a work tree is never dirty; without commits every file is new.
        """
        if self.worktree is None:
            return ()
        return changed_files(self.worktree, self._committed())

    def commit_files(self, files: Mapping[str, bytes | None], message: str) -> CommitId:
        """Write the files into the work tree and commit them alone, leaving the rest of the index as it is.

        None takes a file away. Each file is written atomically before the branch moves; equal content makes no
        commit. Raises InputError E_GIT_BARE without a work tree, E_GIT_IDENTITY when git does not know who the user
        is, E_GIT_SIGNING when the user's commits are signed and git cannot do that, E_PATH for a path that leads out
        of the work tree or through a link.
        """
        if self.worktree is None:
            raise InputError(
                "there is no work tree to commit in",
                code="E_GIT_BARE",
                place=self.origin,
                remedy="Run this in a clone of the repository.",
            )
        identity, head = self._identity(), self._head_or_none()
        where, signing = (self.git_dir, self.worktree), self._signing()
        return CommitId(commit_files(*where, files, message, head=head or "", env=identity, signing=signing))

    def push_command(self) -> str:
        """Return what hands the commits of this branch to others; empty where nobody takes them."""
        branch = self._git("symbolic-ref", "--quiet", "--short", "HEAD") if self.worktree is not None else None
        if branch is None or branch.status != 0:
            return ""
        name = branch.text()
        if self._git("config", "--get", f"branch.{name}.remote").status == 0:
            return "git push"
        remotes = self._git("remote").text().split()
        return f"git push -u origin {name}" if "origin" in remotes else ""

    def user(self) -> str:
        """Return the name that commits of this user carry. Raises InputError E_GIT_IDENTITY when git has none."""
        return self._identity()["GIT_AUTHOR_NAME"]

    def _unborn(self) -> bool:
        branch = self._git("symbolic-ref", "--quiet", "HEAD")
        if branch.status != 0:
            return False
        return not self._git("for-each-ref", "--format=%(refname)", branch.text()).stdout

    def _committed(self) -> Mapping[str, str]:
        head = self._head_or_none()
        return self.tree(head).paths() if head else {}

    def _head_or_none(self) -> CommitId | None:
        try:
            return self.head()
        except InputError as error:
            if error.code == "E_GIT_EMPTY":
                return None
            raise

    def _log(self, *args: str) -> tuple[Commit, ...]:
        answer = checked(
            self._git("log", "-z", f"--format={_FORMAT}", "--no-color", "--no-show-signature", *args),
            what="read the history",
            place=self.origin,
        )
        parts = answer.stdout.decode("utf-8", "replace").removesuffix("\0").split("\0")
        rows = [parts[at : at + 5] for at in range(0, len(parts) - 4, 5)]
        return tuple(Commit(CommitId(i), n, e, time_told(t), s) for i, n, e, t, s in rows)

    def _identity(self) -> dict[str, str]:
        """Return the user's identity for git: the environment first, then the user's own configuration."""
        env: dict[str, str] = {}
        for variable, key in (("NAME", "user.name"), ("EMAIL", "user.email")):
            configured = (user_config(key, cwd=self.worktree or self.git_dir) or ("",))[-1]
            for role in ("AUTHOR", "COMMITTER"):
                env[f"GIT_{role}_{variable}"] = os.environ.get(f"GIT_{role}_{variable}") or configured
        if not all(value.strip() for value in env.values()):
            raise InputError(
                "git does not know who you are",
                code="E_GIT_IDENTITY",
                place=self.origin,
                remedy='git config --global user.name "Your Name" && git config --global user.email you@example.org',
            )
        return env

    def _signing(self) -> tuple[tuple[str, str], ...] | None:
        """Return the user's settings for signing commits; None where the user's commits are not signed.

        Programs are taken from the user's own configuration only: a repository may come from anywhere.
        """
        here = self.worktree or self.git_dir
        if (user_config("commit.gpgSign", cwd=here) or ("",))[-1].casefold() not in ("true", "yes", "on", "1"):
            return None
        found = [(key, user_config(key, cwd=here)) for key in ("gpg.format", "user.signingKey")]
        for key, usual in _SIGN_PROGRAMS.items():
            other = "gpg.program" if key == "gpg.openpgp.program" else key
            own = user_config(key, cwd=Path("/")) or user_config(other, cwd=Path("/"))
            found.append((key, own or (usual,)))
        found.append(("gpg.ssh.defaultKeyCommand", user_config("gpg.ssh.defaultKeyCommand", cwd=Path("/")) or ("",)))
        return tuple((key, values[-1]) for key, values in found if values)

    def _git(self, *args: str) -> Answer:
        return run([f"--git-dir={self.git_dir}", *args], cwd=self.git_dir)
