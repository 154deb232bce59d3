"""Bounded calls to one device: what a call may cost is fixed here, and every failure is classified by its cause.

Nothing here follows redirects, reads proxies from the environment, keeps cookies or decompresses. A reply must state
its length, so that its size is known before it is read, and has `Timeouts.call` seconds to arrive, however it drips.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import httpx

from fwctl.fleet.connection import Address
from fwctl.fleet.http1 import MAX_HEAD
from fwctl.fleet.interface import Kind, LinkError
from fwctl.fleet.mistaken import carried_names, is_expired, is_wrong_name
from fwctl.fleet.peers import Judge, NotWelcome
from fwctl.fleet.transport import Connection
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import MAX_REPLY

_SSL_CLOSED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_CODES: Final[Mapping[Kind, str]] = {"unreachable": "E_UNREACHABLE", "tls": "E_TLS", "reply": "E_DEVICE_REPLY"}

Body = bytes | httpx.AsyncByteStream
Headers = Sequence[tuple[bytes, bytes]]


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
    """The TLS contexts that all links of a fleet share, and whom they let in."""

    checked: ssl.SSLContext
    nameless: ssl.SSLContext
    """verifies all but the name: only to learn, for the message, which name an impostor carries"""
    judge: Judge


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
    """One visit's calls to a device, over one connection."""

    def __init__(self, peer: Peer, tls: Tls, timeouts: Timeouts) -> None:
        self._peer = peer
        self._tls = tls
        self._timeouts = timeouts
        self._url = httpx.URL(scheme="https", host=peer.name, port=peer.address.port)
        self._host = (b"Host", self._url.netloc)
        self._connection = Connection(
            peer.name,
            peer.address,
            tls.checked,
            most=MAX_REPLY + MAX_HEAD,
            judge=lambda stream: tls.judge(peer.name, stream),
        )

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate, DER, of the last connection that came about."""
        return self._connection.certificate

    def close(self) -> None:
        self._connection.close()

    async def dial(self) -> None:
        """Open a TCP connection: it costs no computing, so any number of devices that do not answer may be waited for.

        Raises:
            LinkError: as `call`.
        """
        await self._reaching(self._connection.dial(self._timeouts.connect))

    async def connect(self) -> None:
        """Shake hands, unless the connection stands: `call` does so too.

        Raises:
            LinkError: as `call`.
        """
        await self._reaching(self._connection.connect(self._timeouts.connect))

    async def _reaching(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except httpx.TransportError as error:
            self.close()
            raise await self._failure(error) from error
        except BaseException:
            self.close()
            raise

    async def call(
        self,
        method: str,
        path: str,
        *,
        wanted: tuple[int, ...],
        body: Body = b"",
        headers: Headers = (),
        extra: float = 0,
    ) -> Reply:
        """Make one call; `extra` seconds are granted for what it asks for. A streamed body needs Content-Length.

        Raises:
            LinkError: whatever the device or the way to it does. The connection is given up then.
            Exception: what the source of `body` raised, through SourceFailed.
        """
        request = self._request(method, path, body, headers, extra)
        try:
            async with asyncio.timeout(self._timeouts.call + extra):
                return await self._exchange(request, wanted)
        except (TimeoutError, httpx.TransportError) as error:
            self.close()
            raise await self._failure(error) from error
        except httpx.TooManyRedirects as error:
            self.close()
            raise self._error(
                f"the device redirects ({error}), which is never followed",
                kind="reply",
                reached=True,
                code="E_REDIRECT",
            ) from error
        except SourceFailed as failed:
            self.close()
            raise failed.error from failed.error.__cause__
        except BaseException:
            self.close()
            raise

    def nonsense(self, why: str, *, code: str | None = None) -> NoReturn:
        """Raise LinkError for a reply that makes no sense."""
        raise self._error(why, kind="reply", reached=True, code=code)

    def _request(self, method: str, path: str, body: Body, headers: Headers, extra: float) -> httpx.Request:
        # Complete as it stands, and sent without a client: what httpx would add (defaults, redirects, cookies,
        # authentication) is not wanted here; that, and to parse a URL for each request, is a quarter of a visit.
        limits = self._timeouts
        fields = [self._host, (b"Accept-Encoding", b"identity"), *headers]
        if isinstance(body, bytes):
            fields.append((b"Content-Length", b"%d" % len(body)))
        request = httpx.Request(
            method,
            self._url,
            headers=fields,
            stream=httpx.ByteStream(body) if isinstance(body, bytes) else body,
            extensions={
                "target": path.encode("ascii"),
                "timeout": {"connect": limits.connect, "read": limits.read + extra, "write": limits.write},
            },
        )
        request.headers.encoding = "ascii"  # or httpx tries each time what it might be
        return request

    async def _exchange(self, request: httpx.Request, wanted: tuple[int, ...]) -> Reply:
        response = await self._connection.handle_async_request(request)
        try:
            self._judge_head(response, wanted)
            assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101
            body = b"".join([part async for part in response.stream])
        finally:
            await response.aclose()
        try:
            return Reply(response.status_code, canonical.decode(body, what="the reply", max_bytes=MAX_REPLY))
        except Refusal as error:
            self.nonsense(error.message)

    def _judge_head(self, response: httpx.Response, wanted: tuple[int, ...]) -> None:
        """Refuse a reply by its status line and headers, before any of its body is read."""
        if response.status_code not in wanted:
            self.nonsense(f"the device answers HTTP {response.status_code}")
        fields = {name.lower(): value for name, value in response.headers.raw}
        if fields.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            self.nonsense("the reply is not JSON")
        length = fields.get(b"content-length", b"")
        if not length.isdigit() or b"transfer-encoding" in fields or b"content-encoding" in fields:
            self.nonsense("the reply does not say how long it is, or is encoded")
        if len(length) > 9 or int(length) > MAX_REPLY:
            self.nonsense(f"the reply has more than {MAX_REPLY} bytes")

    async def _failure(self, error: Exception) -> LinkError:
        """Say what went wrong by what failed and how far the connection had come; never by a text."""
        line, cause = self._connection, _cause(error)
        if isinstance(error, NotWelcome):
            return self._error(error.why, kind="tls", reached=False, code=error.code, remedy=error.remedy)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _SSL_CLOSED):
            return await self._tls_failure(cause)
        if isinstance(error, (TimeoutError, httpx.TimeoutException)):
            if line.began:
                return self._error("the reply comes too slowly", kind="reply", reached=True)
            return self._error("the device does not answer in time", kind="unreachable", reached=line.established)
        if isinstance(error, httpx.ProtocolError) and line.began and not line.ended:
            return self._error("the reply is not HTTP, or too long", kind="reply", reached=True)
        if line.established and not line.accepted:
            return self._error("the device refuses our certificate", kind="tls", reached=False)
        if line.established:
            return self._error("the device closed the connection in the middle", kind="unreachable", reached=True)
        if isinstance(cause, (ConnectionResetError, *_SSL_CLOSED)):
            # A TCP connect is refused or times out; it is reset only once it stands.
            return self._error("the device broke off the TLS handshake", kind="tls", reached=False)
        why = getattr(cause, "strerror", None) or type(cause).__name__
        return self._error(f"no connection: {why}", kind="unreachable", reached=False)

    async def _tls_failure(self, error: ssl.SSLError) -> LinkError:
        line = self._connection
        reason = getattr(error, "verify_message", None) or (error.reason or "failed").lower().replace("_", " ")
        if is_wrong_name(error):
            names = await carried_names(
                self._peer.address, self._tls.nameless, self._peer.name, seconds=self._timeouts.connect
            )
            reason = f"the certificate names {', '.join(names[:3]) or 'somebody else'}, not {self._peer.name}"
        elif is_expired(error):
            past = self._tls.judge.past(self._peer.device)
            return self._error(past.why, kind="tls", reached=False, code=past.code, remedy=past.remedy)
        elif line.established and not line.accepted:
            return self._error(f"the device refuses our certificate: {reason}", kind="tls", reached=False)
        return self._error(f"TLS: {reason}", kind="tls", reached=line.established)

    def _error(self, why: str, *, kind: Kind, reached: bool, code: str | None = None, remedy: str = "") -> LinkError:
        address = self._peer.address
        place = f"{self._peer.device} at {address.host}:{address.port}"
        return LinkError(why, kind=kind, reached=reached, code=code or _CODES[kind], place=place, remedy=remedy)


def _cause(error: BaseException) -> BaseException:
    """Return what the system or OpenSSL raised, behind what httpx made of it."""
    while error.__cause__ is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error
