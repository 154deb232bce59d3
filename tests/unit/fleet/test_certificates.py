"""Authorities and device certificates: who may vouch for whom, and what a certificate says."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from fwctl.errors import InputError
from fwctl.fleet.certificates import (
    ENROLLED_AT,
    Authorities,
    DeviceIssuer,
    create_authorities,
    read_device_certificate,
)
from fwctl.fleet.pki import PublicKey
from fwctl.trust.keystore import KeyStore

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENROLLED = datetime(2025, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def keystore(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "acme")


@pytest.fixture
def authorities(keystore: KeyStore) -> Authorities:
    return create_authorities(keystore, "acme", NOW)


def issue(
    keystore: KeyStore,
    device: str = "device-001",
    repo: str = "acme",
    *,
    enrolled_at: datetime = NOW,
    now: datetime = NOW,
) -> tuple[str, str]:
    key, pem = DeviceIssuer.load(keystore, repo).issue(device, enrolled_at=enrolled_at, now=now)
    return key.decode(), pem.decode()


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def purposes(found: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_all_is_private_to_the_owner(authorities: Authorities) -> None:
    assert authorities.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in authorities.folder.iterdir()} == {0o600}
    assert len(list(authorities.folder.iterdir())) == 6


def test_a_second_run_changes_nothing(keystore: KeyStore, authorities: Authorities) -> None:
    before = contents(authorities.folder)
    create_authorities(keystore, "acme", NOW + timedelta(days=400))
    assert contents(authorities.folder) == before


@pytest.mark.parametrize("lost", ["controller.cert.pem", "controller-ca.cert.pem", "device-ca.cert.pem"])
def test_a_run_that_was_killed_after_a_key_is_completed_with_that_key(
    keystore: KeyStore, authorities: Authorities, lost: str
) -> None:
    before = contents(authorities.folder)
    (authorities.folder / lost).unlink()
    create_authorities(keystore, "acme", NOW)
    after = contents(authorities.folder)
    assert set(after) == set(before)
    assert {name for name in after if after[name] != before[name]} == {lost}
    key = load_pem_private_key(after[lost.replace("cert", "key")], None)
    assert x509.load_pem_x509_certificate(after[lost]).public_key() == key.public_key()


def test_the_device_authority_key_may_be_kept_elsewhere(keystore: KeyStore, authorities: Authorities) -> None:
    authorities.device_ca_key.unlink()
    create_authorities(keystore, "acme", NOW)
    assert not authorities.device_ca_key.exists()
    with pytest.raises(InputError) as caught:
        issue(keystore)
    assert (caught.value.code, caught.value.place) == ("E_PKI", str(authorities.device_ca_key))


@pytest.mark.parametrize("junk", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
@pytest.mark.parametrize("name", ["device-ca.key.pem", "device-ca.cert.pem"])
def test_a_damaged_file_is_named(keystore: KeyStore, authorities: Authorities, name: str, junk: bytes) -> None:
    (authorities.folder / name).write_bytes(junk)
    with pytest.raises(InputError) as caught:
        issue(keystore)
    assert (caught.value.code, caught.value.place) == ("E_PKI", str(authorities.folder / name))


def test_a_key_of_another_authority_is_not_used(keystore: KeyStore, authorities: Authorities) -> None:
    authorities.device_ca_key.write_bytes(authorities.controller_ca_key.read_bytes())
    with pytest.raises(InputError) as caught:
        issue(keystore)
    assert caught.value.code == "E_PKI"


def test_each_side_serves_one_purpose_within_its_names(keystore: KeyStore, authorities: Authorities) -> None:
    _, pem = issue(keystore)
    device = x509.load_pem_x509_certificate(pem.encode())
    for ca, end, purpose, names in [
        (authorities.device_ca, device, ExtendedKeyUsageOID.SERVER_AUTH, "devices.acme.fwctl"),
        (
            authorities.controller_ca,
            certificate(authorities.controller),
            ExtendedKeyUsageOID.CLIENT_AUTH,
            "controller.acme.fwctl",
        ),
    ]:
        above = certificate(ca)
        end.verify_directly_issued_by(above)
        assert purposes(above) == purposes(end) == [purpose]
        limits = above.extensions.get_extension_for_class(x509.NameConstraints)
        assert limits.critical
        assert limits.value.permitted_subtrees == [x509.DNSName(names)]
        constraints = above.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
        assert not end.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_nothing_outlives_its_authority(keystore: KeyStore, authorities: Authorities) -> None:
    later = NOW + timedelta(days=3000)
    _, pem = issue(keystore, now=later)
    device, ca = x509.load_pem_x509_certificate(pem.encode()), certificate(authorities.device_ca)
    assert device.not_valid_after_utc == ca.not_valid_after_utc == NOW + timedelta(days=3652)
    assert device.not_valid_before_utc == ca.not_valid_before_utc, "whatever the clocks of both sides say (A46)"


def test_an_authority_that_has_ended_issues_nothing(keystore: KeyStore, authorities: Authorities) -> None:
    for late in (timedelta(days=3652), timedelta(days=9000)):
        with pytest.raises(InputError, match="has ended on 2036-11-22") as refused:
            issue(keystore, now=NOW + late)
        assert refused.value.code == "E_CA_EXPIRED"


def test_a_device_certificate_says_who_and_since_when(keystore: KeyStore, authorities: Authorities) -> None:
    key, pem = issue(keystore, enrolled_at=ENROLLED)
    found = read_device_certificate(pem)
    assert (found.device, found.repo_id, found.enrolled_at) == ("device-001", "acme", ENROLLED)
    assert found.public_key == load_pem_private_key(key.encode(), None).public_key()


def test_a_renewal_keeps_key_and_enrolment(keystore: KeyStore, authorities: Authorities) -> None:
    old = read_device_certificate(issue(keystore, enrolled_at=ENROLLED)[1])
    pem = DeviceIssuer.load(keystore, "acme").certify(
        old.device, old.public_key, enrolled_at=old.enrolled_at, now=NOW + timedelta(days=900)
    )
    renewed = read_device_certificate(pem.decode())
    assert renewed == old
    assert renewed.end == old.end + timedelta(days=900)


@pytest.mark.parametrize("device", ["a", "0", "x" * 63, "a-b"])
def test_names_of_every_length_fit(tmp_path: Path, device: str) -> None:
    keystore, repo = KeyStore(tmp_path), "r" * 63
    create_authorities(keystore, repo, NOW)
    _, pem = issue(keystore, device, repo)
    assert (read_device_certificate(pem).device, read_device_certificate(pem).repo_id) == (device, repo)


def test_serial_numbers_differ(keystore: KeyStore, authorities: Authorities) -> None:
    pems = [issue(keystore)[1] for _ in range(5)]
    assert len({x509.load_pem_x509_certificate(pem.encode()).serial_number for pem in pems}) == 5


def weak_keys() -> list[PublicKey]:
    foreign = rsa.generate_private_key(65537, 2048).public_key()
    return [
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little")),  # a point of order 1
        foreign,  # type: ignore[list-item]
    ]


@pytest.mark.parametrize("key", weak_keys())
def test_weak_or_foreign_keys_are_not_certified(keystore: KeyStore, authorities: Authorities, key: PublicKey) -> None:
    with pytest.raises(InputError) as caught:
        DeviceIssuer.load(keystore, "acme").certify("device-001", key, enrolled_at=NOW, now=NOW)
    assert caught.value.code == "E_KEY_ALG"


def test_an_ed25519_key_of_the_device_is_certified(keystore: KeyStore, authorities: Authorities) -> None:
    key = Ed25519PrivateKey.generate().public_key()
    pem = DeviceIssuer.load(keystore, "acme").certify("device-001", key, enrolled_at=NOW, now=NOW)
    assert read_device_certificate(pem.decode()).public_key == key


# Reading what others made

TIME = b"\x18\x0f20250203040506Z"


def handmade(
    names: list[x509.GeneralName] | None, time: bytes | None, key: PublicKey | rsa.RSAPublicKey | None = None
) -> str:
    signer = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key or signer.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    if time is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(ENROLLED_AT, time), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def dns(name: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name)]


GOOD = dns("device-001.devices.acme.fwctl")


def test_a_handmade_certificate_of_the_documented_form_is_read() -> None:
    found = read_device_certificate(handmade(GOOD, TIME))
    assert replace(found, public_key=found.public_key).enrolled_at == ENROLLED


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "junk",
        "\udcff",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        handmade(None, TIME),
        handmade([], TIME),
        handmade(GOOD, None),
        handmade(GOOD + dns("device-002.devices.acme.fwctl"), TIME),
        handmade([x509.UniformResourceIdentifier("device-001.devices.acme.fwctl")], TIME),
        handmade([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))], TIME),
        handmade(dns("*.devices.acme.fwctl"), TIME),
        handmade(dns("a.b.devices.acme.fwctl"), TIME),
        handmade(dns("device-001.devices.acme.fwctl.example"), TIME),
        handmade(dns("Device-001.devices.acme.fwctl"), TIME),
        handmade(dns("controller.acme.fwctl"), TIME),
        handmade(GOOD, b""),
        handmade(GOOD, TIME + b"\x00"),
        handmade(GOOD, b"\x18\x0f20251303040506Z"),
        handmade(GOOD, b"\x18\x0f00000101000000Z"),
        handmade(GOOD, b"\x0c\x0f20250203040506Z"),
        handmade(GOOD, TIME, rsa.generate_private_key(65537, 2048).public_key()),
        handmade(GOOD, TIME, ec.generate_private_key(ec.SECP384R1()).public_key()),
        handmade(GOOD, TIME, Ed25519PublicKey.from_public_bytes(bytes(32))),
    ],
)
def test_what_is_no_device_certificate_is_refused(pem: str) -> None:
    with pytest.raises(InputError) as caught:
        read_device_certificate(pem)
    assert caught.value.code == "E_CERTIFICATE"


def test_flipping_any_byte_of_a_certificate_raises_nothing_unforeseen() -> None:
    der = x509.load_pem_x509_certificate(handmade(GOOD, TIME).encode()).public_bytes(Encoding.DER)
    codes = set()
    for at in range(len(der)):
        flipped = der[:at] + bytes([der[at] ^ 0x55]) + der[at + 1 :]
        with contextlib.suppress(InputError):
            read_device_certificate(ssl.DER_cert_to_PEM_cert(flipped))
            codes.add("read")
    assert codes == {"read"}  # the signature is not judged here
