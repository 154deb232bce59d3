"""Bounded calls to one device: what a call may cost is fixed here, and every failure is classified by its cause.

Nothing here follows redirects, reads proxies from the environment, keeps cookies or decompresses. A reply must state
its length, so that its size is known before it is read, and has `Timeouts.call` seconds to arrive, however it drips.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import httpcore

from fwctl.fleet.connection import Address, Dialer, TlsStream, carried_names, is_wrong_name
from fwctl.fleet.interface import Kind, LinkError
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import MAX_REPLY

Headers = tuple[tuple[bytes, bytes], ...]

_HEAD: Final = 1 << 16
"""bytes that status line, headers and informational replies may have beside the body"""
_SSL_CLOSED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_CODES: Final[Mapping[Kind, str]] = {"unreachable": "E_UNREACHABLE", "tls": "E_TLS", "reply": "E_DEVICE_REPLY"}


@dataclass(frozen=True)
class Timeouts:
    """Seconds. `call` bounds a whole call beside what it asks for: a long poll, or an image at `min_rate`."""

    connect: float = 5.0
    read: float = 10.0
    write: float = 20.0
    call: float = 30.0
    min_rate: int = 16 * 1024
    """bytes a second that a device must take of an image"""


@dataclass(frozen=True)
class Tls:
    """The TLS contexts that all links of a fleet share."""

    checked: ssl.SSLContext
    nameless: ssl.SSLContext
    """verifies all but the name: only to learn, for the message, which name an impostor carries"""


@dataclass(frozen=True)
class Peer:
    """Whom a call is meant for."""

    device: str
    name: str
    """the DNS name in its certificate"""
    address: Address


@dataclass(frozen=True)
class Reply:
    """A reply whose status was wanted; `value` is strictly decoded JSON."""

    status: int
    value: object


class SourceFailed(Exception):
    """What the source of a request body raised, told apart from what the connection raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Channel:
    """One connection to a device, made with the first call and again when the device has closed it."""

    def __init__(self, peer: Peer, tls: Tls, timeouts: Timeouts) -> None:
        self._peer = peer
        self._tls = tls
        self._timeouts = timeouts
        self._dialer = Dialer(peer.address)
        self._origin = httpcore.Origin(b"https", peer.name.encode(), peer.address.port)
        self._host = (b"Host", f"{peer.name}:{peer.address.port}".encode())
        self._connection: httpcore.AsyncHTTPConnection | None = None
        self.certificate: bytes | None = None
        """the peer's certificate, DER, of the last connection that came about"""

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.aclose()

    async def call(
        self,
        method: bytes,
        path: str,
        *,
        wanted: tuple[int, ...],
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: Headers = (),
        extra: float = 0,
    ) -> Reply:
        """Make one call; `extra` seconds are granted for what it asks for.

        Raises:
            LinkError: whatever the device or the way to it does. The connection is given up then.
            Exception: what the source of `body` raised, through SourceFailed.
        """
        connection = await self._connected()
        before = self._dialer.expect(MAX_REPLY + _HEAD)
        request = self._request(method, path, body, headers, extra)
        try:
            async with asyncio.timeout(self._timeouts.call + extra):
                return await self._exchange(connection, request, wanted)
        except (OSError, httpcore.ProtocolError, httpcore.NetworkError) as error:
            stream = self._dialer.stream
            await self.close()
            raise await self._failure(error, stream, before) from error
        except SourceFailed as failed:
            await self.close()
            raise failed.error from failed.error.__cause__
        except BaseException:
            await self.close()
            raise

    def nonsense(self, why: str, *, code: str | None = None) -> NoReturn:
        """Raise LinkError for a reply that makes no sense."""
        raise self._error(why, kind="reply", reached=True, code=code)

    def _request(
        self, method: bytes, path: str, body: bytes | AsyncIterator[bytes] | None, headers: Headers, extra: float
    ) -> httpcore.Request:
        timeouts = {
            "connect": self._timeouts.connect,
            "read": self._timeouts.read + extra,
            "write": self._timeouts.write,
        }
        url = httpcore.URL(scheme=b"https", host=self._origin.host, port=self._origin.port, target=path.encode("ascii"))
        return httpcore.Request(
            method, url, headers=[self._host, *headers], content=body, extensions={"timeout": timeouts}
        )

    async def _connected(self) -> httpcore.AsyncHTTPConnection:
        if self._connection is not None and (self._connection.is_closed() or self._connection.has_expired()):
            await self.close()
        if self._connection is None:
            self._dialer.stream = None
            self._connection = httpcore.AsyncHTTPConnection(
                self._origin, ssl_context=self._tls.checked, network_backend=self._dialer
            )
        return self._connection

    async def _exchange(
        self, connection: httpcore.AsyncHTTPConnection, request: httpcore.Request, wanted: tuple[int, ...]
    ) -> Reply:
        response = await connection.handle_async_request(request)
        if self._dialer.stream is not None:
            self.certificate = self._dialer.stream.certificate
        try:
            self._judge_head(response, wanted)
            body = b"".join([part async for part in response.aiter_stream()])
        finally:
            await response.aclose()
        try:
            return Reply(response.status, canonical.decode(body, what="the reply", max_bytes=MAX_REPLY))
        except Refusal as error:
            self.nonsense(error.message)

    def _judge_head(self, response: httpcore.Response, wanted: tuple[int, ...]) -> None:
        """Refuse a reply by its status line and headers, before any of its body is read."""
        fields = {name.lower(): value for name, value in response.headers}
        if 300 <= response.status < 400:
            self.nonsense(f"the device redirects (HTTP {response.status}), which is never followed", code="E_REDIRECT")
        if response.status not in wanted:
            self.nonsense(f"the device answers HTTP {response.status}")
        if fields.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            self.nonsense("the reply is not JSON")
        length = fields.get(b"content-length", b"")
        if not length.isdigit() or b"transfer-encoding" in fields or b"content-encoding" in fields:
            self.nonsense("the reply does not say how long it is, or is encoded")
        if len(length) > 9 or int(length) > MAX_REPLY:
            self.nonsense(f"the reply has more than {MAX_REPLY} bytes")

    async def _failure(self, error: Exception, stream: TlsStream | None, before: int) -> LinkError:
        """Say what went wrong by what failed and how far the connection had come; never by a text."""
        established = stream is not None and stream.established
        began = stream is not None and stream.received > before
        if isinstance(error, ssl.SSLError) and not isinstance(error, _SSL_CLOSED):
            return await self._tls_failure(error, stream)
        if isinstance(error, TimeoutError):
            if began:
                return self._error("the reply comes too slowly", kind="reply", reached=True)
            return self._error("the device does not answer in time", kind="unreachable", reached=established)
        if isinstance(error, httpcore.ProtocolError) and began and not (stream and stream.ended):
            return self._error("the reply is not HTTP, or too long", kind="reply", reached=True)
        if stream is not None and established and not stream.accepted:
            return self._error("the device refuses our certificate", kind="tls", reached=False)
        if established:
            return self._error("the device closed the connection in the middle", kind="unreachable", reached=True)
        if isinstance(error, (ConnectionResetError, *_SSL_CLOSED)):
            # A TCP connect is refused or times out; it is reset only once it stands.
            return self._error("the device broke off the TLS handshake", kind="tls", reached=False)
        why = getattr(error, "strerror", None) or type(error).__name__
        return self._error(f"no connection: {why}", kind="unreachable", reached=False)

    async def _tls_failure(self, error: ssl.SSLError, stream: TlsStream | None) -> LinkError:
        established = stream is not None and stream.established
        reason = getattr(error, "verify_message", None) or (error.reason or "failed").lower().replace("_", " ")
        if is_wrong_name(error):
            names = await carried_names(
                self._peer.address, self._tls.nameless, self._peer.name, seconds=self._timeouts.connect
            )
            reason = f"the certificate names {', '.join(names[:3]) or 'somebody else'}, not {self._peer.name}"
        elif stream is not None and established and not stream.accepted:
            return self._error(f"the device refuses our certificate: {reason}", kind="tls", reached=False)
        return self._error(f"TLS: {reason}", kind="tls", reached=established)

    def _error(self, why: str, *, kind: Kind, reached: bool, code: str | None = None) -> LinkError:
        address = self._peer.address
        place = f"{self._peer.device} at {address.host}:{address.port}"
        return LinkError(why, kind=kind, reached=reached, code=code or _CODES[kind], place=place)
