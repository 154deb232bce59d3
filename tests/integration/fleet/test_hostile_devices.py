"""What a broken or hostile device can do to the reconciler: nothing but an error with a code, soon."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import ssl
import struct
import time
import warnings

import pytest

from fwctl.fleet.interface import LinkError
from fwctl.fleet.link import Timeouts
from fwctl_agent.protocol.messages import OrderReply
from tests.integration.fleet.devices import (
    DEVICE,
    ORDER,
    Handler,
    Pki,
    Scripted,
    document,
    read_request,
    response,
    server_context,
    serving,
    standing,
)

GOOD = response(200, document().to_wire())
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def failure(pki: Pki, address: str, timeouts: Timeouts | None = None) -> LinkError:
    links = pki.links(timeouts) if timeouts else pki.links()
    async with links.open(DEVICE, address) as link:
        with pytest.raises(LinkError) as caught:
            await link.device()
    return caught.value


def is_(error: LinkError, code: str, kind: str, *, reached: bool) -> None:
    assert (error.code, error.kind, error.reached) == (code, kind, reached), error
    assert error.place.startswith(DEVICE)
    assert error.remedy


# Who answers


async def test_nobody_listens(pki: Pki) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = await failure(pki, f"127.0.0.1:{free.getsockname()[1]}")
    is_(error, "E_UNREACHABLE", "unreachable", reached=False)


async def test_a_name_that_does_not_resolve(pki: Pki) -> None:
    is_(await failure(pki, "no-such-host.invalid:443"), "E_UNREACHABLE", "unreachable", reached=False)


@pytest.mark.parametrize("host", ["x" * 64, "a..b", "nul\0byte", "\udcff"])
async def test_a_host_that_cannot_be_a_name(pki: Pki, host: str) -> None:
    is_(await failure(pki, f"{host}:443"), "E_UNREACHABLE", "unreachable", reached=False)


async def test_a_handshake_that_hangs_ends_with_the_connect_timeout(pki: Pki) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    begun = time.monotonic()
    async with serving(silent, None) as address:
        is_(await failure(pki, address, Timeouts(connect=0.2)), "E_UNREACHABLE", "unreachable", reached=False)
    assert time.monotonic() - begun < 2


async def test_a_handshake_that_is_given_up_leaves_no_connection(pki: Pki) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(1 << 16):
                pass
        gone.set()

    async with serving(silent, None) as address:
        async with pki.links(Timeouts(connect=0.2)).open(DEVICE, address) as link:
            with pytest.raises(LinkError) as caught:
                await link.connect()
            is_(caught.value, "E_UNREACHABLE", "unreachable", reached=False)
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_device_that_never_accepts_is_given_up_with_the_connect_timeout(pki: Pki) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # its backlog is full: the kernel drops what comes next, as a black hole does
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        error = await failure(pki, f"127.0.0.1:{full.getsockname()[1]}", Timeouts(connect=0.3))
    is_(error, "E_UNREACHABLE", "unreachable", reached=False)


async def test_plain_http_is_no_tls(pki: Pki) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with serving(plain, None) as address:
        is_(await failure(pki, address), "E_TLS", "tls", reached=False)


async def test_a_handshake_that_is_broken_off(pki: Pki) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with serving(breaks, None) as address:
        is_(await failure(pki, address), "E_TLS", "tls", reached=False)


async def test_a_device_of_another_authority(pki: Pki, foreign: Pki) -> None:
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, foreign.server(clients=pki.authorities.controller_ca)) as address:
        is_(await failure(pki, address), "E_TLS", "tls", reached=False)
    assert device.requests == []


async def test_another_device_of_the_same_fleet_is_named(pki: Pki) -> None:
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, pki.server("device-007")) as address:
        error = await failure(pki, address)
    is_(error, "E_TLS", "tls", reached=False)
    assert "device-007.devices.acme.fwctl" in error.message
    assert device.requests == []


async def test_a_name_outside_the_fleet_is_beyond_the_device_authority(pki: Pki) -> None:
    async with serving(Scripted(b""), pki.server(DEVICE, repo="other")) as address:
        error = await failure(pki, address)
    is_(error, "E_TLS", "tls", reached=False)
    # The name it carries is not even told, because nobody may vouch for it.
    assert "the certificate names somebody else" in error.message


async def test_an_authority_past_its_end_is_told_from_a_device_past_its_own(ancient: Pki) -> None:
    async with serving(Scripted(b""), ancient.server()) as address:
        error = await failure(ancient, address)
    is_(error, "E_CA_EXPIRED", "tls", reached=False)
    assert "docs/how-to/identities.md" in error.remedy


async def test_the_reconcilers_own_certificate_is_no_device(pki: Pki) -> None:
    authorities = pki.authorities
    context = server_context(
        authorities.controller_key.read_text() + authorities.controller.read_text(), authorities.controller_ca
    )
    async with serving(Scripted(b""), context) as address:
        is_(await failure(pki, address), "E_TLS", "tls", reached=False)


async def test_a_device_that_refuses_our_certificate(pki: Pki, foreign: Pki) -> None:
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, pki.server(clients=foreign.authorities.controller_ca)) as address:
        error = await failure(pki, address)
    is_(error, "E_TLS", "tls", reached=False)
    assert "refuses our certificate" in error.message
    assert device.requests == []


async def test_tls_1_1_is_not_spoken(pki: Pki) -> None:
    context = pki.server()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(Scripted(response(200, document().to_wire())), context) as address:
        is_(await failure(pki, address), "E_TLS", "tls", reached=False)


async def test_a_refused_certificate_is_told_in_tls_1_2_too(pki: Pki, foreign: Pki) -> None:
    context = pki.server(clients=foreign.authorities.controller_ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(Scripted(b""), context) as address:
        is_(await failure(pki, address), "E_TLS", "tls", reached=False)


# What it says


@pytest.mark.parametrize(
    "reply",
    [
        b"\x00\xff\x00garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        response(200, b"<html>", kind="text/html"),
        response(200, b"not json"),
        response(200, b'{"id":1,"id":1}'),
        response(200, b"[" * 100_000),
        response(200, {}),
        response(200, [document().to_wire()]),
        response(200, document().to_wire() | {"more": 1}),
        response(200, document().to_wire(), headers="Content-Encoding: gzip\r\n"),
        response(200, b""),
        response(201, document().to_wire()),
        response(404, document().to_wire()),
        response(500, {"class": "deferred", "code": "E_INTERNAL", "message": "bug"}),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        JSON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        JSON + b"Content-Length: 1048577\r\n\r\n",
        JSON + b"Content-Length: 99999999999999999999999\r\n\r\n",
    ],
)
async def test_nonsense(pki: Pki, reply: bytes) -> None:
    async with serving(Scripted(reply), pki.server()) as address:
        is_(await failure(pki, address), "E_DEVICE_REPLY", "reply", reached=True)


async def test_a_field_name_cannot_steer_the_terminal(pki: Pki) -> None:
    reply = response(200, document().to_wire() | {"\x1b[2J\u202e": 1})
    async with serving(Scripted(reply), pki.server()) as address:
        assert (await failure(pki, address)).message.isprintable()


async def test_a_redirect_is_not_followed(pki: Pki) -> None:
    elsewhere = Scripted(response(200, document().to_wire()))
    async with serving(elsewhere, pki.server()) as target:
        reply = response(302, {}, headers=f"Location: https://{target}/v1/device\r\n")
        async with serving(Scripted(reply), pki.server()) as address:
            is_(await failure(pki, address), "E_REDIRECT", "reply", reached=True)
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "location", ["http://[", "https://\u202e:x/", "//" + "a" * 9000, "\\\\", "", "https://xn--\xff/"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_nowhere_is_a_redirect(pki: Pki, status: int, location: str) -> None:
    reply = response(status, {}, headers=f"Location: {location}\r\n")
    async with serving(Scripted(reply), pki.server()) as address:
        is_(await failure(pki, address), "E_REDIRECT", "reply", reached=True)


async def test_an_answer_for_another_order(pki: Pki) -> None:
    reply = response(200, standing("sha256:" + "00" * 32))
    async with serving(Scripted(reply), pki.server()) as address, pki.links().open(DEVICE, address) as link:
        with pytest.raises(LinkError) as caught:
            await link.order(ORDER)
    is_(caught.value, "E_DEVICE_REPLY", "reply", reached=True)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/2.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2\n\n{}",
        JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        JSON + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        JSON + b"Content-Length: +2\r\n\r\n{}",
        JSON + b"Content-Length: 0x2\r\n\r\n{}",
        JSON + b"Content-Length : 2\r\n\r\n{}",
        JSON + b"Content-Length: 2\r\nX: a\0b\r\n\r\n{}",
        JSON + b"Content-Length: 2\r\n" + b"X: y\r\n" * 101 + b"\r\n{}",
        JSON + b"Content-Length: 2\r\nX: " + b"y" * 70_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3000 + response(200, document().to_wire()),
    ],
    ids=["2.0", "lf", "both", "twice", "plus", "hex", "space", "nul", "many", "long", "informational"],
)
async def test_http_is_read_strictly(pki: Pki, reply: bytes) -> None:
    async with serving(Scripted(reply), pki.server()) as address:
        is_(await failure(pki, address), "E_DEVICE_REPLY", "reply", reached=True)


async def test_informational_replies_are_skipped(pki: Pki) -> None:
    reply = b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 3 + GOOD
    async with serving(Scripted(reply), pki.server()) as address, pki.links().open(DEVICE, address) as link:
        for _ in range(2):
            assert (await link.device()).id == DEVICE


@pytest.mark.parametrize("more", [b"x", b"\r\n", GOOD, JSON, b"\0" * 5000])
async def test_what_follows_a_reply_is_never_taken_for_the_next_one(pki: Pki, more: bytes) -> None:
    replies = [response(200, standing(offset=1)) + more, response(200, standing(offset=2)) + more]
    asked = 0

    async def talks_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            await read_request(reader)
            writer.write(replies[asked])
            asked += 1

    async with serving(talks_on, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        offsets = [reply.offset for _ in range(2) if (reply := await link.order(ORDER)) is not None]
    assert offsets == [1, 2]


# How much, and how slowly


class Flood:
    """Sends `head`, then `piece` for ever, and counts."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.head, self.piece, self.sent = head, piece, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(self.head)
        while self.sent < 1 << 30:
            writer.write(self.piece)
            await writer.drain()
            self.sent += len(self.piece)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (JSON + b"Content-Length: 10000000000\r\n\r\n", b" " * 65536),
        (JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        (JSON + b"\r\n", b" " * 65536),
        (b"HTTP/1.1 200 OK\r\n", b"X-Pad: " + b"x" * 8000 + b"\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"", b"x" * 65536),
    ],
    ids=["stated", "chunked", "until-close", "headers", "informational", "no-line-end"],
)
async def test_ten_gigabytes_are_cut_early(pki: Pki, head: bytes, piece: bytes) -> None:
    flood, begun = Flood(head, piece), time.monotonic()
    async with serving(flood, pki.server()) as address:
        error = await failure(pki, address, Timeouts())
    is_(error, "E_DEVICE_REPLY", "reply", reached=True)
    assert time.monotonic() - begun < 5
    assert flood.sent < 16 << 20


def dripping(data: bytes) -> Handler:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    return drip


@pytest.mark.parametrize("data", [JSON, JSON + b"Content-Length: 99999\r\n\r\n" + b" " * 99], ids=["head", "body"])
async def test_a_slow_drip_ends_with_the_deadline(pki: Pki, data: bytes) -> None:
    if data != JSON:
        head, _, body = data.partition(b"\r\n\r\n")

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(head + b"\r\n\r\n")
            await dripping(body)(reader, writer)
    else:
        handler = dripping(data)  # type: ignore[assignment]
    begun = time.monotonic()
    async with serving(handler, pki.server()) as address:
        error = await failure(pki, address, Timeouts(call=0.5))
    is_(error, "E_DEVICE_REPLY", "reply", reached=True)
    assert time.monotonic() - begun < 2


async def test_a_device_that_never_answers_may_have_understood(pki: Pki) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(mute, pki.server()) as address:
        is_(await failure(pki, address, Timeouts(call=0.3)), "E_UNREACHABLE", "unreachable", reached=True)


async def test_a_long_poll_is_granted_the_time_it_asks_for(pki: Pki) -> None:
    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.6)
        writer.write(response(200, standing()))
        await reader.read()

    links = pki.links(Timeouts(read=0.2, call=0.3))
    async with serving(later, pki.server()) as address, links.open(DEVICE, address) as link:
        assert await link.order(ORDER, wait=1) is not None


# Going away


@pytest.mark.parametrize("sent", [b"", JSON, JSON + b"Content-Length: 100\r\n\r\n{"], ids=["nothing", "head", "body"])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_that_breaks_is_unreachable(pki: Pki, sent: bytes, *, reset: bool) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(sent)
        if reset:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with serving(breaks, pki.server()) as address:
        is_(await failure(pki, address), "E_UNREACHABLE", "unreachable", reached=True)


async def test_a_visit_goes_on_after_a_failure(pki: Pki) -> None:
    replies = [b"junk\r\n\r\n", response(200, document().to_wire())]

    async def second_time_right(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(replies.pop(0))
        await reader.read()

    async with serving(second_time_right, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        with pytest.raises(LinkError):
            await link.device()
        assert (await link.device()).id == DEVICE


async def test_a_device_may_answer_before_it_has_read_the_whole_image(pki: Pki) -> None:
    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(416, standing(offset=5)))
        await writer.drain()
        while await reader.read(1 << 16):
            pass

    async with serving(impatient, pki.server()) as address, pki.links().open(DEVICE, address) as link:
        reply = await link.put_image(ORDER, io.BytesIO(bytes(3_000_000)), offset=0, total=3_000_000)
    assert isinstance(reply, OrderReply)
    assert reply.offset == 5


async def test_a_reply_before_a_reset_is_not_lost(pki: Pki) -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(416, standing(offset=5), headers="Connection: close\r\n"))
        writer.close()  # with most of the image unread, so that the kernel resets the connection

    async with serving(hasty, pki.server()) as address:
        for _ in range(20):
            async with pki.links().open(DEVICE, address) as link:
                reply = await link.put_image(ORDER, io.BytesIO(bytes(3_000_000)), offset=0, total=3_000_000)
            assert isinstance(reply, OrderReply)


async def test_a_device_that_reads_nothing_of_the_image_is_given_up(pki: Pki) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    links, size = pki.links(Timeouts(write=0.3)), 64 << 20
    async with serving(deaf, pki.server()) as address, links.open(DEVICE, address) as link:
        with pytest.raises(LinkError) as caught:
            await link.put_image(ORDER, io.BytesIO(bytes(size)), offset=0, total=size)
    is_(caught.value, "E_UNREACHABLE", "unreachable", reached=True)


# Others must not wait for it


async def test_a_hundred_hanging_devices_do_not_hold_up_the_others(pki: Pki) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    links = pki.links(Timeouts(call=6.0, connect=6.0))

    async def visit(address: str) -> str:
        async with links.open(DEVICE, address) as link:
            try:
                return (await link.device()).id
            except LinkError as error:
                return error.code

    async with serving(hang, pki.server()) as bad, serving(Scripted(GOOD), pki.server()) as good:
        hanging = [asyncio.create_task(visit(bad)) for _ in range(100)]
        await asyncio.sleep(0)
        assert await asyncio.gather(*(visit(good) for _ in range(10))) == [DEVICE] * 10
        assert not any(task.done() for task in hanging)
        assert set(await asyncio.gather(*hanging)) == {"E_UNREACHABLE"}


async def test_a_visit_that_is_cancelled_leaves_no_connection(pki: Pki) -> None:
    gone = asyncio.Event()
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        with contextlib.suppress(OSError):
            await reader.read()
        gone.set()

    async with serving(hang, pki.server()) as address, pki.links(Timeouts()).open(DEVICE, address) as link:
        task = asyncio.create_task(link.device())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 2)
