"""httpx over the one connection of a visit: all devices share a client, no two share a connection.

A pool keyed by address would let a request for one device ride on the connection of another one behind the same
address, unchecked. Here there is no pool: every request names its own `Connection`, and a `Connection` refuses
requests that are meant for another device.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from http.cookiejar import CookieJar
from typing import Any, Final

import httpcore
import httpx

from fwctl.fleet.connection import Address, TlsStream

_CONNECTION: Final = "fwctl.connection"
_ERRORS: Final[Mapping[type[Exception], type[httpx.TransportError]]] = {
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.WriteTimeout: httpx.WriteTimeout,
}
_CAUGHT: Final = tuple(_ERRORS)


def new_client() -> httpx.AsyncClient:
    """Return a client for any number of devices; it holds nothing open, so it need not be closed."""
    return httpx.AsyncClient(
        transport=DeviceTransport(),
        trust_env=False,
        follow_redirects=False,
        max_redirects=0,
        cookies=_NoCookies(),
    )


class Connection:
    """A connection to one device, made with the first request and again when the device has closed it."""

    def __init__(self, name: str, address: Address, tls: ssl.SSLContext, *, most: int) -> None:
        """Prepare for the device with this DNS name; at most `most` bytes are read for one request."""
        self._origin = httpcore.Origin(b"https", name.encode("ascii"), address.port)
        self._name = name
        self._address = address
        self._tls = tls
        self._most = most
        self._stream: TlsStream | None = None
        self._http: httpcore.AsyncHTTP11Connection | None = None
        self._before = 0
        self.certificate: bytes | None = None
        """the peer's certificate, DER, of the last connection that came about"""

    @property
    def extensions(self) -> dict[str, Any]:
        """What makes a request use this connection."""
        return {_CONNECTION: self}

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

    async def close(self) -> None:
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read the head of its reply.

        Raises:
            httpx.TransportError: from what caused it; LocalProtocolError when the request is meant for another device.
            httpx.TooManyRedirects: the reply is a redirect, which is one too many.
        """
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        if url.origin != self._origin:
            raise httpx.LocalProtocolError("the request is meant for another device", request=request)
        timeouts = request.extensions["timeout"]
        try:
            http = await self._connected(timeouts["connect"])
            reply = await http.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={"timeout": timeouts},
                )
            )
        except _CAUGHT as error:
            raise _mapped(error) from error
        if 300 <= reply.status < 400:  # told here, before httpx builds a request from what the device wrote
            await self.close()
            raise httpx.TooManyRedirects(f"HTTP {reply.status}", request=request)
        return httpx.Response(reply.status, headers=reply.headers, stream=_Body(reply), extensions=reply.extensions)

    async def _connected(self, seconds: float | None) -> httpcore.AsyncHTTP11Connection:
        """Return the connection, allowed to read what one more reply may have."""
        if self._http is not None and (self._http.is_closed() or self._http.has_expired()):
            await self.close()
        if self._http is None or self._stream is None:
            self._stream, self._before = TlsStream(self._address), 0
            await self._stream.connect(self._tls, self._name, seconds=seconds)
            self.certificate = self._stream.certificate
            self._http = httpcore.AsyncHTTP11Connection(self._origin, self._stream)
        self._before = self._stream.received
        self._stream.limit = self._before + self._most
        return self._http


class DeviceTransport(httpx.AsyncBaseTransport):
    """Carries each request over the connection that it names; has none of its own."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = request.extensions.get(_CONNECTION)
        if not isinstance(connection, Connection):
            raise httpx.UnsupportedProtocol("the request names no connection", request=request)
        return await connection.send(request)


class _Body(httpx.AsyncByteStream):
    """The bytes of a reply as they come, with httpx's errors."""

    def __init__(self, reply: httpcore.Response) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._reply.aiter_stream():
                yield part
        except _CAUGHT as error:
            raise _mapped(error) from error

    async def aclose(self) -> None:
        await self._reply.aclose()


class _NoCookies(CookieJar):
    """Keeps no cookies, and does not even read them."""

    def extract_cookies(self, response: object, request: object) -> None:
        pass


def _mapped(error: Exception) -> httpx.TransportError:
    return _ERRORS[type(error)](str(error))
