"""The edges of a device's judgement of certificates and requests, one by one: found by changing it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.identity import (
    ENROLLED_AT,
    MAX_LIFE,
    MAX_PEM,
    Own,
    allowed,
    device_name,
    judge_certificate,
    key_digest,
    make_request,
    read_device_certificate,
    read_request,
)
from fwctl_agent.trust.verifier import TrustedTime

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DEVICE, REPO = "device-001", "acme"
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
AUTHORITY = ec.generate_private_key(ec.SECP256R1())
KEY, PENDING = ec.generate_private_key(ec.SECP256R1()), Ed25519PrivateKey.generate()
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "devices")])
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def made(key: Any = KEY, *, begin: datetime = NOW - DAY, end: datetime = NOW + 9 * DAY, **other: Any) -> str:
    """Return a certificate, PEM, as the device CA gives it, but for what `other` says."""
    stamp = b"\x18\x0f" + (NOW - 30 * DAY).strftime("%Y%m%d%H%M%S").encode() + b"Z"
    extensions: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=other.get("ca", False), path_length=None),
        x509.SubjectAlternativeName([x509.DNSName(device_name(DEVICE, REPO))]),
        x509.ExtendedKeyUsage(other.get("purposes", [SERVER])),
        x509.UnrecognizedExtension(ENROLLED_AT, stamp),
    ]
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), 7, begin, end)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(AUTHORITY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


OWN = Own(
    device=DEVICE,
    repo_id=REPO,
    enrolled_at=NOW - 30 * DAY,
    current=read_device_certificate(made(end=NOW + DAY)),
    pending=PENDING.public_key(),
    authority=made(AUTHORITY, ca=True).encode(),
)


def judged(pem: str, *, at: datetime = NOW, suspect: bool = False, own: Own = OWN) -> str:
    try:
        return judge_certificate(pem, own, time=TrustedTime(at, suspect), revoked=()).key
    except Refusal as refusal:
        return refusal.code


def test_a_certificate_counts_from_its_first_to_its_last_second() -> None:
    begin, end, good = NOW - DAY, NOW + 9 * DAY, key_digest(KEY.public_key())
    pem = made(begin=begin, end=end)
    assert [judged(pem, at=at) for at in (begin, NOW, end)] == [good] * 3
    assert [judged(pem, at=at) for at in (begin - SECOND, end + SECOND)] == ["E_CERTIFICATE"] * 2
    # a clock that has lost its battery may be behind, and is never ahead of what it has seen
    assert judged(pem, at=begin - SECOND, suspect=True) == good
    assert judged(pem, at=end + SECOND, suspect=True) == "E_CERTIFICATE"


def test_a_certificate_is_for_a_life_that_a_device_takes() -> None:
    begin = NOW - DAY
    assert judged(made(begin=begin, end=begin + MAX_LIFE)) == key_digest(KEY.public_key())
    assert judged(made(begin=begin, end=begin + MAX_LIFE + SECOND)) == "E_CERTIFICATE"


@pytest.mark.parametrize(
    "other",
    [{"ca": True}, {"purposes": [CLIENT]}, {"purposes": [SERVER, CLIENT]}, {"ca": True, "purposes": [CLIENT]}],
    ids=["an authority", "a client", "both", "an authority of clients"],
)
def test_a45_a_certificate_is_that_of_a_server_and_nothing_more(other: dict[str, Any]) -> None:
    assert judged(made()) == key_digest(KEY.public_key())
    assert judged(made(**other)) == "E_CERTIFICATE"


def test_a_device_without_a_pending_key_takes_its_own_only() -> None:
    assert judged(made(PENDING)) == key_digest(PENDING.public_key())
    assert judged(made(PENDING), own=replace(OWN, pending=None)) == "E_CERT_KEY"


def test_a_key_is_named_by_the_digest_of_its_der() -> None:
    der = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key_digest(KEY.public_key()) == f"sha256:{hashlib.sha256(der).hexdigest()}"


def test_a10_which_keys_a_device_may_have() -> None:
    assert allowed(KEY.public_key())
    assert allowed(PENDING.public_key())
    others = (
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
        Ed25519PublicKey.from_public_bytes(bytes(32)),
        Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31)),
        None,
    )
    assert [allowed(key) for key in others] == [False] * 5


def test_a_request_names_the_device_where_nobody_may_overlook_it() -> None:
    """RFC 5280, 4.1.2.6: without a subject the alternative name is critical."""
    (extension,) = x509.load_pem_x509_csr(make_request(KEY, DEVICE, REPO).encode()).extensions
    assert (extension.critical, extension.oid) == (True, x509.SubjectAlternativeName.oid)


def test_a_request_is_read_to_its_limit() -> None:
    pem = make_request(KEY, DEVICE, REPO)
    assert read_request(pem + "\n" * (MAX_PEM - len(pem)), DEVICE, REPO) == KEY.public_key()
    with pytest.raises(Refusal) as found:
        read_request(pem + "\n" * (MAX_PEM - len(pem) + 1), DEVICE, REPO)
    assert found.value.code == "E_REQUEST"
