"""What keeps the devices apart below one shared httpx client."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from fwctl.fleet.connection import Address
from fwctl.fleet.transport import Connection, new_client
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


async def test_a_request_that_names_no_connection_goes_nowhere(address: Address, device: Scripted) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await new_client().get(f"https://{address.host}:{address.port}/v1/device")
    assert device.connections == 0


@pytest.mark.parametrize("open_before", [True, False])
@pytest.mark.parametrize(
    "url", ["https://device-002.devices.acme.fwctl:{port}", f"https://{NAME}", f"http://{NAME}:{{port}}"]
)
async def test_a_request_never_rides_on_another_devices_connection(
    address: Address, device: Scripted, tls: ssl.SSLContext, url: str, *, open_before: bool
) -> None:
    client, connection = new_client(), to(address, tls)
    if open_before:
        await client.get(f"https://{NAME}:{address.port}/v1/device", extensions=connection.extensions)
    with pytest.raises(httpx.LocalProtocolError):
        await client.get(url.format(port=address.port), extensions=connection.extensions)
    await connection.close()
    assert len(device.requests) == device.connections == int(open_before)


async def test_failures_are_httpxs_with_their_cause(tls: ssl.SSLContext, pki: Pki) -> None:
    async with serving(Scripted(b""), pki.server("device-007")) as text:
        where = Address.parse(text)
        with pytest.raises(httpx.ConnectError) as caught:
            await new_client().get(f"https://{NAME}:{where.port}/", extensions=to(where, tls).extensions)
    cause = caught.value.__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, ssl.SSLCertVerificationError)


async def test_a_reply_that_stops_is_a_read_timeout(tls: ssl.SSLContext, pki: Pki) -> None:
    async with serving(Scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), pki.server()) as text:
        where = Address.parse(text)
        connection = to(where, tls)
        with pytest.raises(httpx.ReadTimeout):
            await new_client().get(f"https://{NAME}:{where.port}/", timeout=0.2, extensions=connection.extensions)
        await connection.close()
