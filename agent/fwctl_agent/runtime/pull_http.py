"""One GET over HTTPS: to an address that was checked, of a host that is proved, and nowhere else.

No proxy, no redirect, no second look-up, no cookie, no reuse of connections. What goes wrong on the way is a `Trouble`
that may be tried again, what must not be tried again a `Refusal`. Neither says more than the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import h11

from fwctl_agent.errors import Refusal
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.trust.addresses import Address, allowed

PIECE: Final = 1 << 16
PLACES: Final = 32
"""downloads at a time in one process"""
RETRIED: Final = frozenset({408, 425, 429})
_WHOLE: Final = re.compile(rb"[0-9]{1,16}")
_RANGE: Final = re.compile(rb"bytes ([0-9]{1,16})-([0-9]{1,16})/([0-9]{1,16})")
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Trouble(Exception):
    """The storage or the way to it failed; the same may succeed later."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds, and bytes per second, that a storage gets."""

    head: float = 30.0
    """until the head of the answer is there, with look-up and handshake"""
    idle: float = 20.0
    """longest silence within the body"""
    grace: float = 30.0
    rate: int = 1024
    """bytes per second, on average, once the grace is over"""


@dataclass(frozen=True)
class Answer:
    """The body of a good answer. `offset` is where it begins: 0 if the storage ignored the wanted range."""

    offset: int
    pieces: AsyncIterator[bytes] = field(repr=False)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system; the answer is text, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Places:
    """Room for a number of downloads, and the TLS contexts that they share."""

    def __init__(self, number: int = PLACES) -> None:
        self.room = asyncio.Semaphore(number)
        self._contexts: dict[Path | None, ssl.SSLContext] = {}

    def context(self, ca: Path | None) -> ssl.SSLContext:
        """Return a context that trusts the CA in a file; None: those that the system trusts.

        Raises:
            Refusal: `E_STORAGE_TLS` if the file cannot be used.
        """
        known = self._contexts.get(ca)
        if known is None:
            try:
                known = ssl.create_default_context(cafile=ca)
            except OSError as error:  # an SSLError is one
                raise Refusal("E_STORAGE_TLS", "the file that [download] ca in agent.toml names is no CA") from error
            known.minimum_version = ssl.TLSVersion.TLSv1_2
            self._contexts[ca] = known
        return known


def source_of(folder: Path, settings: Settings, places: Places | None = None) -> HttpsSource:
    """Return where the device of a folder fetches images."""
    return HttpsSource(places, ca=folder / settings.download_ca if settings.download_ca else None)


class HttpsSource:
    """Images from https addresses."""

    def __init__(
        self,
        places: Places | None = None,
        *,
        ca: Path | None = None,
        limits: Limits | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._places = places or Places(1)
        self._ca = ca
        self._limits = limits or Limits()
        self._resolve = resolve

    @contextlib.asynccontextmanager
    async def get(self, address: Address, *, offset: int, length: int) -> AsyncIterator[Answer]:
        """Ask for the `length` bytes at an address, from `offset` on.

        Raises:
            Refusal: `E_URL`, `E_REDIRECT`, `E_RANGE`, `E_LENGTH`, `E_STORAGE_MISSING`, `E_STORAGE_STATUS`.
            Trouble: the storage cannot be reached, is not who it must be, or breaks off.
        """
        async with self._places.room:
            talk: _Talk | None = None
            try:
                try:
                    async with asyncio.timeout(self._limits.head):
                        talk = await self._connect(address)
                        head = await talk.ask(address, offset)
                except TimeoutError as error:
                    raise Trouble("E_STORAGE_UNREACHABLE", f"{address.netloc} does not answer in time") from error
                yield Answer(_begins(head, address, offset, length), talk.body())
            finally:
                if talk is not None:
                    talk.close()

    async def _connect(self, address: Address) -> _Talk:
        name = address.netloc
        try:
            found = await self._resolve(address.host, address.port)
        except (OSError, UnicodeError) as error:
            raise Trouble("E_STORAGE_UNREACHABLE", f"{address.host} is not known to the name service") from error
        context, trouble = self._places.context(self._ca), None
        for ip in allowed(found, address.entries):
            try:
                streams = await asyncio.open_connection(
                    str(ip), address.port, ssl=context, server_hostname=address.host, limit=PIECE
                )
                return _Talk(*streams, name, self._limits)
            except ssl.SSLCertVerificationError as error:
                trouble = Trouble("E_STORAGE_TLS", f"the certificate of {name} is refused: {error.verify_message}")
            except ssl.SSLError:
                trouble = Trouble("E_STORAGE_TLS", f"no TLS connection to {name} comes about")
            except OSError as error:
                trouble = Trouble("E_STORAGE_UNREACHABLE", f"{name} cannot be reached: {error.strerror or 'no answer'}")
        raise trouble or Trouble("E_STORAGE_UNREACHABLE", f"{name} has no address")


class _Talk:
    """One request and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, limits: Limits) -> None:
        self._reader = reader
        self._writer = writer
        self._name = name
        self._limits = limits
        self._http = h11.Connection(h11.CLIENT)

    async def ask(self, address: Address, offset: int) -> h11.Response:
        headers = [("Host", address.netloc), ("Accept-Encoding", "identity"), ("Connection", "close")]
        if offset:
            headers.append(("Range", f"bytes={offset}-"))
        request = h11.Request(method="GET", target=address.target, headers=headers)
        try:
            self._writer.write(self._http.send(request))
            self._writer.write(self._http.send(h11.EndOfMessage()))
            await self._writer.drain()
        except OSError as error:
            raise self._cut() from error
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise self._cut()

    async def body(self) -> AsyncIterator[bytes]:
        begun, seen = time.monotonic(), 0
        while True:
            try:
                async with asyncio.timeout(self._limits.idle):
                    event = await self._next()
            except TimeoutError as error:
                raise Trouble("E_STORAGE_CUT", f"{self._name} has fallen silent") from error
            if isinstance(event, h11.Data):
                seen += len(event.data)
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise self._cut()
            elapsed = time.monotonic() - begun
            if elapsed > self._limits.grace and seen < elapsed * self._limits.rate:
                raise Trouble("E_STORAGE_CUT", f"{self._name} is too slow")

    async def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(PIECE))
        except h11.RemoteProtocolError as error:
            raise Trouble("E_STORAGE_CUT", f"{self._name} broke off, or does not speak HTTP") from error
        except OSError as error:
            raise self._cut() from error
        return event

    def _cut(self) -> Trouble:
        return Trouble("E_STORAGE_CUT", f"{self._name} broke off")

    def close(self) -> None:
        self._writer.transport.abort()


def _begins(head: h11.Response, address: Address, offset: int, length: int) -> int:
    """Return where the body of an answer begins, if its head is one that was asked for."""
    status, name = head.status_code, address.netloc
    fields: dict[bytes, bytes] = dict(head.headers)
    _check_status(status, name)
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal("E_STORAGE_STATUS", f"{name} sends the image in another encoding")
    begins = 0
    if status == 206:
        span = _RANGE.fullmatch(fields.get(b"content-range", b""))
        if offset == 0 or span is None or int(span[1]) != offset or int(span[2]) != int(span[3]) - 1:
            raise Refusal("E_RANGE", f"{name} answers with a range that was not asked for")
        if int(span[3]) != length:
            raise Refusal("E_LENGTH", f"the signed length is {length} bytes, {name} has {int(span[3])}")
        begins = offset
    stated = fields.get(b"content-length", b"%d" % (length - begins))
    if not _WHOLE.fullmatch(stated) or int(stated) != length - begins:
        raise Refusal("E_LENGTH", f"the signed length is {length} bytes, and {name} sends another number of them")
    return begins


def _check_status(status: int, name: str) -> None:
    if status in (200, 206):
        return
    if 300 <= status < 400:
        raise Refusal("E_REDIRECT", f"{name} sends the device elsewhere; no redirect is followed")
    if status in (404, 410):
        raise Refusal("E_STORAGE_MISSING", f"{name} does not have the image ({status})")
    if status == 416:
        raise Refusal("E_LENGTH", f"what {name} has is shorter than the signed length")
    if status >= 500 or status in RETRIED:
        raise Trouble("E_STORAGE_STATUS", f"{name} answers {status}")
    raise Refusal("E_STORAGE_STATUS", f"{name} answers {status}")
