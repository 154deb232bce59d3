"""httpx over the one connection of a visit: no two devices share a connection, because each has its own transport.

A pool keyed by address would let a request for one device ride on the connection of another one behind the same
address, unchecked. Here there is no pool: a `Connection` refuses requests that are meant for another device.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx

from fwctl.fleet.connection import Address, TlsStream
from fwctl.fleet.http1 import Reply, request_head

_TOGETHER: Final = 1 << 16
"""a body up to this size leaves with its head, in one record and one system call"""


class Connection(httpx.AsyncBaseTransport):
    """A connection to one device, made with the first request and again when the device has closed it."""

    def __init__(
        self,
        name: str,
        address: Address,
        tls: ssl.SSLContext,
        *,
        most: int,
        judge: Callable[[TlsStream], None] = lambda _: None,
    ) -> None:
        """Prepare for the device with this DNS name; at most `most` bytes are read for one request.

        `judge` raises for a peer that TLS lets in and that is not to be talked to; nothing was sent to it then.
        """
        self._name = name
        self._address = address
        self._tls = tls
        self._most = most
        self._judge = judge
        self._stream: TlsStream | None = None
        self._usable = False
        self._dialled = False
        self._before = 0
        self.certificate: bytes | None = None
        """the peer's certificate, DER, of the last connection that came about"""

    @property
    def established(self) -> bool:
        """TLS came about, as far as our side can tell. Like what follows, it is still known after `close`."""
        return self._stream is not None and self._stream.established

    @property
    def accepted(self) -> bool:
        """The device has accepted our certificate."""
        return self._stream is not None and self._stream.accepted

    @property
    def began(self) -> bool:
        """Some of the reply to the last request has come."""
        return self._stream is not None and self._stream.received > self._before

    @property
    def ended(self) -> bool:
        """The device closed the connection, and everything that it sent has been read."""
        return self._stream is not None and self._stream.ended

    def close(self) -> None:
        self._usable = self._dialled = False
        if self._stream is not None:
            self._stream.abort()

    async def aclose(self) -> None:
        self.close()

    async def dial(self, seconds: float | None) -> None:
        """Open a TCP connection, and nothing more, for the next `connect`.

        Raises:
            httpx.ConnectTimeout: it took longer.
            httpx.ConnectError: it failed.
        """
        self.close()
        self._stream, self._before = TlsStream(self._address), 0
        await self._stream.dial(seconds=seconds)
        self._dialled = True

    async def connect(self, seconds: float | None) -> None:
        """Connect, unless the connection stands.

        Raises:
            httpx.ConnectTimeout: it took longer.
            httpx.ConnectError: it failed, or it is not to be talked to.
        """
        if self._usable and self._stream is not None and not self._stream.disturbed:
            return
        if not self._dialled:
            await self.dial(seconds)
        self._dialled = False
        assert self._stream is not None  # noqa: S101
        await self._stream.connect(self._tls, self._name, seconds=seconds)
        self._judge(self._stream)
        self.certificate, self._usable = self._stream.certificate, True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read the head of its reply.

        Raises:
            httpx.TransportError: from what caused it; LocalProtocolError when the request is meant for another device.
            httpx.TooManyRedirects: the reply is a redirect, which is one too many.
        """
        url, limits = request.url, request.extensions["timeout"]
        if (url.raw_scheme, url.raw_host, url.port) != (b"https", self._name.encode("ascii"), self._address.port):
            raise httpx.LocalProtocolError("the request is meant for another device", request=request)
        head = request_head(request)
        await self.connect(limits["connect"])
        stream = self._stream
        assert stream is not None  # noqa: S101
        self._before = stream.received
        stream.limit = self._before + self._most
        self._usable = False  # until request and reply are complete
        sent = await _send(stream, head, request, limits["write"])
        reply = Reply()
        while not reply.has_head:
            await _read_on(stream, reply, limits["read"])
        if 300 <= reply.status < 400:  # told here, before httpx builds a request from what the device wrote
            self.close()
            raise httpx.TooManyRedirects(f"HTTP {reply.status}", request=request)
        body = _Body(self, stream, reply, seconds=limits["read"], sent=sent)
        return httpx.Response(reply.status, headers=reply.headers, stream=body)

    def release(self) -> None:
        """Let the connection carry the next request: this one went out whole, and so came its reply."""
        self._usable = True


class _Body(httpx.AsyncByteStream):
    """The bytes of a reply as they come. Whoever does not read all of them gives the connection up."""

    def __init__(
        self, connection: Connection, stream: TlsStream, reply: Reply, *, seconds: float | None, sent: bool
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._reply = reply
        self._seconds = seconds
        self._sent = sent

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._reply.complete:
            if part := self._reply.take():
                yield part
            await _read_on(self._stream, self._reply, self._seconds)
        if part := self._reply.take():
            yield part

    async def aclose(self) -> None:
        if self._sent and self._reply.complete and not self._reply.last:
            self._connection.release()
        else:
            self._connection.close()


async def _send(stream: TlsStream, head: bytes, request: httpx.Request, seconds: float | None) -> bool:
    """Send a request with its body; False when the device answered, or went, before it had all of it."""
    stated = request.headers.get("content-length", "0")
    if not stated.isdigit() or "transfer-encoding" in request.headers:
        raise httpx.LocalProtocolError("the request does not state its length", request=request)
    left = int(stated)
    assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101
    async for part in request.stream:
        left -= len(part)
        if left < 0:
            break
        if head and len(part) <= _TOGETHER:
            head, part = b"", head + part
        if (head and not await stream.write(head, seconds)) or not await stream.write(part, seconds):
            return False
        head = b""
    if left:
        raise httpx.LocalProtocolError("the body is not as long as it states", request=request)
    return not head or await stream.write(head, seconds)


async def _read_on(stream: TlsStream, reply: Reply, seconds: float | None) -> None:
    data = await stream.read(reply.room, seconds)
    if not data:
        raise httpx.RemoteProtocolError("the connection ended before the reply")
    reply.feed(data)
