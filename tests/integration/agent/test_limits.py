"""Slow, silent and broken peers, and a disk that is full: the agent stays reachable. Real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fwctl.fleet.certificates import device_name
from fwctl_agent.protocol import enrolment
from fwctl_agent.runtime.assemble import assemble
from fwctl_agent.runtime.host import Host
from fwctl_agent.server import body, protocol
from fwctl_agent.server.run import listen
from fwctl_agent.server.serve import AgentServer
from fwctl_agent.server.tls import server_context
from tests.support.agents import FACTORY, Yard, agent, outcome_of
from tests.support.signing import REPO, image_of

IMAGE = image_of("firmware 2.5.0", 300_000)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


@pytest.fixture(params=["h11", "httptools"])
def quick(request: pytest.FixtureRequest) -> bool:
    """Say which HTTP parser serves: the limits are those of both."""
    if request.param == "httptools":
        pytest.importorskip("httptools")
    return bool(request.param == "httptools")


@contextlib.asynccontextmanager
async def served(yard: Yard, *, quick: bool) -> AsyncIterator[tuple[Host, int]]:
    """Serve a device in this process, so that its time limits can be short."""
    folder = yard.enroll("device-001")
    tls = server_context(folder / enrolment.CERTIFICATE, folder / enrolment.KEY, folder / enrolment.CONTROLLER_CA)
    listener = listen("127.0.0.1", 0)
    ready = asyncio.Event()
    server = AgentServer(listener, tls, connections=8, ready=ready.set, quick=quick)
    host = tls.host = Host(assemble(folder), restart=lambda _: None)
    task = asyncio.create_task(server._serve())
    await ready.wait()
    try:
        yield host, listener.getsockname()[1]
    finally:
        server.end(0)
        await task
        await host.stop()


@contextlib.asynccontextmanager
async def connected(yard: Yard, port: int) -> AsyncIterator[Streams]:
    context: ssl.SSLContext = yard.client_context()
    name = device_name("device-001", REPO)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def closed(reader: asyncio.StreamReader, seconds: float = 5) -> bytes:
    """Return what still came before the peer closed."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""


async def test_headers_that_drip_are_cut_off(yard: Yard, quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.5)
    async with served(yard, quick=quick) as (_, port), connected(yard, port) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            for letter in b"GET /v1/device HTTP/":
                writer.write(bytes([letter]))
                await asyncio.sleep(0.1)
        assert await closed(reader) == b""


async def test_a_connection_without_a_request_is_cut_off(
    yard: Yard, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    async with served(yard, quick=quick) as (_, port), connected(yard, port) as (reader, _):
        assert await closed(reader) == b""


async def test_headers_without_end_are_cut_off(yard: Yard, quick: bool) -> None:
    async with served(yard, quick=quick) as (_, port), connected(yard, port) as (reader, writer):
        writer.write(b"GET /v1/device HTTP/1.1\r\nX-Long: " + b"x" * 100_000)
        assert b"400" in await closed(reader)


async def test_a_body_that_stops_is_answered_and_cut(yard: Yard, quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "IDLE_SECONDS", 0.3)
    async with served(yard, quick=quick) as (_, port), connected(yard, port) as (reader, writer):
        writer.write(b"PUT /v1/trust HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        answer = await closed(reader)
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "E_CUT"


async def test_a_body_that_drips_is_cut(yard: Yard, quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "GRACE_SECONDS", 0.3)
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    async with served(yard, quick=quick) as (host, port), connected(yard, port) as (reader, writer):
        await host.call(host.device.put_order, order.id, request)
        writer.write(f"PUT /v1/orders/{order.id}/image HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for at in range(20):
                writer.write(IMAGE[at : at + 1])
                await asyncio.sleep(0.05)
        assert b"E_CUT" in await closed(reader)
        reply = host.device.reply(order.id)
        assert reply is not None
        assert reply.offset
        assert reply.offset < 20


@pytest.mark.parametrize("head", ["Content-Length: 3000000", "Transfer-Encoding: chunked"])
async def test_a_refusal_reaches_a_peer_that_still_sends(yard: Yard, quick: bool, head: str) -> None:
    path = f"/v1/orders/sha256:{'0' * 64}"
    body = b" " * 3_000_000
    if "chunked" in head:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    async with served(yard, quick=quick) as (_, port):
        for _ in range(5):
            async with connected(yard, port) as (reader, writer):
                writer.write(f"PUT {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
                await writer.drain()
                answer = await closed(reader)
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "E_LIMIT"


async def test_a_peer_that_waits_to_send_is_refused_at_once(yard: Yard, quick: bool) -> None:
    head = "Content-Length: 9000000\r\nExpect: 100-continue"
    async with served(yard, quick=quick) as (_, port), connected(yard, port) as (reader, writer):
        writer.write(f"PUT /v1/trust HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        answer = await closed(reader)
        assert answer.startswith(b"HTTP/1.1 422 ")
        assert b"E_LIMIT" in answer


async def test_more_connections_than_allowed_are_turned_away_and_let_in_again(yard: Yard, quick: bool) -> None:
    async with served(yard, quick=quick) as (_, port):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(connected(yard, port))
            reader, writer = await stack.enter_async_context(connected(yard, port))
            writer.write(b"GET /v1/device HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b" 503 " in await closed(reader)
        await asyncio.sleep(0.1)
        async with connected(yard, port) as (reader, writer):
            writer.write(b"GET /v1/device HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b" 200 " in await closed(reader)


async def test_a_long_poll_answers_when_the_order_moves(yard: Yard, quick: bool) -> None:
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    async with served(yard, quick=quick) as (host, _):
        device = host.device
        await host.call(device.put_order, order.id, request)
        assert (await asyncio.wait_for(host.wait(order.id, 30), 1)) == device.reply(order.id)
        intake = await host.call(device.open_image, order.id, 0, None)
        assert intake is not None
        await host.call(device.feed, intake, IMAGE)
        await host.call(device.close_image, intake)
        waiting = asyncio.create_task(host.wait(order.id, 30))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        host.kick()
        reply = await asyncio.wait_for(waiting, 5)
        assert reply is not None
        assert reply.state == "trial"


def test_a_full_disk_fails_the_order_and_the_device_stays_reachable(yard: Yard) -> None:
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    folder = yard.enroll("device-001")
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        unlimited = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (150_000, unlimited[1]))
        status, reply = client.push(order, IMAGE)
        assert (status, outcome_of(reply).klass) == (200, "install")
        with yard.client("device-001", running.address) as again:
            assert again.device()["running"]["version"] == "1.0.0"
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
            request, order, _ = yard.fleet.install_request("device-001", IMAGE, attempt=2)
            again.put(order, request)
            assert again.push(order, IMAGE)[1]["state"] == "trial"
    assert (folder / "slots" / "a.img").read_bytes() == FACTORY


def test_a_journal_that_cannot_be_written_defers_the_order(yard: Yard) -> None:
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    with agent(yard.enroll("device-001")) as running, yard.client("device-001", running.address) as client:
        unlimited = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (10, unlimited[1]))
        status, reply = client.put(order, request)
        assert (status, reply["class"], reply["code"]) == (422, "deferred", "E_IO")
        assert client.device()["state"] == "idle"
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
        assert client.put(order, request)[0] == 202
