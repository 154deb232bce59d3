"""One HTTP/1.1 connection over mutual TLS, to an address that is not its name.

httpcore speaks HTTP; the network is our own `AsyncNetworkBackend`, which dials the configured address while the URL,
SNI and the certificate check keep the device's name. Measured with three requests a visit, an own connection per visit
on asyncio's streams reaches 70 % of a bare exchange; a connection pool, httpx's client or anyio's TLS layer, 45 %.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpcore

SOCKET_OPTION = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

_HOSTNAME_MISMATCH: Final = 62
"""X509_V_ERR_HOSTNAME_MISMATCH"""


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


class Dialer(httpcore.AsyncNetworkBackend):
    """Dials one address, whatever name the URL carries, and keeps the stream that it made last."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.stream: TlsStream | None = None
        self._allowance = 0

    def expect(self, most: int) -> int:
        """Allow `most` more bytes to come in; return how many came on the present stream so far."""
        self._allowance = most
        if self.stream is None:
            return 0
        self.stream.limit = self.stream.received + most
        return self.stream.received

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        # asyncio connects and shakes hands in one step, which is cheaper than to upgrade a plain stream afterwards.
        self.stream = TlsStream(self._address, self._allowance)
        return self.stream


class TlsStream(httpcore.AsyncNetworkStream):
    """An asyncio TLS stream that remembers how far it came, so that a failure can be classified by its cause."""

    def __init__(self, address: Address, limit: int) -> None:
        self._address = address
        self.limit = limit
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None
        self.certificate: bytes | None = None
        """the verified peer certificate, DER"""
        self.received = 0
        self.ended = False
        """the peer closed the connection"""

    @property
    def established(self) -> bool:
        return self._writer is not None

    @property
    def accepted(self) -> bool:
        """Say whether the peer has finished the handshake too, and so accepts our certificate.

        In TLS 1.3 our side is done before the peer has judged us. OpenSSL then sends a session ticket at once; an
        asyncio server that refuses us only closes the connection, without an alert.
        """
        if self._writer is None:
            return False
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        has_ticket = tls.session is not None and tls.session.has_ticket
        return self.received > 0 or tls.version() != "TLSv1.3" or has_ticket

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            self._reader, self._writer = await asyncio.open_connection(
                self._address.host, self._address.port, ssl=ssl_context, server_hostname=server_hostname
            )
        self.certificate = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        async with asyncio.timeout(timeout):
            data = await self._reader.read(max_bytes)
        self.received += len(data)
        self.ended = not data
        if self.received > self.limit:
            raise httpcore.RemoteProtocolError("more bytes than any reply has")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        assert self._writer is not None  # noqa: S101
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            # httpcore then still reads the reply: a device may refuse before it has read everything.
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        # Nothing is left to flush when a call is over, and a device that is slow to say goodbye must not hold us.
        if self._writer is not None:
            self._writer.transport.abort()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # httpcore asks this of an idle connection, to see whether it was closed
            return self._reader.at_eof() or self._reader.exception() is not None
        return self._writer.get_extra_info(info) if self._writer else None


async def carried_names(address: Address, context: ssl.SSLContext, name: str, *, seconds: float) -> tuple[str, ...]:
    """Return the DNS names in the certificate that answers for `name`, for an error message; () if there is none.

    `context` verifies the chain but not the name. Nothing is sent on this connection.
    """
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=name)
    except (OSError, ValueError):
        return ()
    found = writer.get_extra_info("peercert") or {}
    writer.transport.abort()
    return tuple(value for kind, value in found.get("subjectAltName", ()) if kind == "DNS")


def is_wrong_name(error: ssl.SSLError) -> bool:
    """Say whether TLS failed because the certificate names somebody else."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == _HOSTNAME_MISMATCH
