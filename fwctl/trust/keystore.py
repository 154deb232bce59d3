"""The user's private keys and pinned root: a folder of their own, mode 0700, never in the work tree.

A key NAME is `keys/NAME.pem`, or `keys/NAME.hsm.json` if it lies in a token. Its public half stands beside it in
`keys/NAME.pub.json`, so that nobody is asked for a passphrase where nothing is signed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from platformdirs import user_config_path

from fwctl.errors import InputError
from fwctl.files import make_private, write_private

if TYPE_CHECKING:  # cryptography takes longer to import than `status` has; only those who sign need it
    from securesystemslib.signer import CryptoSigner, Signer, SSlibKey

    from fwctl.trust.hardware import HardwareKey
    from fwctl.trust.keyfile import PrivateKey

ORDER = "reconciler-order"
FRESHNESS = "reconciler-freshness"
KeyKind = Literal["file", "encrypted", "hsm"]


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
        """Return where the private key lies, or what leads to it in its token."""
        hardware = self._hardware_path(name)
        return hardware if hardware.exists() else self._pem_path(name)

    def public_path(self, name: str) -> Path:
        """Return where the public half lies, as it can be handed on."""
        return self.folder / "keys" / f"{name}.pub.json"

    def _pem_path(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.pem"

    def _hardware_path(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.hsm.json"

    def has(self, name: str) -> bool:
        return self.key_path(name).exists()

    def names(self) -> tuple[str, ...]:
        files, folder = {path.stem for path in (self.folder / "keys").glob("*.pem")}, self.folder / "keys"
        return tuple(sorted(files | {path.name.removesuffix(".hsm.json") for path in folder.glob("*.hsm.json")}))

    def people(self) -> tuple[str, ...]:
        """Return the names of people's keys, without those of the reconciler."""
        return tuple(name for name in self.names() if name not in (ORDER, FRESHNESS))

    def kind(self, name: str) -> KeyKind:
        """Return where the private half is and whether a passphrase protects it.

        Raises:
            InputError: `E_KEY_MISSING`.
        """
        from fwctl.trust.keyfile import is_encrypted

        if self._hardware_path(name).exists():
            return "hsm"
        return "encrypted" if is_encrypted(self._read(name)) else "file"

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

    def generate(self, name: str, passphrase: str | None = None) -> CryptoSigner:
        """Make and store an Ed25519 key, encrypted if there is a passphrase; an existing one is never replaced."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return self.add(name, Ed25519PrivateKey.generate(), passphrase)

    def add(self, name: str, key: PrivateKey, passphrase: str | None) -> CryptoSigner:
        """Store a new private key, encrypted if there is a passphrase.

        Raises:
            InputError: `E_KEY_EXISTS`, `E_KEY_NAME`.
            TrustRefused: `E_KEY_DUPLICATE` if it is here under another name.
        """
        from securesystemslib.signer import CryptoSigner

        from fwctl.trust.keyfile import seal_private

        signer, sealed = CryptoSigner(key), seal_private(key, passphrase)
        with self._locked():
            self.check_new(name, signer.public_key)
            # The public half first: a key without it would have to be opened to be known.
            self._write_public(name, signer.public_key)
            write_private(self._pem_path(name), sealed)
        return signer

    def add_hardware(self, name: str, key: HardwareKey) -> None:
        """Store what leads to a key in a token. Raises as `add`."""
        with self._locked():
            self.check_new(name, key.public)
            self._write_public(name, key.public)
            write_private(self._hardware_path(name), key.to_bytes())

    def protect(self, name: str, passphrase: str) -> None:
        """Encrypt a private key with another passphrase; the old file stays until the new one is complete.

        Raises:
            InputError: `E_KEY_KIND` for a key in a token, and as `signer`.
        """
        from securesystemslib.signer import CryptoSigner

        from fwctl.trust.keyfile import seal_private

        if self.kind(name) == "hsm":
            raise InputError(
                f"the key {name} lies in a token, which asks for a PIN",
                code="E_KEY_KIND",
                place=str(self.key_path(name)),
                remedy="Change the PIN with the token's own tool.",
            )
        key = self._open(name)
        self._check_public(name, key)
        if not self.public_path(name).exists():
            self._write_public(name, CryptoSigner(key).public_key)
        write_private(self._pem_path(name), seal_private(key, passphrase))

    def signer(self, name: str) -> Signer:
        """Return what signs with a key, wherever it lies. An encrypted file is opened now; a token when it signs.

        Raises:
            InputError: `E_KEY_MISSING`, `E_KEY_ALG`, `E_KEY_MISMATCH`, `E_KEY_PASSPHRASE`, `E_PASSPHRASE`.
        """
        if self._hardware_path(name).exists():
            from fwctl.trust.hardware import HardwareSigner

            return HardwareSigner.of(name, self._hardware(name))
        return self._file_signer(name)

    def public(self, name: str) -> SSlibKey:
        """Return the public half, without asking for any secret.

        Raises:
            InputError: `E_KEY_MISSING`, `E_KEY_PUBLIC` if an encrypted key has no public half beside it.
        """
        from fwctl.trust.public_key import read_public_key

        match self.kind(name):
            case "hsm":
                return self._hardware(name).public
            case "file":
                return self._file_signer(name).public_key
            case "encrypted" if self.public_path(name).exists():
                return read_public_key(self.public_path(name)).key
        raise InputError(
            f"the public half of {name} is not here, and the private one is encrypted",
            code="E_KEY_PUBLIC",
            place=str(self.public_path(name)),
            remedy=f"Open it once, which writes it: fwctl keys export {name}",
        )

    def exported(self, name: str) -> SSlibKey:
        """Return the public half, and write it down where it is missing: then the private one is opened."""
        path = self.public_path(name)
        closed = self.kind(name) == "encrypted" and not path.exists()
        key = self._file_signer(name).public_key if closed else self.public(name)
        if not path.exists():
            self._write_public(name, key)
        return key

    def check_free(self, name: str) -> None:
        """Refuse a name that is taken or that files cannot carry. Raises as `add`."""
        from fwctl.trust.public_key import check_name

        if self.has(check_name(name, str(self.folder / "keys"))):
            raise InputError(
                f"there is a key named {name} already",
                code="E_KEY_EXISTS",
                place=str(self.key_path(name)),
                remedy="Choose another name.",
            )

    def check_new(self, name: str, key: SSlibKey) -> None:
        """Refuse a name that is taken, and a key that is here already. Raises as `add`."""
        from fwctl.errors import TrustRefused

        self.check_free(name)
        twin = next((other for other in self.names() if self._is(other, key)), None)
        if twin is not None:
            raise TrustRefused(
                f"this is the key {twin} again: one key is one signer, under whatever name",
                code="E_KEY_DUPLICATE",
                place=str(self.key_path(twin)),
                remedy="Make a key of its own: fwctl keys generate NAME",
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from adding keys: of two that add one name, the second is told so and loses nothing."""
        folder = self.folder / "keys"
        make_private(folder)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _is(self, name: str, key: SSlibKey) -> bool:
        from fwctl.errors import FwctlError

        try:
            return self.public(name).keyid == key.keyid
        except FwctlError:
            return False

    def _read(self, name: str) -> bytes:
        path = self._pem_path(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(
                f"there is no private key named {name}",
                code="E_KEY_MISSING",
                place=str(path),
                remedy="`fwctl keys list` shows the keys you have.",
            ) from error

    def _file_signer(self, name: str) -> CryptoSigner:
        from securesystemslib.signer import CryptoSigner

        key = self._open(name)
        self._check_public(name, key)
        return CryptoSigner(key)

    def _open(self, name: str) -> PrivateKey:
        from fwctl.trust import passphrase
        from fwctl.trust.keyfile import is_encrypted, open_private

        data, place = self._read(name), str(self._pem_path(name))
        known = passphrase.secret(passphrase.PASSPHRASE, name, place) if is_encrypted(data) else None
        try:
            return open_private(data, known, name=name, place=place)
        except InputError:
            passphrase.forget(passphrase.PASSPHRASE, place)
            raise

    def _check_public(self, name: str, key: PrivateKey) -> None:
        from securesystemslib.signer import CryptoSigner

        from fwctl.trust.public_key import mismatch, read_public_key

        path = self.public_path(name)
        if path.exists() and read_public_key(path).key.keyid != CryptoSigner(key).public_key.keyid:
            raise mismatch(name, str(path))

    def _write_public(self, name: str, key: SSlibKey) -> None:
        from fwctl.trust.public_key import PublicKeyFile

        write_private(self.public_path(name), PublicKeyFile(name, key).to_bytes())

    def _hardware(self, name: str) -> HardwareKey:
        from fwctl.trust.hardware import HardwareKey

        return HardwareKey.read(self._hardware_path(name))
