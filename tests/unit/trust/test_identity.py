"""A device's judgement of a new certificate, and of what a request for one may say. No disk, no network."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from fwctl.errors import InputError
from fwctl.fleet.certificates import Authorities, DeviceIssuer, create_authorities
from fwctl.fleet.register import Entry, Register
from fwctl.trust.keystore import KeyStore
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.identity import (
    Own,
    device_name,
    judge_certificate,
    make_request,
    read_device_certificate,
    read_request,
)
from fwctl_agent.trust.verifier import TrustedTime

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DEVICE, REPO = "device-001", "acme"
NAME = device_name(DEVICE, REPO)
PENDING = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    keystore = KeyStore(tmp_path_factory.mktemp("keys"))
    create_authorities(keystore, REPO, NOW - timedelta(days=900))
    return keystore


@pytest.fixture(scope="module")
def own(keystore: KeyStore) -> Own:
    issuer = DeviceIssuer.load(keystore, REPO)
    _, pem = issuer.issue(DEVICE, enrolled_at=NOW - timedelta(days=800), now=NOW - timedelta(days=800))
    return Own(
        device=DEVICE,
        repo_id=REPO,
        enrolled_at=NOW - timedelta(days=800),
        current=read_device_certificate(pem.decode()),
        pending=PENDING.public_key(),
        authority=Authorities(keystore.pki).device_ca.read_bytes(),
    )


def certify(keystore: KeyStore, own: Own, **changes: Any) -> str:
    facts = {"device": DEVICE, "key": own.current.public_key, "enrolled_at": own.enrolled_at, "now": NOW} | changes
    issuer = DeviceIssuer.load(facts.get("by", keystore), facts.get("repo", REPO))
    pem = issuer.certify(facts["device"], facts["key"], enrolled_at=facts["enrolled_at"], now=facts["now"])
    return pem.decode()


def judged(pem: str, own: Own, revoked: tuple[str, ...] = (), *, suspect: bool = False) -> str:
    try:
        return judge_certificate(pem, own, time=TrustedTime(NOW, suspect), revoked=revoked).key
    except Refusal as refusal:
        return refusal.code


def test_a_renewal_and_a_rotation_are_taken(keystore: KeyStore, own: Own) -> None:
    assert judged(certify(keystore, own), own) == own.current.key
    assert judged(certify(keystore, own, key=PENDING.public_key()), own) not in (own.current.key, "E_CERT_KEY")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"device": "device-002"}, "E_CERTIFICATE"),
        ({"repo": "other"}, "E_CERTIFICATE"),
        ({"enrolled_at": NOW}, "E_CERTIFICATE"),
        ({"key": ec.generate_private_key(ec.SECP256R1()).public_key()}, "E_CERT_KEY"),
        ({"now": NOW - timedelta(days=800)}, "E_CERT_OLD"),
        ({"now": NOW - timedelta(days=850)}, "E_CERT_OLD"),
    ],
)
def test_a45_what_does_not_fit_is_refused(keystore: KeyStore, own: Own, changes: dict[str, Any], code: str) -> None:
    assert judged(certify(keystore, own, **changes), own) == code


def test_a45_another_authority_and_a_revoked_key_are_refused(keystore: KeyStore, own: Own, tmp_path: Path) -> None:
    other = KeyStore(tmp_path)
    create_authorities(other, REPO, NOW - timedelta(days=900))
    assert judged(certify(keystore, own, by=other), own) == "E_CERTIFICATE"
    assert judged(certify(keystore, own), own, (own.current.key,)) == "E_REVOKED"
    authority = Authorities(keystore.pki).device_ca.read_text()
    for junk in ("", "junk", authority):
        assert judged(junk, own) == "E_CERTIFICATE"


def test_a46_a_suspect_clock_proves_no_beginning(keystore: KeyStore, own: Own) -> None:
    assert judged(certify(keystore, own, now=NOW + timedelta(days=2)), own, suspect=True) == own.current.key


def request(names: list[x509.GeneralName], *more: x509.ExtensionType, key: Any = PENDING) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for extension in (*([x509.SubjectAlternativeName(names)] if names else []), *more):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def refused(pem: str) -> str:
    with pytest.raises(Refusal) as caught:
        read_request(pem, DEVICE, REPO)
    return caught.value.code


def test_a_request_of_either_kind_of_key_is_read() -> None:
    for key in (PENDING, Ed25519PrivateKey.generate()):
        assert read_request(make_request(key, DEVICE, REPO), DEVICE, REPO) == key.public_key()


@pytest.mark.parametrize(
    "names",
    [
        [],
        [x509.DNSName(device_name("device-002", REPO))],
        [x509.DNSName(device_name(DEVICE, "other"))],
        [x509.DNSName(f"*.devices.{REPO}.fwctl")],
        [x509.DNSName(NAME), x509.DNSName(device_name("device-002", REPO))],
        [x509.UniformResourceIdentifier(NAME)],
    ],
)
def test_a_request_for_anybody_else_is_refused(names: list[x509.GeneralName]) -> None:
    assert refused(request(names)) == "E_REQUEST"


def test_a_request_that_asks_for_more_or_is_weak_or_junk_is_refused() -> None:
    good: list[x509.GeneralName] = [x509.DNSName(NAME)]
    assert refused(request(good, x509.BasicConstraints(ca=True, path_length=None))) == "E_REQUEST"
    assert refused(request(good, key=rsa.generate_private_key(65537, 2048))) == "E_KEY_ALG"
    assert refused(request(good, key=ec.generate_private_key(ec.SECP384R1()))) == "E_KEY_ALG"
    assert refused("") == refused("junk") == refused("x" * 20_000) == "E_REQUEST"


def test_a_request_with_any_byte_flipped_is_refused() -> None:
    der = x509.load_pem_x509_csr(make_request(PENDING, DEVICE, REPO).encode()).public_bytes(Encoding.DER)
    for at in range(len(der)):
        flipped = der[:at] + bytes([der[at] ^ 0x55]) + der[at + 1 :]
        pem = ssl.DER_cert_to_PEM_cert(flipped).replace("CERTIFICATE", "CERTIFICATE REQUEST")
        assert refused(pem) in ("E_REQUEST", "E_KEY_ALG"), at


def entry(event: Any, key: str, device: str = DEVICE, days: int = 0) -> Entry:
    return Entry(event, device, "sha256:" + key * 64, NOW + timedelta(days=days), NOW)


def test_the_register_knows_who_has_what(tmp_path: Path) -> None:
    register = Register(tmp_path)
    assert register.read().keys(DEVICE) == ()
    a, b, c = ("sha256:" + key * 64 for key in "abc")
    register.add([entry("inForce", "a"), entry("inForce", "c", "device-002")])
    register.add([entry("issued", "b", days=9)])
    book = register.read()
    assert (book.current(DEVICE), book.superseded(DEVICE), book.holders(c)) == ((a, b), (), ("device-002",))
    register.add([entry("inForce", "b", days=9)])
    book = register.read()
    assert (book.current(DEVICE), book.superseded(DEVICE), book.end(DEVICE)) == ((b,), (a,), NOW + timedelta(days=9))
    assert register.path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_torn_spoils_no_other_and_one_that_was_altered_is_named(tmp_path: Path) -> None:
    register = Register(tmp_path)
    register.add([entry("inForce", "a")])
    whole = register.path.read_bytes()
    register.path.write_bytes(whole + whole[:40])
    register.add([entry("inForce", "b")])
    assert len(register.read().keys(DEVICE)) == 2
    register.path.write_bytes(whole.replace(b"inForce", b"unknown"))
    with pytest.raises(InputError) as caught:
        register.read()
    assert (caught.value.code, caught.value.place) == ("E_PKI", str(register.path))
