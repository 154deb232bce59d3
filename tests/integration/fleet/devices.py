"""Real TLS servers on loopback that behave as scripted, and the certificates they need."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fwctl.fleet.certificates import Authorities, DeviceIssuer, create_authorities
from fwctl.fleet.link import Links, Timeouts
from fwctl.trust.keystore import KeyStore
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import DeviceDocument, TrustVersions
from fwctl_agent.protocol.statements import RunningImage

REPO = "acme"
DEVICE = "device-001"
ORDER = "sha256:" + "ab" * 32
FAST = Timeouts(connect=1.0, read=1.0, write=1.0, call=1.5)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Pki:
    """The authorities of one fleet, and server contexts for its devices."""

    keystore: KeyStore
    authorities: Authorities
    now: datetime

    @classmethod
    def make(cls, folder: Path, *, age: timedelta = timedelta()) -> Pki:
        now = datetime.now(UTC) - age
        keystore = KeyStore(folder)
        return cls(keystore, create_authorities(keystore, REPO, now), now)

    def links(self, timeouts: Timeouts = FAST) -> Links:
        return Links(self.authorities, REPO, timeouts=timeouts)

    def server(self, device: str = DEVICE, *, repo: str = REPO, clients: Path | None = None) -> ssl.SSLContext:
        """Return the TLS context of a device; `clients` is the CA that its peers must have, else ours."""
        pems = DeviceIssuer.load(self.keystore, repo).issue(device, enrolled_at=self.now, now=self.now)
        return server_context(b"".join(pems).decode(), clients or self.authorities.controller_ca)


def server_context(pem: str, clients: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(clients)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Serve on loopback; yields `host:port`."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, as it may, or the test is over
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return Request(head[0], headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def response(status: int, value: Any, *, headers: str = "", kind: str = "application/json") -> bytes:
    body = value if isinstance(value, bytes) else canonical.dump(value)
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


@dataclass
class Scripted:
    """Answers every request with the same bytes, and remembers what it was asked."""

    reply: bytes
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            self.requests.append(await read_request(reader))
            writer.write(self.reply)
            await writer.drain()


def document(device: str = DEVICE, **changes: Any) -> DeviceDocument:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    plain = DeviceDocument(
        id=device,
        model="sensor-v1",
        hardware="rev-a",
        env="dev",
        enrolled_at=now,
        agent="0.1.0",
        protocol=1,
        state="idle",
        order=None,
        running=RunningImage(None, canonical.digest(b"factory"), "1.0.0", None),
        slots=(),
        trust=TrustVersions(1, 0, 0, 0, 0),
        highest_timestamp=None,
        highest_orders=(),
        floor=0,
        floor_clock=now,
        clock_suspect=False,
        spent=(),
        marks=(),
        outcomes=(),
        facts={},
        vitals={},
        counter=0,
    )
    return replace(plain, **changes)


def standing(order: str = ORDER, offset: int | None = None) -> dict[str, Any]:
    image = None if offset is None else {"offset": offset}
    return {"order": order, "state": "accepted", "image": image, "outcome": None, "resumeAfter": None}
