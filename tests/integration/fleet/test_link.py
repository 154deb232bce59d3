"""What a well-behaved device and the link say to each other."""

from __future__ import annotations

import io
import itertools
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fwctl.errors import InputError, WorldError
from fwctl.fleet.certificates import Authorities, DeviceIssuer, read_device_certificate
from fwctl.fleet.interface import DeviceLink, DeviceLinks, ImageReader, LinkError
from fwctl.fleet.link import Links
from fwctl_agent.protocol.messages import BusyReply, OrderReply, RefusedReply, TrustVersions
from tests.integration.fleet.devices import (
    DEVICE,
    ORDER,
    REPO,
    Pki,
    Scripted,
    document,
    response,
    server_context,
    serving,
    standing,
)


async def test_the_document_arrives_with_the_certificate_that_vouches_for_it(pki: Pki) -> None:
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        before = link.peer_certificate
        assert await link.device() == document()
        after = link.peer_certificate
    assert before is None
    assert read_device_certificate(after or "").device == DEVICE


async def test_a_visit_of_three_requests_is_one_connection(pki: Pki) -> None:
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        for _ in range(3):
            await link.device()
    assert (device.connections, len(device.requests)) == (1, 3)
    assert device.requests[0].headers["host"].startswith(f"{DEVICE}.devices.acme.fwctl:")


async def test_a_connection_that_the_device_closed_is_made_again(pki: Pki) -> None:
    reply = response(200, document().to_wire(), headers="Connection: close\r\n")
    device = Scripted(reply)
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        await link.device()
        await link.device()
    assert device.connections == 2


async def test_cookies_are_not_kept(pki: Pki) -> None:
    reply = response(200, document().to_wire(), headers="Set-Cookie: id=1; Max-Age=9999\r\nSet-Cookie2: \xff\r\n")
    device, links = Scripted(reply), pki.links()
    async with serving(device, pki.server()) as address:
        for _ in range(2):
            async with links.open(DEVICE, address) as link:
                await link.device()
                await link.device()
    assert len(device.requests) == 4
    assert not any("cookie" in request.headers for request in device.requests)


async def test_a_reply_is_asked_for_as_it_stands(pki: Pki) -> None:
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        await link.device()
    assert device.requests[0].headers["accept-encoding"] == "identity"
    assert "transfer-encoding" not in device.requests[0].headers


async def test_an_order_is_accepted(pki: Pki) -> None:
    device = Scripted(response(202, standing(offset=0)))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        reply = await link.put_order(ORDER, b'{"order":1}')
    assert reply == OrderReply(ORDER, "accepted", 0, None, None)
    request = device.requests[0]
    assert (request.line, request.body) == (f"PUT /v1/orders/{ORDER} HTTP/1.1", b'{"order":1}')


@pytest.mark.parametrize("status", [408, 413, 422, 503])
async def test_a_refusal_arrives_without_what_could_steer_a_terminal(pki: Pki, status: int) -> None:
    device = Scripted(response(status, {"class": "deferred", "code": "E_IO", "message": "disk\x1b[2Jfull"}))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        assert await link.put_order(ORDER, b"{}") == RefusedReply("deferred", "E_IO", "disk?[2Jfull")


async def test_a_busy_device_names_the_order_that_runs(pki: Pki) -> None:
    running = "sha256:" + "cd" * 32
    device = Scripted(response(409, {"code": "E_BUSY", "running": running}))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        assert await link.put_order(ORDER, b"{}") == BusyReply(running)


async def test_trust_alone_is_sent_and_answered_with_versions(pki: Pki) -> None:
    device = Scripted(response(200, TrustVersions(1, 2, 3, 4, 5).to_wire()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        assert await link.put_trust({"1.root.json": "{}"}) == TrustVersions(1, 2, 3, 4, 5)
    assert device.requests[0].body == b'{"1.root.json":"{}"}'


async def test_an_order_that_the_device_does_not_know_is_none(pki: Pki) -> None:
    device = Scripted(response(404, {"class": "resync", "code": "E_UNKNOWN_ORDER", "message": "?"}))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        assert await link.order(ORDER, wait=7) is None
    assert device.requests[0].line == f"GET /v1/orders/{ORDER}?wait=7 HTTP/1.1"


@pytest.mark.parametrize("offset", [0, 1, 700_000, 999_999])
async def test_an_image_is_streamed_from_where_the_device_stopped(pki: Pki, offset: int) -> None:
    image = bytes(range(250)) * 4000
    device = Scripted(response(202, standing()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        await link.put_image(ORDER, io.BytesIO(image), offset=offset, total=len(image))
    request = device.requests[0]
    assert request.body == image[offset:]
    assert request.headers["content-range"] == f"bytes {offset}-999999/1000000"
    assert "transfer-encoding" not in request.headers


@pytest.mark.parametrize("offset", [0, 1, 99_999, 699_999])
async def test_an_image_may_be_held_and_shared(pki: Pki, offset: int) -> None:
    image = bytes(range(250)) * 2800
    device = Scripted(response(202, standing()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        await link.put_image(ORDER, image, offset=offset, total=len(image))
    assert device.requests[0].body == image[offset:]
    assert device.requests[0].headers["content-range"] == f"bytes {offset}-699999/700000"


async def test_an_image_that_is_held_and_too_short_is_the_storages_fault(pki: Pki) -> None:
    device = Scripted(response(202, standing()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        with pytest.raises(WorldError) as caught:
            await link.put_image(ORDER, b"short", offset=0, total=6)
    assert caught.value.code == "E_LENGTH"
    assert device.requests == []


async def test_connecting_is_a_step_of_its_own(pki: Pki) -> None:
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        await link.connect()
        assert read_device_certificate(link.peer_certificate or "").device == DEVICE
        await link.connect()
        await link.device()
    assert (device.connections, len(device.requests)) == (1, 1)


@pytest.mark.parametrize("offset", [-1, 100, 101])
async def test_an_offset_outside_the_image_is_the_devices_mistake(pki: Pki, offset: int) -> None:
    async with pki.links().open(DEVICE, "127.0.0.1:1") as link:
        with pytest.raises(LinkError) as caught:
            await link.put_image(ORDER, io.BytesIO(bytes(100)), offset=offset, total=100)
    assert caught.value.code == "E_DEVICE_REPLY"


async def test_the_https_link_is_the_port_that_the_loop_asks_for(pki: Pki) -> None:
    links: DeviceLinks = pki.links()
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, pki.server()) as address, links.open(DEVICE, address) as opened:
        link: DeviceLink = opened
        assert (await link.device()).id == DEVICE


class Broken:
    """Storage that fails after the first piece."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.pieces = [b"x" * 1000]

    def read(self, size: int = -1, /) -> bytes:
        if self.pieces:
            return self.pieces.pop()
        raise self.error

    def seek(self, offset: int, /) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [WorldError("damaged", code="E_HASH", remedy="-"), OSError(5, "I/O error"), TimeoutError()]
)
@pytest.mark.parametrize("offset", [0, 10])
async def test_what_the_storage_raises_is_not_blamed_on_the_device(pki: Pki, error: Exception, offset: int) -> None:
    reader: ImageReader = Broken(error)
    device = Scripted(response(202, standing()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        with pytest.raises(type(error)) as caught:
            await link.put_image(ORDER, reader, offset=offset, total=5000)
    assert type(caught.value) is type(error)
    assert device.requests == []


async def test_an_image_that_ends_early_is_the_storages_fault(pki: Pki) -> None:
    device = Scripted(response(202, standing()))
    async with serving(device, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        with pytest.raises(WorldError) as caught:
            await link.put_image(ORDER, io.BytesIO(b"short"), offset=0, total=6)
    assert caught.value.code == "E_LENGTH"
    assert not isinstance(caught.value, LinkError)


async def test_two_devices_at_one_address_are_told_apart_by_name(pki: Pki) -> None:
    contexts = {f"{name}.devices.acme.fwctl": pki.server(name) for name in ("left", "right")}

    def choose(tls: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        tls.context = contexts.get(name, context)

    front = pki.server("left")
    front.set_servername_callback(choose)  # type: ignore[arg-type]
    device = Scripted(response(200, document("right").to_wire()))
    links = pki.links()
    async with serving(device, front) as address:
        async with links.open("right", address) as right:
            assert (await right.device()).id == "right"
            assert read_device_certificate(right.peer_certificate or "").device == "right"
        async with links.open("left", address) as left:
            with pytest.raises(LinkError) as caught:
                await left.device()
    assert (caught.value.code, caught.value.kind) == ("E_REPORT", "reply")
    assert "says that it is right" in caught.value.message


async def test_proxies_in_the_environment_are_ignored(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    trap, device = Scripted(b""), Scripted(response(200, document().to_wire()))
    async with serving(trap, None) as proxy, serving(device, pki.server()) as address:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy}")
            monkeypatch.setenv(name.lower(), f"http://{proxy}")
        async with pki.links().open(DEVICE, address) as link:
            await link.device()
    assert (trap.connections, device.connections) == (0, 1)


@pytest.mark.parametrize("address", ["", "device", "device:", ":1", "device:0", "device:65536", "::1:80", "a:١"])
def test_what_is_no_address_is_refused_before_anything_is_sent(pki: Pki, address: str) -> None:
    with pytest.raises(InputError) as caught:
        pki.links().open(DEVICE, address)
    assert caught.value.code == "E_ADDRESS"


async def test_an_ipv6_address_stands_in_brackets(pki: Pki) -> None:
    async with pki.links().open(DEVICE, "[::1]:1") as link:
        with pytest.raises(LinkError) as caught:
            await link.device()
    assert caught.value.code == "E_UNREACHABLE"


async def test_a_device_may_hold_an_ed25519_key(pki: Pki) -> None:
    key = Ed25519PrivateKey.generate()
    issuer = DeviceIssuer.load(pki.keystore, REPO)
    certificate = issuer.certify(DEVICE, key.public_key(), enrolled_at=pki.now, now=pki.now).decode()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() + certificate
    context = server_context(pem, pki.authorities.controller_ca)
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, context) as address, pki.links().open(DEVICE, address) as link:
        assert (await link.device()).id == DEVICE


def encrypted(pem: bytes) -> bytes:
    return load_pem_private_key(pem, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *itertools.product(
            ["device-ca.cert.pem", "controller.cert.pem", "controller.key.pem"],
            [lambda _: b"", lambda _: b"junk", None],
        ),
        ("controller.key.pem", encrypted),
    ],
)
def test_certificates_that_cannot_be_used_say_where_they_lie(
    pki: Pki, tmp_path: Path, name: str, change: Callable[[bytes], bytes] | None
) -> None:
    folder = tmp_path / "pki"
    shutil.copytree(pki.authorities.folder, folder)
    if change is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(InputError) as caught:
        Links(Authorities(folder), REPO)
    place = folder / name if name == "device-ca.cert.pem" else folder  # OpenSSL does not say which of the pair it is
    assert (caught.value.code, caught.value.place) == ("E_PKI", str(place))
