"""Build the X.509 certificates of a fleet. No files, no clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fwctl.errors import InputError

PublicKey = ec.EllipticCurvePublicKey | Ed25519PublicKey

CA_LIFE: Final = timedelta(days=3652)
"""ten years: all certificates of a fleet end with its authorities, at the latest"""
DEVICE_LIFE: Final = timedelta(days=1826)
"""five years: longer than devices are left alone, and one that slept longer still may renew (ADR-0001)"""
CONTROLLER_LIFE: Final = timedelta(days=730)
"""two years: it is renewed by one command on one machine"""
_BACKDATE: Final = timedelta(hours=1)


def authority_certificate(
    key: ec.EllipticCurvePrivateKey, *, title: str, repo_id: str, client: bool, names: str, now: datetime
) -> x509.Certificate:
    """Return a CA that may sign only certificates of clients, or of servers, for DNS names at or below `names`."""
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, repo_id), x509.NameAttribute(NameOID.COMMON_NAME, title)]
    )
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.NameConstraints([x509.DNSName(names)], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def end_certificate(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    *,
    public_key: PublicKey,
    common_name: str,
    name: str,
    now: datetime,
    life: timedelta,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> x509.Certificate:
    """Return an end certificate for the DNS name `name`, for clients or servers as the CA is; it ends with its CA.

    It begins with its CA, too, not today: a device whose clock is behind must still let in a controller that was given
    a new certificate, and one that was renewed by a clock ahead must not be shut out until then (A46).

    Raises:
        InputError: `E_CA_EXPIRED`.
    """
    if now >= ca.not_valid_after_utc:
        raise InputError(
            f"the certificate authority has ended on {ca.not_valid_after_utc:%Y-%m-%d}, so it can issue nothing",
            code="E_CA_EXPIRED",
            place=name,
            remedy="Check the clock of this machine. If it is right, make new certificate authorities "
            "(docs/how-to/identities.md).",
        )
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(ca.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.not_valid_before_utc)
        .not_valid_after(min(now + life, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(ca.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
