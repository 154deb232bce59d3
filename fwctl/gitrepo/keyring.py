"""A ring of public keys for one run of git: a folder of its own that holds the keys given, and settings to use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fwctl.errors import WorldError

_TIMEOUT: Final = 60.0
_GPG_CONF: Final = """\
batch
no-tty
no-autostart
disable-dirmngr
no-auto-key-retrieve
no-auto-key-import
trust-model always
weak-digest SHA1
"""
"""No agent, no network. The keys that are here are the trusted ones. SHA-1 proves nothing any more."""
_NONE: Final = "/nonexistent/fwctl-verifies-no-such-signature"


@dataclass(frozen=True)
class Signers:
    """Who may sign: lines of an SSH `allowed_signers` file, and armoured OpenPGP public keys."""

    ssh: Sequence[str] = ()
    openpgp: Sequence[str] = ()

    @property
    def named(self) -> str:
        """Say who may sign, in words."""
        lines = [line for line in self.ssh if not line.startswith("#")]
        names = list(dict.fromkeys(line.split()[0] for line in lines))
        keys = [f"{len(self.openpgp)} OpenPGP key{'s' * (len(self.openpgp) > 1)}"] if self.openpgp else []
        more = [f"{len(names) - 5} more"] if len(names) > 5 else []
        return ", ".join([*names[:5], *more, *keys]) or "Nobody whom the policy names"


@dataclass(frozen=True)
class Ring:
    """What git is told so that it judges by these keys alone."""

    config: Sequence[tuple[str, str]] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def keyring(signers: Signers, kinds: Collection[str]) -> Iterator[Ring]:
    """Make a ring for signatures of these kinds (ssh, openpgp); it is gone at the end of the block.

    Raises:
        WorldError: `E_SIGN_TOOL` if the program for one of the kinds is not there.
    """
    ssh = _program("ssh-keygen", "the package openssh-client") if "ssh" in kinds else _NONE
    gpg = _program("gpg", "the package gnupg") if "openpgp" in kinds else _NONE
    with TemporaryDirectory(prefix="fwctl-ring-") as name:
        folder = Path(name)
        allowed, home = folder / "allowed_signers", folder / "gnupg"
        _write(allowed, "".join(f"{line}\n" for line in signers.ssh))
        home.mkdir(mode=0o700)
        _write(home / "gpg.conf", _GPG_CONF)
        if gpg != _NONE and signers.openpgp:
            _import(gpg, home, signers.openpgp)
        config = (
            ("gpg.ssh.allowedSignersFile", str(allowed)),
            ("gpg.ssh.revocationFile", os.devnull),
            ("gpg.ssh.program", ssh),
            ("gpg.program", gpg),
            ("gpg.openpgp.program", gpg),
            ("gpg.x509.program", _NONE),
            ("gpg.minTrustLevel", "undefined"),
        )
        yield Ring(config, {"GNUPGHOME": str(home)})


def _import(gpg: str, home: Path, keys: Sequence[str]) -> None:
    """Read the keys into the home. One that gpg cannot use is left out, and nothing is signed with it."""
    for key in keys:
        subprocess.run(
            [gpg, "--homedir", str(home), "--quiet", "--import"],
            input=key.encode(),
            env={**os.environ, "GNUPGHOME": str(home)},
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise WorldError(
            f"{name} is not installed, so signatures of commits cannot be verified",
            code="E_SIGN_TOOL",
            place=name,
            remedy=f"Install {package}, then run the command again.",
        )
    return str(Path(path).absolute())


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, "utf-8")
