"""Who is who on TLS: names, keys and certificates of devices, read strictly. No files, no clock.

A device certificate names the device as `DNS:<id>.devices.<repo id>.fwctl` and carries `enrolledAt` in the
non-critical extension `ENROLLED_AT`, a DER GeneralizedTime in UTC, which a renewal copies.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeGuard

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from securesystemslib.signer import SSlibKey

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.fields import ID
from fwctl_agent.trust.keys import vet
from fwctl_agent.trust.verifier import TrustedTime

PublicKey = ec.EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey

ENROLLED_AT: Final = ObjectIdentifier("2.25.208903078208652593737923410046770461075")
"""made from the UUID 9d2944f6-10ee-4cbf-9c1e-18712f4bb993 (ITU-T X.667), so it collides with nobody's"""
MAX_LIFE: Final = timedelta(days=3660)
"""no device takes a certificate that is valid for longer: ten years is what a certificate authority has"""
MAX_PEM: Final = 16 << 10

_DEVICE_NAME: Final = re.compile(rf"({ID.pattern})\.devices\.({ID.pattern})\.fwctl")
_GENERALIZED_TIME: Final = re.compile(rb"\x18\x0f([0-9]{14})Z")
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""all that `cryptography` raises for bytes that are no certificate or request, or one that it does not know"""


@dataclass(frozen=True)
class DeviceCertificate:
    """What a device certificate says. Whose CA signed it is for TLS, or the caller, to know."""

    device: str
    repo_id: str
    enrolled_at: datetime
    public_key: PublicKey
    certificate: x509.Certificate = field(compare=False, repr=False)

    @property
    def key(self) -> str:
        return key_digest(self.public_key)

    @property
    def end(self) -> datetime:
        return self.certificate.not_valid_after_utc


def device_name(device_id: str, repo_id: str) -> str:
    """Return the DNS name in a device's certificate, which is also what TLS asks for (SNI)."""
    return f"{device_id}.devices.{repo_id}.fwctl"


def controller_name(repo_id: str) -> str:
    """Return the DNS name in the reconciler's certificate."""
    return f"controller.{repo_id}.fwctl"


def key_digest(key: PublicKey) -> str:
    """Return what names a key in `policy.revoked`: the digest of its DER SubjectPublicKeyInfo."""
    return "sha256:" + hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def allowed(key: object) -> TypeGuard[PublicKey]:
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


def read_device_certificate(pem: str) -> DeviceCertificate:
    """Read a device certificate strictly: one name of our form, `enrolledAt`, a key of an allowed kind.

    Raises:
        Refusal: `E_CERTIFICATE`.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        enrolled = certificate.extensions.get_extension_for_oid(ENROLLED_AT).value
        key = certificate.public_key()
    except UNREADABLE as error:
        raise _unreadable(f"it cannot be read: {type(error).__name__}") from error
    found = _DEVICE_NAME.fullmatch(_only_name(names) or "")
    stamp = _GENERALIZED_TIME.fullmatch(enrolled.value) if isinstance(enrolled, x509.UnrecognizedExtension) else None
    if found is None:
        raise _unreadable("it does not name exactly one device")
    if stamp is None:
        raise _unreadable("its enrolledAt is not a time in UTC")
    if not allowed(key):
        raise _unreadable("its key is neither ECDSA P-256 nor Ed25519")
    try:
        enrolled_at = datetime.fromisoformat(f"{stamp[1].decode()[:8]}T{stamp[1].decode()[8:]}+00:00")
    except ValueError as error:
        raise _unreadable("its enrolledAt is no date") from error
    return DeviceCertificate(found[1], found[2], enrolled_at, key, certificate)


def make_request(key: PrivateKey, device_id: str, repo_id: str) -> str:
    """Return a PKCS#10 request, PEM, for a device's certificate, signed by the key that it is for."""
    name = x509.SubjectAlternativeName([x509.DNSName(device_name(device_id, repo_id))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(name, critical=True)
    made = builder.sign(key, None) if isinstance(key, Ed25519PrivateKey) else builder.sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def read_request(pem: str, device_id: str, repo_id: str) -> PublicKey:
    """Return the key of a request for this device's certificate, which signed the request.

    Raises:
        Refusal: `E_REQUEST` if it is malformed, asks for more, names somebody else or is not signed by its key,
            `E_KEY_ALG` for a key that no device may have.
    """
    try:
        if len(pem) > MAX_PEM:
            raise ValueError("too long")
        request = x509.load_pem_x509_csr(pem.encode())
        extensions = list(request.extensions)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = request.public_key()
        signed = request.is_signature_valid
    except UNREADABLE as error:
        raise Refusal("E_REQUEST", f"this is no request for a certificate: {type(error).__name__}") from error
    if not allowed(key):
        raise Refusal("E_KEY_ALG", "a device key must be ECDSA P-256 or Ed25519, and no degenerate point")
    if not signed:
        raise Refusal("E_REQUEST", "the request is not signed by the key that it is for")
    if len(extensions) != 1 or _only_name(names) != device_name(device_id, repo_id):
        asked = ", ".join(str(getattr(name, "value", name))[:120] for name in list(names)[:3])
        wanted = device_name(device_id, repo_id)
        raise Refusal("E_REQUEST", f"the request is for {asked or 'nobody'} and not for {wanted} alone")
    return key


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a device knows of itself when it judges a new certificate."""

    device: str
    repo_id: str
    enrolled_at: datetime
    current: DeviceCertificate
    pending: PublicKey | None
    """the key that it made for a rotation"""
    authority: bytes
    """the device CA, PEM"""


def judge_certificate(pem: str, own: Own, *, time: TrustedTime, revoked: Iterable[str]) -> DeviceCertificate:
    """Return a certificate that the device may show from now on.

    It must be (1) signed by the device CA (2) for this device, repository and enrolment (3) for its current or its
    pending key, which is not revoked (4) for a server, valid now and for no longer than `MAX_LIFE` (5) if the key
    stays, valid for longer than the present one: an earlier certificate cannot be put back.

    Raises:
        Refusal: `E_CERTIFICATE`, `E_CERT_KEY`, `E_CERT_OLD` or `E_REVOKED`.
    """
    new = read_device_certificate(pem)
    _check_issuer(new.certificate, own.authority)  # 1
    if (new.device, new.repo_id, new.enrolled_at) != (own.device, own.repo_id, own.enrolled_at):  # 2
        raise _unreadable("it is for another device, repository or enrolment")
    if new.public_key not in (own.current.public_key, own.pending):  # 3
        raise Refusal("E_CERT_KEY", "the certificate is for a key that this device does not have")
    if new.key in frozenset(revoked):
        raise Refusal("E_REVOKED", "the key of the certificate is revoked by the policy")
    begin = new.certificate.not_valid_before_utc  # 4
    if new.end < time.now or (begin > time.now and not time.suspect) or new.end - begin > MAX_LIFE:
        raise _unreadable("it is not valid now, or for too long")
    if new.public_key == own.current.public_key and new.end <= own.current.end:  # 5
        raise Refusal("E_CERT_OLD", "the certificate does not end later than the one that the device has")
    return new


def _check_issuer(certificate: x509.Certificate, authority: bytes) -> None:
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        authority_too = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (InvalidSignature, *UNREADABLE) as error:
        raise _unreadable("the device CA that this device knows did not sign it") from error
    if authority_too or list(purposes) != [ExtendedKeyUsageOID.SERVER_AUTH]:
        raise _unreadable("it is not that of a server")


def _only_name(names: x509.SubjectAlternativeName) -> str | None:
    only = next(iter(names)) if len(names) == 1 else None
    return only.value if isinstance(only, x509.DNSName) else None


def _unreadable(why: str) -> Refusal:
    return Refusal("E_CERTIFICATE", f"this is not a device certificate that can be used: {why}")
