"""One connection over mutual TLS, to an address that is not its name.

It dials the configured address, while SNI and the certificate check keep the device's name. It must behave alike on
asyncio's loop and on uvloop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, cast

import httpx

_HIGH_WATER: Final = 1 << 17
_WRITE: Final = 1 << 18


@dataclass(frozen=True)
class Address:
    """Where a device listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port` or `[ipv6]:port`.

        Raises:
            ValueError: it is neither.
        """
        host, _, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError("an IPv6 address needs brackets")
        if not host or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
            raise ValueError("an address is written host:port")
        return cls(host, int(port))


class _Wire(asyncio.Protocol):
    """Buffers what comes in. Unlike asyncio's StreamReader it hands out what came before an error first.

    That matters to devices that answer, and close, before they have read everything: the reset then follows the reply.
    """

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.ended = False
        self.error: Exception | None = None
        self.readable = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.readable.set()
        if len(self.buffer) > _HIGH_WATER and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> None:
        self.ended = True
        self.readable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended, self.error = True, exc
        self.readable.set()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def something(self, seconds: float | None) -> None:
        """Wait until there is something to take, or the end.

        Raises:
            httpx.ReadTimeout: neither came in time.
        """
        # A bare timer: `asyncio.timeout` for each read was a twentieth of a visit.
        late = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self.readable.set)
        try:
            await self.readable.wait()
        finally:
            if late is not None:
                late.cancel()
        if not self.buffer and not self.ended:
            self.readable.clear()
            raise httpx.ReadTimeout("")

    def take(self, most: int) -> bytes:
        """Return up to `most` bytes; b"" at the end. Call it when `readable` is set."""
        if not self.buffer and self.error is not None:
            raise self.error
        data = bytes(self.buffer[:most])
        del self.buffer[:most]
        if not self.buffer and not self.ended and self.transport is not None:
            self.readable.clear()
            self.transport.resume_reading()
        return data


class TlsStream:
    """An asyncio TLS connection that remembers how far it came, so that a failure can be classified by its cause.

    Its errors are httpx's, raised from what caused them.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._wire = _Wire()
        self._socket: socket.socket | None = None
        """dialled, and not handed to a transport yet"""
        self._transport: asyncio.Transport | None = None
        self.certificate: bytes | None = None
        """the verified peer certificate, DER"""
        self.names: tuple[tuple[str, str], ...] = ()
        """whom it names, each with the kind of the name"""
        self.limit = 0
        """most bytes that may come in all; set before each request"""
        self.received = 0
        self.ended = False
        """the peer closed the connection, and everything that it sent has been read"""

    @property
    def established(self) -> bool:
        return self._transport is not None

    @property
    def accepted(self) -> bool:
        """Say whether the peer has finished the handshake too, and so accepts our certificate.

        In TLS 1.3 our side is done before the peer has judged us. OpenSSL then sends a session ticket at once; an
        asyncio server that refuses us only closes the connection, without an alert.
        """
        if self._transport is None:
            return False
        tls: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        has_ticket = tls.session is not None and tls.session.has_ticket
        return self.received > 0 or tls.version() != "TLSv1.3" or has_ticket

    @property
    def disturbed(self) -> bool:
        """Something came that has not been read, or the connection has ended: between replies, neither is right."""
        return self._wire.ended or bool(self._wire.buffer)

    async def dial(self, *, seconds: float | None) -> None:
        """Open a TCP connection to the address. Hands are shaken later, by `connect`.

        Raises:
            httpx.ConnectTimeout: it took longer.
            httpx.ConnectError: it failed.
        """
        try:
            async with asyncio.timeout(seconds):
                self._socket = await _dialled(self._address)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("") from error
        except (OSError, ValueError) as error:  # ValueError: the host cannot be written as a DNS name
            raise httpx.ConnectError("") from error

    async def connect(self, context: ssl.SSLContext, name: str, *, seconds: float | None) -> None:
        """Shake hands with the device of this name, dialled first if it was not.

        Raises:
            httpx.ConnectTimeout: it took longer.
            httpx.ConnectError: it failed.
        """
        if self._socket is None:
            await self.dial(seconds=seconds)
        sock, self._socket = self._socket, None
        try:
            async with asyncio.timeout(seconds):
                self._transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: self._wire, sock=sock, ssl=context, server_hostname=name
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("") from error
        except (OSError, ValueError) as error:
            raise httpx.ConnectError("") from error
        tls: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(binary_form=True)
        self.names = cast("tuple[tuple[str, str], ...]", (tls.getpeercert() or {}).get("subjectAltName", ()))

    async def read(self, most: int, seconds: float | None) -> bytes:
        """Return up to `most` bytes as soon as there are any; b"" at the end.

        Raises:
            httpx.ReadTimeout: none came in time.
            httpx.ReadError: the connection broke.
            httpx.RemoteProtocolError: more came than `limit` allows.
        """
        if not self._wire.readable.is_set():
            await self._wire.something(seconds)
        try:
            data = self._wire.take(most)
        except OSError as error:
            raise httpx.ReadError("") from error
        self.received += len(data)
        self.ended = not data
        if self.received > self.limit:
            raise httpx.RemoteProtocolError("more bytes than any reply has")
        return data

    async def write(self, data: bytes, seconds: float | None) -> bool:
        """Send `data`, or as much of it as the device wants: it may answer before it has read everything.

        Returns:
            Whether all of it was sent. What the device said, or how the connection ended, is for `read` to tell.

        Raises:
            httpx.WriteTimeout: the device took nothing for so long.
        """
        assert self._transport is not None  # noqa: S101
        view = memoryview(data)
        for start in range(0, len(data), _WRITE):
            if start:  # let the loop look twice: an answer must be read before a reset, which follows it, is run into
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            if self.disturbed:
                return False
            self._transport.write(view[start : start + _WRITE])
            if not self._wire.writable.is_set():
                try:
                    async with asyncio.timeout(seconds):
                        await self._wire.writable.wait()
                except TimeoutError as error:
                    raise httpx.WriteTimeout("") from error
        return True

    def abort(self) -> None:
        # Nothing is left to flush when a call is over, and a device that is slow to say goodbye must not hold us.
        if self._transport is not None:
            self._transport.abort()
        if self._socket is not None:
            self._socket.close()


async def _dialled(address: Address) -> socket.socket:
    """Return a connected socket; where a name has several addresses, of the first that answers."""
    loop, failed = asyncio.get_running_loop(), OSError("the name has no address")
    for family, where in await _resolved(address):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, where)
        except OSError as error:
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed


async def _resolved(address: Address) -> list[tuple[int, tuple[Any, ...]]]:
    """Return family and address; a literal address asks no resolver and takes no thread."""
    try:
        version = ip_address(address.host).version
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        return [(family, where) for family, _, _, _, where in found]
    return [(socket.AF_INET if version == 4 else socket.AF_INET6, (address.host, address.port))]
