"""The two certificate authorities of a fleet, and the certificates they issue (DESIGN section 7).

The controller CA signs only the reconciler's client certificate; it is the one client CA of every agent. The device CA
signs only device certificates; it is the one server CA of the reconciler. Extended key usage and name constraints in
both CAs keep them apart, so that no certificate of one side passes on the other. All keys are ECDSA P-256; everything
is valid for ten years, and nothing beyond its CA.

A device certificate names the device as `DNS:<id>.devices.<repo id>.fwctl` and carries `enrolledAt` in the
non-critical extension `ENROLLED_AT`, a DER GeneralizedTime in UTC, which a renewal copies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeGuard

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ObjectIdentifier
from securesystemslib.signer import SSlibKey

from fwctl.errors import InputError
from fwctl.files import write_private
from fwctl.fleet.pki import PublicKey, authority_certificate, end_certificate
from fwctl.trust.keystore import KeyStore
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.fields import ID, format_time
from fwctl_agent.trust.keys import vet

ENROLLED_AT: Final = ObjectIdentifier("2.25.208903078208652593737923410046770461075")
"""made from the UUID 9d2944f6-10ee-4cbf-9c1e-18712f4bb993 (ITU-T X.667), so it collides with nobody's"""

_DEVICE_NAME: Final = re.compile(rf"({ID.pattern})\.devices\.({ID.pattern})\.fwctl")
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""all that `cryptography` raises for bytes that are no certificate, or one that it does not know"""
_GENERALIZED_TIME: Final = re.compile(rb"\x18\x0f([0-9]{14})Z")
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
    def device_ca(self) -> Path:
        return self.folder / "device-ca.cert.pem"

    @property
    def device_ca_key(self) -> Path:
        return self.folder / "device-ca.key.pem"


@dataclass(frozen=True)
class DeviceCertificate:
    """What a device certificate says. Whose CA signed it is for TLS, or the caller, to know."""

    device: str
    repo_id: str
    enrolled_at: datetime
    public_key: PublicKey


def device_name(device_id: str, repo_id: str) -> str:
    """Return the DNS name in a device's certificate, which is also what TLS asks for (SNI)."""
    return f"{device_id}.devices.{repo_id}.fwctl"


def create_authorities(keystore: KeyStore, repo_id: str, now: datetime) -> Authorities:
    """Make both CAs and the reconciler's client certificate below `keystore.pki`; what is there stays as it is.

    Each key is durable before its certificate, so a run that was killed is completed by the next one.

    Raises:
        InputError: `E_PKI` if a key or certificate that is needed cannot be read.
        WorldError: `E_DISK`.
    """
    paths, names = Authorities(keystore.pki), f"controller.{repo_id}.fwctl"
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
        certificate = end_certificate(ca, ca_key, public_key=public_key, common_name="controller", name=names, now=now)
        write_private(paths.controller, certificate.public_bytes(Encoding.PEM))
    return paths


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
        """Return the certificate, PEM, for a public key that a device may have (the caller has looked)."""
        stamp = b"\x18\x0f" + format_time(enrolled_at).encode().translate(None, b"-:T")
        certificate = end_certificate(
            self.ca,
            self.key,
            public_key=public_key,
            common_name=device_id,
            name=device_name(device_id, self.repo_id),
            now=now,
            extensions=(x509.UnrecognizedExtension(ENROLLED_AT, stamp),),
        )
        return certificate.public_bytes(Encoding.PEM)


def issue_device(
    keystore: KeyStore, device_id: str, repo_id: str, *, enrolled_at: datetime, now: datetime
) -> tuple[str, str]:
    """Return a new private key and its certificate for one device, PEM both; nothing is stored.

    Raises:
        InputError: `E_PKI` if the device CA's key is not here.
    """
    key, certificate = DeviceIssuer.load(keystore, repo_id).issue(device_id, enrolled_at=enrolled_at, now=now)
    return key.decode(), certificate.decode()


def certify_device(
    keystore: KeyStore, device_id: str, repo_id: str, *, public_key: PublicKey, enrolled_at: datetime, now: datetime
) -> str:
    """Return a certificate, PEM, for a key that the device made itself.

    Raises:
        InputError: `E_PKI` if the device CA's key is not here, `E_KEY_ALG` for a key that is not P-256 or Ed25519.
    """
    if not _allowed(public_key):
        raise InputError(
            "a device key must be ECDSA P-256 or Ed25519",
            code="E_KEY_ALG",
            place=device_id,
            remedy="Make a key of that kind on the device and enroll it again.",
        )
    issuer = DeviceIssuer.load(keystore, repo_id)
    return issuer.certify(device_id, public_key, enrolled_at=enrolled_at, now=now).decode()


def read_device_certificate(pem: str) -> DeviceCertificate:
    """Read a device certificate strictly: one name of our form, `enrolledAt`, a key of an allowed kind.

    Raises:
        InputError: `E_CERTIFICATE`.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        enrolled = certificate.extensions.get_extension_for_oid(ENROLLED_AT).value
        key = certificate.public_key()
    except _UNREADABLE as error:
        raise _unreadable(f"it cannot be read: {type(error).__name__}") from error
    only = next(iter(names)) if len(names) == 1 else None
    found = _DEVICE_NAME.fullmatch(only.value) if isinstance(only, x509.DNSName) else None
    stamp = _GENERALIZED_TIME.fullmatch(enrolled.value) if isinstance(enrolled, x509.UnrecognizedExtension) else None
    if found is None:
        raise _unreadable("it does not name exactly one device")
    if stamp is None:
        raise _unreadable("its enrolledAt is not a time in UTC")
    if not _allowed(key):
        raise _unreadable("its key is neither ECDSA P-256 nor Ed25519")
    try:
        enrolled_at = datetime.fromisoformat(f"{stamp[1].decode()[:8]}T{stamp[1].decode()[8:]}+00:00")
    except ValueError as error:
        raise _unreadable("its enrolledAt is no date") from error
    return DeviceCertificate(found[1], found[2], enrolled_at, key)


def _allowed(key: object) -> TypeGuard[PublicKey]:
    """Say whether a device may sign with `key`: P-256, or Ed25519 that is no degenerate point."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1)  # a point that is not on it cannot be loaded
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        vet(SSlibKey.from_crypto(key))
    except (Refusal, ValueError):
        return False
    return True


def _unreadable(why: str) -> InputError:
    return InputError(
        f"this is not a device certificate: {why}",
        code="E_CERTIFICATE",
        remedy="Enroll the device again with `fwctl device enroll`.",
    )


def _authority(
    path: Path, key_path: Path, *, title: str, repo_id: str, client: bool, names: str, now: datetime
) -> None:
    if not path.exists():
        certificate = authority_certificate(
            _own_key(key_path), title=title, repo_id=repo_id, client=client, names=names, now=now
        )
        write_private(path, certificate.public_bytes(Encoding.PEM))


def _load_authority(path: Path, key_path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate, key = _load_certificate(path), _load_key(key_path)
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


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, *_UNREADABLE) as error:
        raise _damaged(path, "cannot be read") from error


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"a key or certificate {why}", code="E_PKI", place=str(path), remedy=_REMEDY)
