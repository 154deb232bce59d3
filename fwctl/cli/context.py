"""What every command shares: which repository, whose keys, where the state is, and how to speak."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from fwctl.gitrepo import Cache, CommitId, Files, Repo
    from fwctl.reconcile.commit import CommitState
    from fwctl.reconcile.setting import Setting
    from fwctl.state import Ledger
    from fwctl.trust.authority import Authority
    from fwctl.trust.keystore import KeyStore


@dataclass(frozen=True)
class Context:
    """The global options, and what follows from them. Nothing is opened before it is asked for."""

    location: str = "."
    state: Path | None = None
    config: Path | None = None

    @staticmethod
    def now() -> datetime:
        """Return the time in UTC, whole seconds: every command reads the clock through here."""
        return datetime.now(UTC)

    @cached_property
    def repo(self) -> Repo:
        """The fleet repository: a local work tree, or the mirror of a remote one."""
        from platformdirs import user_cache_path

        from fwctl.gitrepo import open_repo

        return open_repo(self.location, cache=(self.state or user_cache_path("fwctl")) / "mirrors")

    @cached_property
    def cache(self) -> Cache:
        """What earlier commands found out about files; beside the mirrors, and as safe to delete."""
        from platformdirs import user_cache_path

        from fwctl.gitrepo import Cache
        from fwctl.gitrepo.cache import NAME

        return Cache((self.state or user_cache_path("fwctl")) / NAME)

    @property
    def worktree(self) -> Path:
        """Return the folder to write manifests into.

        Raises:
            InputError: `E_GIT_BARE` if the repository has none.
        """
        from fwctl.errors import InputError

        if self.repo.worktree is None:
            raise InputError(
                "this needs a clone with files to edit",
                code="E_GIT_BARE",
                place=self.location,
                remedy="Run it inside a clone of the repository.",
            )
        return self.repo.worktree

    def edited(self, folder: Path | None = None) -> Files:
        """Return the managed files as they lie in the work tree, or in another folder of manifests."""
        from fwctl.gitrepo import Files, worktree_files

        return Files.of(worktree_files(folder or self.worktree), cache=self.cache, notice=notice)

    def fetched(self, ref: str = "HEAD") -> tuple[CommitId, Files]:
        """Return a commit as it stands now: a mirror is brought up to date first, however often this is asked."""
        self.__dict__.pop("repo", None)
        return self.committed(ref)

    def committed(self, ref: str = "HEAD") -> tuple[CommitId, Files]:
        """Return a commit and its managed files."""
        commit = self.repo.resolve(ref)
        return commit, self.repo.tree(commit).files(cache=self.cache, notice=notice)

    def files(self) -> Files:
        """Return what describing commands show: the work tree, or the newest commit where there is none."""
        return self.edited() if self.repo.worktree is not None else self.committed()[1]

    @contextmanager
    def ledger(self, repo_id: str) -> Iterator[Ledger | None]:
        """Open the ledger for reading; None where this machine has none (a reviewer's, a new fleet's)."""
        from fwctl.state import Ledger, ledger_path

        path = ledger_path(self.state_dir(repo_id))
        if not path.exists():
            yield None
            return
        with Ledger.open(path, readonly=True) as ledger:
            yield ledger

    def keystore(self, repo_id: str) -> KeyStore:
        from fwctl.trust.keystore import KeyStore

        return KeyStore.of(repo_id, self.config)

    def state_dir(self, repo_id: str) -> Path:
        from fwctl.state import state_dir

        return state_dir(repo_id, override=self.state)

    def setting(self, repo_id: str) -> Setting:
        """Return keys, state folder and clock of a fleet."""
        from fwctl.reconcile.setting import Setting

        return Setting(self.keystore(repo_id), self.state_dir(repo_id), self.now)

    def pinned_root(self, repo_id: str, files: Mapping[str, bytes]) -> str:
        """Return the root that everything is verified from.

        Raises:
            InputError: `E_NO_TRUST`, telling somebody with a fresh clone how to pin the fleet's first root.
        """
        from fwctl.errors import InputError

        keystore = self.keystore(repo_id)
        if keystore.exists or "trust/1.root.json" not in files:
            return keystore.pinned_root()
        raise InputError(
            "you have not pinned this fleet's root of trust, so nothing it says can be verified",
            code="E_NO_TRUST",
            place=str(keystore.root_path),
            remedy="Ask an owner, over another channel, for the fingerprint (`sha256sum trust/1.root.json`), then: "
            "fwctl trust pin --fingerprint HEX",
        )

    def authority(self, repo_id: str, files: Mapping[str, bytes]) -> Authority | None:
        """Return the verified trust of some files; None where no root is pinned here, so that nothing is judged."""
        from fwctl.trust.authority import Authority

        keystore = self.keystore(repo_id)
        if not keystore.exists:
            return None
        signed = {
            path: data for path, data in files.items() if path.startswith("trust/") or path.endswith(".dsse.json")
        }
        return Authority.verify(signed, pinned=keystore.pinned_root(), now=self.now())

    def read(self, files: Mapping[str, bytes], commit: str) -> CommitState:
        """Validate and verify the files of a commit or work tree."""
        from fwctl.reconcile.commit import load_repo, read_commit

        pinned = self.pinned_root(load_repo(files).fleet.spec.repo_id, files)
        return read_commit(files, commit=commit, pinned=pinned, now=self.now())


def say(text: str = "") -> None:
    """Write the answer."""
    shown = _for_terminal(text, sys.stdout)
    sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")


def pour(part: str) -> None:
    """Write a part of an answer that is too long to hold, as it is."""
    sys.stdout.write(_for_terminal(part, sys.stdout))


def talk(text: str) -> None:
    """Write to the person, beside the answer."""
    sys.stdout.flush()
    sys.stderr.write(_for_terminal(text, sys.stderr) + "\n")


def notice(text: str) -> None:
    """Show a person what takes long, in place of what was shown before; empty when it is done."""
    if sys.stderr.isatty():
        from fwctl.render.words import visible

        sys.stderr.write(f"\r\x1b[K{visible(text)}")
        sys.stderr.flush()


def _for_terminal(text: str, stream: TextIO) -> str:
    """Fold what is wider than the terminal; pipes and files get every line whole."""
    if not stream.isatty():
        return text
    import shutil

    from fwctl.render.words import fold

    return fold(text, shutil.get_terminal_size().columns)


def next_is(*commands: str) -> None:
    """End a command with what to type next."""
    talk("\n".join(f"{'Next:' if at == 0 else '     '} {command}" for at, command in enumerate(commands)))
