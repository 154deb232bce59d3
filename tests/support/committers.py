"""People who sign commits, and forgers: real SSH and OpenPGP keys, raw commits of any shape."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PLAIN = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Ada"),)},
    **{f"GIT_{role}_EMAIL": "ada@example.org" for role in ("AUTHOR", "COMMITTER")},
}


def tool(*argv: object, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None) -> bytes:
    """Run a program that must succeed."""
    done = subprocess.run(
        [str(word) for word in argv],
        input=stdin,
        env=os.environ | PLAIN | dict(env or {}),
        cwd=cwd,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass(frozen=True)
class SshKey:
    """One SSH key in a file."""

    path: Path

    @classmethod
    def make(cls, folder: Path, name: str) -> SshKey:
        folder.mkdir(exist_ok=True)
        tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name)
        return cls(folder / name)

    def line(self, principal: str = "", options: str = 'namespaces="git"') -> str:
        """Return the line of an `allowed_signers` file."""
        public = " ".join(self.path.with_suffix(".pub").read_text().split()[:2])
        return " ".join(filter(None, [principal or f"{self.path.name}@example.org", options, public]))

    @property
    def settings(self) -> tuple[str, ...]:
        return ("-c", "gpg.format=ssh", "-c", f"user.signingKey={self.path}")

    def sign(self, payload: bytes, namespace: str = "git") -> bytes:
        return tool("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", self.path, "-", stdin=payload)


@dataclass(frozen=True)
class PgpHome:
    """A keyring of somebody who signs with OpenPGP."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> PgpHome:
        folder.mkdir(mode=0o700)
        return cls(folder)

    def key(self, user: str, *, kind: str = "ed25519", at: str = "", life: str = "0") -> str:
        """Make a key; `at` pretends a time. Return its armoured public half."""
        when = ("--faked-system-time", at) if at else ()
        self.gpg(*when, "--passphrase", "", "--quick-gen-key", user, kind, "sign", life)
        return self.export(user)

    def export(self, user: str) -> str:
        return self.gpg("--armor", "--export", user).decode()

    def gpg(self, *words: str, stdin: bytes = b"") -> bytes:
        return tool("gpg", "--homedir", self.folder, "--batch", "--quiet", *words, stdin=stdin)

    def sign(self, payload: bytes, user: str, *options: str) -> bytes:
        return self.gpg(*options, "--armor", "--detach-sign", "-u", user, stdin=payload)

    def close(self) -> None:
        tool("gpgconf", "--homedir", self.folder, "--kill", "all")


@dataclass
class Forge:
    """Writes commits of any shape into a repository, and moves its branch to them."""

    tree: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def git(self, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        return tool("git", *words, stdin=stdin, cwd=self.tree, env={**self.env, **(env or {})}).decode().strip()

    def commit(self, key: SshKey | None = None, *, subject: str = "change", when: str = "") -> str:
        """Commit the work tree, signed if there is a key; `when` is what the commit says of its time."""
        self.git("add", "-A")
        dates = {"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when} if when else {}
        signing = (*key.settings,) if key else ()
        sign = ("-S",) if key else ("--no-gpg-sign",)
        self.git(*signing, "commit", "-q", "--allow-empty", *sign, "-m", subject, env=dates)
        return self.head

    def payload(self, *, subject: str = "forged", parents: Sequence[str] | None = None) -> bytes:
        """Return an unsigned commit of the work tree."""
        self.git("add", "-A")
        tree = self.git("write-tree")
        before = [self.head] if parents is None else list(parents)
        who = "Mallory <mallory@example.org> 1790000000 +0000"
        lines = [f"tree {tree}", *(f"parent {one}" for one in before), f"author {who}", f"committer {who}"]
        return "\n".join([*lines, "", subject, ""]).encode()

    def write(self, payload: bytes, *signatures: bytes) -> str:
        """Write a commit with these signatures in its header, and move the branch to it."""
        head, _, body = payload.partition(b"\n\n")
        for signature in signatures:
            head += b"\ngpgsig " + signature.rstrip(b"\n").replace(b"\n", b"\n ")
        commit = self.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=head + b"\n\n" + body)
        self.git("reset", "-q", "--hard", commit)
        return commit

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")


def signature_of(raw: bytes) -> bytes:
    """Return the signature in the header of a commit."""
    header = raw.partition(b"\n\n")[0].split(b"\n")
    at = next(number for number, line in enumerate(header) if line.startswith(b"gpgsig "))
    lines = [header[at].removeprefix(b"gpgsig ")]
    for line in header[at + 1 :]:
        if not line.startswith(b" "):
            break
        lines.append(line[1:])
    return b"\n".join(lines) + b"\n"
