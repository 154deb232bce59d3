"""What keeps the devices apart: a connection is a transport of httpx, and carries requests for its device alone."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from fwctl.fleet.connection import Address
from fwctl.fleet.transport import Connection
from tests.integration.fleet.devices import DEVICE, Pki, Scripted, document, response, serving

NAME = f"{DEVICE}.devices.acme.fwctl"


@pytest.fixture
def tls(pki: Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.authorities.device_ca))
    context.load_cert_chain(pki.authorities.controller, pki.authorities.controller_key)
    return context


@pytest.fixture
def device() -> Scripted:
    return Scripted(response(200, document().to_wire()))


@pytest.fixture
async def address(pki: Pki, device: Scripted) -> AsyncIterator[Address]:
    async with serving(device, pki.server()) as text:
        yield Address.parse(text)


def to(address: Address, tls: ssl.SSLContext) -> Connection:
    return Connection(NAME, address, tls, most=1 << 20)


def client(connection: Connection) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=connection, trust_env=False)


@pytest.mark.parametrize("open_before", [True, False])
@pytest.mark.parametrize(
    "url", ["https://device-002.devices.acme.fwctl:{port}", f"https://{NAME}", f"http://{NAME}:{{port}}"]
)
async def test_a_request_never_rides_on_another_devices_connection(
    address: Address, device: Scripted, tls: ssl.SSLContext, url: str, *, open_before: bool
) -> None:
    async with client(to(address, tls)) as http:
        if open_before:
            await http.get(f"https://{NAME}:{address.port}/v1/device")
        with pytest.raises(httpx.LocalProtocolError):
            await http.get(url.format(port=address.port))
    assert len(device.requests) == device.connections == int(open_before)


async def test_failures_are_httpxs_with_their_cause(tls: ssl.SSLContext, pki: Pki) -> None:
    async with serving(Scripted(b""), pki.server("device-007")) as text:
        where = Address.parse(text)
        with pytest.raises(httpx.ConnectError) as caught:
            await client(to(where, tls)).get(f"https://{NAME}:{where.port}/")
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_a_reply_that_stops_is_a_read_timeout(tls: ssl.SSLContext, pki: Pki) -> None:
    async with serving(Scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), pki.server()) as text:
        where = Address.parse(text)
        async with client(to(where, tls)) as http:
            with pytest.raises(httpx.ReadTimeout):
                await http.get(f"https://{NAME}:{where.port}/", timeout=0.2)


@pytest.mark.parametrize(
    "headers", [{"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X\r\nY": "b"}, {"X:": "b"}, {"": "b"}, {"X": "\0"}]
)
async def test_what_is_no_header_is_not_sent(
    address: Address, device: Scripted, tls: ssl.SSLContext, headers: dict[str, str]
) -> None:
    async with client(to(address, tls)) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.get(f"https://{NAME}:{address.port}/v1/device", headers=headers)
    assert device.connections == 0


@pytest.mark.parametrize("target", [b"/v1 HTTP/1.1\r\nX: y\r\n\r\nGET /v1", b"/a b", b"", b"v1", b"/\xff"])
async def test_what_is_no_target_is_not_sent(
    address: Address, device: Scripted, tls: ssl.SSLContext, target: bytes
) -> None:
    async with client(to(address, tls)) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.get(f"https://{NAME}:{address.port}/", extensions={"target": target})
    assert device.connections == 0


@pytest.mark.parametrize("length", [2, 4])
async def test_a_body_is_as_long_as_it_states(address: Address, tls: ssl.SSLContext, length: int) -> None:
    async with client(to(address, tls)) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.put(f"https://{NAME}:{address.port}/", content=b"abc", headers={"Content-Length": str(length)})


async def test_a_body_without_a_length_is_not_sent(address: Address, device: Scripted, tls: ssl.SSLContext) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"abc"

    async with client(to(address, tls)) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.put(f"https://{NAME}:{address.port}/", content=body())
    assert device.requests == []
