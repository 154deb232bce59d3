"""The two certificate authorities of a fleet, and the certificates they issue (DESIGN section 7).

The controller CA signs only the reconciler's client certificate; it is the one client CA of every agent. The device CA
signs only device certificates; it is the one server CA of the reconciler. Extended key usage and name constraints in
both CAs keep them apart, so that no certificate of one side passes on the other. All keys are ECDSA P-256; how
long each lives says `pki`, and nothing lives beyond its CA. What a device certificate says is read in
`fwctl_agent.trust.identity`, by the device as by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fwctl.errors import InputError
from fwctl.files import write_private
from fwctl.fleet.pki import CONTROLLER_LIFE, DEVICE_LIFE, PublicKey, authority_certificate, end_certificate
from fwctl.trust.keystore import KeyStore
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.fields import format_time
from fwctl_agent.trust import identity
from fwctl_agent.trust.identity import (
    ENROLLED_AT,
    UNREADABLE,
    DeviceCertificate,
    controller_name,
    device_name,
    key_digest,
)

__all__ = [
    "ENROLLED_AT",
    "Authorities",
    "DeviceCertificate",
    "DeviceIssuer",
    "create_authorities",
    "device_ca_digest",
    "device_name",
    "key_digest",
    "load_certificate",
    "read_device_certificate",
    "renew_controller",
]

_REMEDY: Final = "Restore the folder from a backup, or remove the damaged file and run `fwctl init` again."


@dataclass(frozen=True)
class Authorities:
    """Where keys and certificates of one fleet lie, PEM each."""

    folder: Path

    @property
    def controller_ca(self) -> Path:
        return self.folder / "controller-ca.cert.pem"

    @property
    def controller_ca_key(self) -> Path:
        return self.folder / "controller-ca.key.pem"

    @property
    def controller(self) -> Path:
        return self.folder / "controller.cert.pem"

    @property
    def controller_key(self) -> Path:
        return self.folder / "controller.key.pem"

    @property
    def controller_next_key(self) -> Path:
        """the key of a renewal that was cut between certificate and key"""
        return self.folder / "controller.next.key.pem"

    @property
    def controller_key_in_force(self) -> Path:
        """Return the file with the key that the certificate is for."""
        try:
            wanted = load_certificate(self.controller).public_key()
            pending = self.controller_next_key
            return pending if pending.exists() and _load_key(pending).public_key() == wanted else self.controller_key
        except InputError:
            return self.controller_key

    @property
    def device_ca(self) -> Path:
        return self.folder / "device-ca.cert.pem"

    @property
    def device_ca_key(self) -> Path:
        return self.folder / "device-ca.key.pem"


def create_authorities(keystore: KeyStore, repo_id: str, now: datetime) -> Authorities:
    """Make both CAs and the reconciler's client certificate below `keystore.pki`; what is there stays as it is.

    Each key is durable before its certificate, so a run that was killed is completed by the next one.

    Raises:
        InputError: `E_PKI` if a key or certificate that is needed cannot be read.
        WorldError: `E_DISK`.
    """
    paths, names = Authorities(keystore.pki), controller_name(repo_id)
    _authority(
        paths.controller_ca,
        paths.controller_ca_key,
        title="fwctl controller CA",
        repo_id=repo_id,
        client=True,
        names=names,
        now=now,
    )
    _authority(
        paths.device_ca,
        paths.device_ca_key,
        title="fwctl device CA",
        repo_id=repo_id,
        client=False,
        names=f"devices.{repo_id}.fwctl",
        now=now,
    )
    if not paths.controller.exists():
        ca, ca_key = _load_authority(paths.controller_ca, paths.controller_ca_key)
        public_key = _own_key(paths.controller_key).public_key()
        write_private(paths.controller, _controller(ca, ca_key, public_key, names, now))
    return paths


def renew_controller(keystore: KeyStore, repo_id: str, now: datetime) -> tuple[PublicKey, x509.Certificate]:
    """Give the reconciler a new key and certificate; return the old public key and the new certificate.

    A run that is cut leaves the old pair or the new one, whichever the certificate is for.

    Raises:
        InputError: `E_PKI` if the controller CA, with its key, or the present certificate is not here.
        WorldError: `E_DISK`.
    """
    paths = Authorities(keystore.pki)
    ca, ca_key = _load_authority(paths.controller_ca, paths.controller_ca_key)
    old = load_certificate(paths.controller).public_key()
    if not identity.allowed(old):
        raise _damaged(paths.controller, "is not for a key of ours")
    if paths.controller_key_in_force == paths.controller_next_key:
        write_private(paths.controller_key, paths.controller_next_key.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    pem = _controller(ca, ca_key, key.public_key(), controller_name(repo_id), now)
    write_private(paths.controller_next_key, _private_pem(key))
    write_private(paths.controller, pem)
    write_private(paths.controller_key, _private_pem(key))
    return old, x509.load_pem_x509_certificate(pem)


def _controller(
    ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, key: PublicKey, name: str, now: datetime
) -> bytes:
    certificate = end_certificate(
        ca, ca_key, public_key=key, common_name="controller", name=name, now=now, life=CONTROLLER_LIFE
    )
    return certificate.public_bytes(Encoding.PEM)


def device_ca_digest(paths: Authorities) -> str:
    """Return the digest by which a policy knows the device CA: whose word it is that a certificate is a device's.

    Raises:
        InputError: `E_PKI`.
    """
    key = load_certificate(paths.device_ca).public_key()
    if not identity.allowed(key):
        raise _damaged(paths.device_ca, "is not of an allowed kind")
    return key_digest(key)


@dataclass(frozen=True)
class DeviceIssuer:
    """The device CA with its key, loaded once for any number of certificates."""

    ca: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    repo_id: str

    @classmethod
    def load(cls, keystore: KeyStore, repo_id: str) -> DeviceIssuer:
        """Load the device CA.

        Raises:
            InputError: `E_PKI` if the device CA's key is not here.
        """
        paths = Authorities(keystore.pki)
        return cls(*_load_authority(paths.device_ca, paths.device_ca_key), repo_id)

    def issue(self, device_id: str, *, enrolled_at: datetime, now: datetime) -> tuple[bytes, bytes]:
        """Return a new private key and its certificate for a device, PEM both; nothing is stored."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _private_pem(key), self.certify(device_id, key.public_key(), enrolled_at=enrolled_at, now=now)

    def certify(self, device_id: str, public_key: PublicKey, *, enrolled_at: datetime, now: datetime) -> bytes:
        """Return the certificate, PEM, for a public key.

        Raises:
            InputError: `E_KEY_ALG` for a key that no device may have.
        """
        if not identity.allowed(public_key):
            raise InputError(
                "a device key must be ECDSA P-256 or Ed25519",
                code="E_KEY_ALG",
                place=device_id,
                remedy="Make a key of that kind on the device and enroll it again.",
            )
        stamp = b"\x18\x0f" + format_time(enrolled_at).encode().translate(None, b"-:T")
        certificate = end_certificate(
            self.ca,
            self.key,
            public_key=public_key,
            common_name=device_id,
            name=device_name(device_id, self.repo_id),
            now=now,
            life=DEVICE_LIFE,
            extensions=(x509.UnrecognizedExtension(ENROLLED_AT, stamp),),
        )
        return certificate.public_bytes(Encoding.PEM)


def read_device_certificate(pem: str) -> DeviceCertificate:
    """Read a device certificate strictly, as `fwctl_agent.trust.identity` does.

    Raises:
        InputError: `E_CERTIFICATE`.
    """
    try:
        return identity.read_device_certificate(pem)
    except Refusal as error:
        raise InputError(
            error.message, code="E_CERTIFICATE", remedy="Enroll the device again with `fwctl device enroll`."
        ) from error


def _authority(
    path: Path, key_path: Path, *, title: str, repo_id: str, client: bool, names: str, now: datetime
) -> None:
    if not path.exists():
        certificate = authority_certificate(
            _own_key(key_path), title=title, repo_id=repo_id, client=client, names=names, now=now
        )
        write_private(path, certificate.public_bytes(Encoding.PEM))


def _load_authority(path: Path, key_path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate, key = load_certificate(path), _load_key(key_path)
    if certificate.public_key() != key.public_key():
        raise _damaged(key_path, "is not the key of the certificate beside it")
    return certificate, key


def _own_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Load the key at `path`, made first if there is none."""
    if not path.exists():
        write_private(path, _private_pem(ec.generate_private_key(ec.SECP256R1())))
    return _load_key(path)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _damaged(path, "cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged(path, "is not an ECDSA key")
    return key


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate file.

    Raises:
        InputError: `E_PKI`.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, *UNREADABLE) as error:
        raise _damaged(path, "cannot be read") from error


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"a key or certificate {why}", code="E_PKI", place=str(path), remedy=_REMEDY)
