"""A real PKCS#11 token without hardware: SoftHSM2 in a folder of the test's."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

MODULES: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)
PIN: Final = "canary-4711"
"""searched for wherever something is written"""
SO_PIN: Final = "canary-0815"


def module() -> str:
    """Return the path of SoftHSM2; skip the test where there is none, but never in CI."""
    found = next((path for path in MODULES if Path(path).exists()), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs softhsm2")
        pytest.skip("libsofthsm2.so is missing: install softhsm2")
    return found


@dataclass(frozen=True)
class Token:
    """One token with the label `fleet`."""

    folder: Path
    module: str

    @classmethod
    def make(cls, folder: Path, patch: pytest.MonkeyPatch) -> Token:
        """Make a token, and have this process and those that it starts find it, with its PIN."""
        import pkcs11

        token = cls(folder, module())
        token.store.mkdir(parents=True)
        token.pin_file.write_text(PIN + "\n")
        conf = folder / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {token.store}\nlog.level = ERROR\n")
        patch.setenv("SOFTHSM2_CONF", str(conf))
        patch.setenv("FWCTL_PIN_FILE", str(token.pin_file))
        _run("softhsm2-util", "--init-token", "--free", "--label", "fleet", "--pin", PIN, "--so-pin", SO_PIN)
        pkcs11.lib(token.module).reinitialize()  # another test's token may still be in its memory
        return token

    @property
    def store(self) -> Path:
        return self.folder / "tokens"

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def address(self, number: int) -> str:
        return f"hsm:{number}?label=fleet"

    def key(self, number: int, kind: str = "EC:prime256v1") -> str:
        """Make a key in the token and return its address."""
        which = ("--key-type", kind, "--id", f"{number:02x}", "--label", f"key-{number}")
        _run("pkcs11-tool", "--module", self.module, "--login", "--pin", PIN, "--keypairgen", *which)
        return self.address(number)

    def tries(self, pin: str) -> None:
        """Have this PIN tried from now on."""
        self.pin_file.write_text(pin + "\n")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
