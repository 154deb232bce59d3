"""Who may speak to an agent, and what it says to those who send junk. Real TLS, a real process."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fwctl_agent.protocol.messages import MAX_ORDER_BODY, RefusedReply
from fwctl_agent.server.tls import peer_is_valid
from fwctl_agent.trust.verifier import PLAUSIBLE, TrustedTime
from tests.support.agents import Client, Running, Yard, agent
from tests.support.signing import image_of

ORDER = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return Yard(tmp_path_factory.mktemp("yard"))


@pytest.fixture(scope="module")
def running(yard: Yard) -> Iterator[Running]:
    with agent(yard.enroll("device-001")) as process:
        yield process


@pytest.fixture
def client(yard: Yard, running: Running) -> Iterator[Client]:
    with yard.client("device-001", running.address) as found:
        yield found


def controller(yard: Yard, folder: Path, *, begin: datetime, end: datetime) -> ssl.SSLContext:
    """Return a client context with a certificate of the right CA and the given validity."""
    ca = x509.load_pem_x509_certificate(yard.authorities.controller_ca.read_bytes())
    ca_key = serialization.load_pem_private_key(yard.authorities.controller_ca_key.read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    template = x509.load_pem_x509_certificate(yard.authorities.controller.read_bytes())
    names = template.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "controller")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(names.value, critical=names.critical)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = folder / "client.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = yard.client_context(certificate=False)
    context.load_cert_chain(pem)
    return context


def refused(running: Running, context: ssl.SSLContext) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        Client("device-001", running.address, context).device()


def test_a_peer_without_a_certificate_is_refused(yard: Yard, running: Running) -> None:
    refused(running, yard.client_context(certificate=False))


def test_a_peer_with_a_certificate_of_another_ca_is_refused(yard: Yard, running: Running, tmp_path: Path) -> None:
    context = yard.client_context(certificate=False)
    other = Yard(tmp_path)
    context.load_cert_chain(other.authorities.controller, other.authorities.controller_key)
    refused(running, context)


def test_a_device_cannot_command_a_device(yard: Yard, running: Running) -> None:
    folder = yard.enroll("device-002")
    context = yard.client_context(certificate=False)
    context.load_cert_chain(folder / "identity/device.cert.pem", folder / "identity/device.key.pem")
    refused(running, context)


def test_validity_is_judged_on_every_connection(yard: Yard, running: Running, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    refused(running, controller(yard, tmp_path, begin=now - 3 * hour, end=now - hour))
    refused(running, controller(yard, tmp_path, begin=now + hour, end=now + 3 * hour))
    good = controller(yard, tmp_path, begin=now - hour, end=now + hour)
    assert Client("device-001", running.address, good).device()["id"] == "device-001"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(yard: Yard, running: Running) -> None:
    context = yard.client_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    refused(running, context)


def test_a_suspect_clock_proves_an_end_but_no_beginning(yard: Yard) -> None:
    der = x509.load_pem_x509_certificate(yard.authorities.controller.read_bytes()).public_bytes(
        serialization.Encoding.DER
    )
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
    assert peer_is_valid(der, TrustedTime(early, suspect=True))
    assert not peer_is_valid(der, TrustedTime(early, suspect=False))
    assert not peer_is_valid(der, TrustedTime(late, suspect=False))
    assert not peer_is_valid(der, TrustedTime(late, suspect=True))
    assert not peer_is_valid(None, TrustedTime(datetime.now(UTC), suspect=False))


def test_a46_a_clock_far_ahead_does_not_put_a_device_out_of_reach(yard: Yard) -> None:
    certificate = x509.load_pem_x509_certificate(yard.authorities.controller.read_bytes())
    der, end = certificate.public_bytes(serialization.Encoding.DER), certificate.not_valid_after_utc
    late, second = datetime(2099, 1, 1, tzinfo=UTC), timedelta(seconds=1)
    proved = datetime.now(UTC)
    assert peer_is_valid(der, TrustedTime(late, suspect=False, floor=proved))
    assert not peer_is_valid(der, TrustedTime(late, suspect=False, floor=end + second)), "the floor clock proves an end"
    # a plausible clock does too
    assert not peer_is_valid(der, TrustedTime(end + second, suspect=False, floor=end + second - PLAUSIBLE))
    assert peer_is_valid(der, TrustedTime(end + second, suspect=False, floor=end - PLAUSIBLE))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/", None, 404, "E_NOT_FOUND"),
        ("GET", "/v1/device/../device", None, 404, "E_NOT_FOUND"),
        ("POST", "/v1/device", b"", 405, "E_NOT_FOUND"),
        ("GET", "/v1/orders/junk", None, 422, "E_SCHEMA"),
        ("GET", f"/v1/orders/{ORDER}", None, 404, "E_UNKNOWN_ORDER"),
        ("GET", f"/v1/orders/{ORDER}?wait=-1", None, 422, "E_SCHEMA"),
        ("GET", f"/v1/orders/{ORDER}?wait=%D9%A1", None, 422, "E_SCHEMA"),
        ("PUT", f"/v1/orders/{ORDER}", b"", 422, "E_SCHEMA"),
        ("PUT", f"/v1/orders/{ORDER}", b"\xff", 422, "E_SCHEMA"),
        ("PUT", f"/v1/orders/{ORDER}", b'{"a":1,"a":2}', 422, "E_SCHEMA"),
        ("PUT", f"/v1/orders/{ORDER}", b"[" * 100_000, 422, "E_LIMIT"),
        ("PUT", f"/v1/orders/{ORDER}", b" " * (MAX_ORDER_BODY + 1), 422, "E_LIMIT"),
        ("PUT", f"/v1/orders/{ORDER}", b'{"order":{},"approvals":[],"releases":[],"trust":{}}', 422, "E_SCHEMA"),
        ("PUT", f"/v1/orders/{ORDER}/image", b"x", 404, "E_UNKNOWN_ORDER"),
        ("PUT", "/v1/trust", b"{}", 422, "E_META_MISMATCH"),
        ("PUT", "/v1/trust", b"[]", 422, "E_SCHEMA"),
    ],
)
def test_junk_gets_a_code_and_no_traceback(
    client: Client, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    found, reply = client.ask(method, path, body)
    refusal = RefusedReply.from_wire(reply)
    assert (found, refusal.code) == (status, code)
    assert "Traceback" not in refusal.message


@pytest.mark.parametrize("header", ["bytes 0-1", "bytes 5-4/10", "items 0-1/2", "bytes 0-10/10", "bytes ٠-1/2"])
def test_a_range_must_make_sense(client: Client, header: str) -> None:
    headers: dict[str, Any] = {"Content-Range": header.encode()}
    status, reply = client.ask("PUT", f"/v1/orders/{ORDER}/image", b"x", headers)
    assert (status, reply["code"]) == (422, "E_RANGE")


def test_what_is_not_http_is_dropped(client: Client, running: Running, yard: Yard) -> None:
    client.connection.sock.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
    assert b"400" in client.connection.sock.recv(4096)
    with yard.client("device-001", running.address) as again:
        assert again.device()["id"] == "device-001"


def test_a_connection_that_says_nothing_holds_nobody_up(running: Running, yard: Yard) -> None:
    host, _, port = running.address.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    begun = time.monotonic()
    with yard.client("device-001", running.address) as client:
        assert client.device()["id"] == "device-001"
    assert time.monotonic() - begun < 3
    for connection in silent:
        connection.close()


def test_an_order_is_busy_for_a_second_one_and_cancelled(client: Client, yard: Yard) -> None:
    request, order, _ = yard.fleet.install_request("device-001", image_of("one"))
    other_request, other, _ = yard.fleet.install_request("device-001", image_of("two"))
    assert client.put(order, request)[0] == 202
    assert client.put(other, other_request) == (409, {"code": "E_BUSY", "running": order.id})
    cancel, cancel_request = yard.follow_up("cancel", order)
    assert client.put(cancel, cancel_request)[0] == 200
