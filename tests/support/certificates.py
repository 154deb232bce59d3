"""Certificates that no honest authority issues, signed by real ones: what TLS must refuse on either side."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from fwctl.fleet.certificates import ENROLLED_AT

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def forged(
    issuer: Path | None,
    issuer_key: Path | None,
    names: list[str],
    purpose: ObjectIdentifier,
    *,
    begin: datetime | None = None,
    end: datetime | None = None,
    chain: str = "",
) -> str:
    """Return key, certificate and `chain`, PEM; without an issuer it is signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged")])
    above, signer = None, key
    if issuer is not None and issuer_key is not None:
        above = x509.load_pem_x509_certificate(issuer.read_bytes())
        loaded = load_pem_private_key(issuer_key.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    stamp = b"\x18\x0f" + now.strftime("%Y%m%d%H%M%S").encode() + b"Z"
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin or now - timedelta(hours=1))
        .not_valid_after(end or now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.UnrecognizedExtension(ENROLLED_AT, stamp), critical=False)
    )
    certificate = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + certificate).decode() + chain
