"""The user's private keys and pinned root: a folder of their own, mode 0700, never in the work tree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_config_path

from fwctl.errors import InputError
from fwctl.files import write_private
from fwctl_agent.errors import Refusal

if TYPE_CHECKING:  # cryptography takes longer to import than `status` has; only those who sign need it
    from securesystemslib.signer import CryptoSigner, SSlibKey

ORDER = "reconciler-order"
FRESHNESS = "reconciler-freshness"


def config_dir(override: Path | None = None) -> Path:
    """Return the folder of all fleets' keys: `override`, else `FWCTL_CONFIG_DIR`, else the platform's place."""
    if override is not None:
        return override
    return Path(os.environ.get("FWCTL_CONFIG_DIR") or user_config_path("fwctl"))


@dataclass(frozen=True)
class KeyStore:
    """Keys and pinned root of one fleet, in `folder`."""

    folder: Path

    @classmethod
    def of(cls, repo_id: str, override: Path | None = None) -> KeyStore:
        return cls(config_dir(override) / repo_id)

    @property
    def exists(self) -> bool:
        return self.root_path.exists()

    @property
    def root_path(self) -> Path:
        return self.folder / "root.json"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    def key_path(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.pem"

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.stem for path in (self.folder / "keys").glob("*.pem")))

    def people(self) -> tuple[str, ...]:
        """Return the names of people's keys, without those of the reconciler."""
        return tuple(name for name in self.names() if name not in (ORDER, FRESHNESS))

    def pinned_root(self) -> str:
        """Return the root that everything is verified from.

        Raises:
            InputError: `E_NO_TRUST` if this user has none for the fleet.
        """
        try:
            return self.root_path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                "no pinned root of trust for this fleet",
                code="E_NO_TRUST",
                place=str(self.root_path),
                remedy="Run `fwctl init` to make a development trust, or copy the fleet's first root to that place "
                "over a channel that you trust.",
            ) from error

    def pin_root(self, root: str) -> None:
        write_private(self.root_path, root.encode())

    def generate(self, name: str) -> CryptoSigner:
        """Make and store an Ed25519 key; an existing one is never replaced."""
        from securesystemslib.signer import CryptoSigner

        if self.key_path(name).exists():
            raise InputError(
                f"there is a key named {name} already",
                code="E_KEY_EXISTS",
                place=str(self.key_path(name)),
                remedy="Choose another name.",
            )
        signer = CryptoSigner.generate_ed25519()
        write_private(self.key_path(name), signer.private_bytes)
        return signer

    def signer(self, name: str) -> CryptoSigner:
        """Load a private key.

        Raises:
            InputError: `E_KEY_MISSING` or `E_KEY_ALG`.
        """
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner

        from fwctl_agent.trust.keys import vet

        path = self.key_path(name)
        try:
            signer = CryptoSigner(load_pem_private_key(path.read_bytes(), None))
            vet(signer.public_key)
        except OSError as error:
            raise InputError(
                f"there is no private key named {name}",
                code="E_KEY_MISSING",
                place=str(path),
                remedy="`fwctl keys list` shows the keys you have.",
            ) from error
        except (ValueError, TypeError, Refusal) as error:
            raise InputError(
                f"the private key {name} cannot be used: {error}",
                code="E_KEY_ALG",
                place=str(path),
                remedy="Use an unencrypted Ed25519 or ECDSA P-256 key in PEM (PKCS8).",
            ) from error
        return signer

    def public(self, name: str) -> SSlibKey:
        return self.signer(name).public_key
