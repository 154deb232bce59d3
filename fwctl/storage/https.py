"""Images behind HTTPS, below one address: `<url>/sha256/<first two hex digits>/<hex>`. Only read, never written.

A connection goes to an address that the signed policy allows, checked after the look-up and not looked up again; TLS
proves the host. No redirect is followed, no proxy of the environment used. What may be a secret, the query, stands in
the request alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from fwctl.errors import FwctlError, InputError, TrustRefused, WorldError
from fwctl.storage.interface import Stat, check_digest
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.addresses import Address, Ip, allowed, check_address
from fwctl_agent.trust.policy import StorageHost

_CHUNK: Final = 1 << 18
_LOOK: Final = "Look at the storage, then run the command again; a pass tries again by itself."
_LIST: Final = (
    "Only those who sign the policy can list a storage host: `fwctl trust policy` changes `storage` of the policy."
)
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds, and bytes per second, that a storage gets."""

    connect: float = 10.0
    head: float = 30.0
    idle: float = 20.0
    grace: float = 30.0
    rate: int = 1024


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system; the answer is text, in its order."""
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class HttpsStorage:
    """Content-addressed storage that somebody else fills."""

    url: str
    allow: tuple[StorageHost, ...]
    """the storage hosts of the signed policy"""
    query: str = field(default="", repr=False)
    """what every address ends with, from its `?` on: a token; never shown"""
    ca: Path | None = None
    """file with the CA; None: those that the system trusts"""
    limits: Limits = Limits()
    resolve: Resolve = resolve

    def __post_init__(self) -> None:
        """Raise TrustRefused `E_URL` if the policy does not list the host."""
        self._checked(self.url + "/")

    def address(self, digest: str) -> str:
        """Return where devices may fetch an image. It may hold a secret."""
        hexadecimal = check_digest(digest)
        return f"{self.url}/sha256/{hexadecimal[:2]}/{hexadecimal}{self.query}"

    def put(self, digest: str, source: Path | BinaryIO) -> Stat:
        """Prove that the image is there already: nothing is uploaded.

        Raises InputError E_STORAGE_MISSING with where to upload it, WorldError E_HASH for other bytes.
        """
        try:
            with self.open(digest) as reader:
                if reader.length != _length_of(source):  # perhaps one that no read comes to the end of
                    _failed("E_HASH", f"holds {reader.length} bytes under the digest", self._place(digest))
                while reader.read(_CHUNK):
                    pass
                return Stat(digest, reader.length)
        except InputError as error:
            if error.code != "E_STORAGE_MISSING":
                raise
            place = self._checked(self.address(digest)).place
            name = str(source) if isinstance(source, Path) else "the image"
            raise InputError(
                "the storage does not hold the image, and fwctl has no right to write there",
                code="E_STORAGE_MISSING",
                place=place,
                remedy=f"Upload {name} to that address by your own means, then run the command again.",
            ) from error

    def exists(self, digest: str) -> bool:
        """Tell whether the image is there. Raises as `stat` for all else."""
        try:
            self.stat(digest)
        except InputError as error:
            if error.code != "E_STORAGE_MISSING":
                raise
            return False
        return True

    def stat(self, digest: str) -> Stat:
        """Return digest and length. Raises InputError E_STORAGE_MISSING, WorldError E_STORAGE_*, E_REDIRECT."""
        with self._asked("HEAD", digest) as (_, length):
            return Stat(digest, length)

    @contextlib.contextmanager
    def open(self, digest: str) -> Iterator[HttpsReader]:
        """Open an image for streaming. Raises as `stat`."""
        with self._asked("GET", digest) as (response, length):
            yield HttpsReader(response, digest, length, place=self._place(digest), limits=self.limits)

    def _place(self, digest: str) -> str:
        return self._checked(self.address(digest)).place

    def _checked(self, url: str) -> Address:
        try:
            return check_address(url, self.allow)
        except Refusal as refusal:
            raise TrustRefused(
                refusal.message, code=refusal.code, place="fleet.yaml: spec.storage", remedy=_LIST
            ) from None

    @contextlib.contextmanager
    def _asked(self, method: str, digest: str) -> Iterator[tuple[http.client.HTTPResponse, int]]:
        address = self._checked(self.address(digest))
        connection = http.client.HTTPConnection(address.host, address.port)
        connection.sock = self._connected(address)
        try:
            response = self._answer(connection, method, address)
            _check_status(response, address.place)
            yield response, _length(response, address.place)
        finally:
            connection.close()

    def _answer(
        self, connection: http.client.HTTPConnection, method: str, address: Address
    ) -> http.client.HTTPResponse:
        # A socket's own time limit holds for each piece: one byte now and then would keep us here for ever.
        alarm = threading.Timer(self.limits.head, _cut, [connection.sock])
        alarm.start()
        try:
            connection.putrequest(method, address.target, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", address.netloc), ("Accept-Encoding", "identity"), ("Connection", "close")):
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError):
            _failed("E_STORAGE_CUT", "broke off, is too slow, or does not speak HTTP", address.place)
        finally:
            alarm.cancel()

    def _connected(self, address: Address) -> socket.socket:
        try:
            found = self.resolve(address.host, address.port)
        except (OSError, UnicodeError):
            _failed("E_STORAGE_UNREACHABLE", "is not known to the name service", address.place)
        try:
            ips = allowed(found, address.entries)
        except Refusal as refusal:
            raise TrustRefused(refusal.message, code=refusal.code, place=address.place, remedy=_LIST) from None
        context, failure = self._context(), WorldError("", code="", remedy="")
        end = time.monotonic() + self.limits.head
        for ip in ips:  # of which a name service may tell thousands
            try:
                return self._shaken(ip, address, context)
            except WorldError as error:
                failure = error
            if time.monotonic() > end:
                break
        raise failure

    def _shaken(self, ip: Ip, address: Address, context: ssl.SSLContext) -> socket.socket:
        try:
            raw = socket.create_connection((str(ip), address.port), timeout=self.limits.connect)
        except OSError as error:
            _failed("E_STORAGE_UNREACHABLE", f"cannot be reached: {error.strerror or 'no answer'}", address.place)
        try:
            shaken = context.wrap_socket(raw, server_hostname=address.host)
        except OSError as error:
            raw.close()
            why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else "no handshake"
            _failed("E_STORAGE_TLS", f"does not prove who it is: {why}", address.place)
        shaken.settimeout(self.limits.idle)
        return shaken

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise InputError(
                "the file with the storage's CA cannot be used",
                code="E_STORAGE_TLS",
                place=str(self.ca),
                remedy="Let FWCTL_STORAGE_CA name a file with certificates in PEM.",
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


class HttpsReader:
    """A stream of one image that proves its digest when it reaches the end. It goes forward only."""

    def __init__(
        self, response: http.client.HTTPResponse, digest: str, length: int, *, place: str, limits: Limits
    ) -> None:
        self._response = response
        self._digest = digest
        self._place = place
        self._limits = limits
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._begun = time.monotonic()
        self.length = length

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, b"" at the end. Raises WorldError E_HASH at the end of wrong bytes."""
        left = self.length - self._hashed
        try:
            data = self._response.read1(left if size < 0 else min(size, left)) if left and size else b""
        except (OSError, http.client.HTTPException, ValueError):
            _failed("E_STORAGE_CUT", f"broke off after {self._hashed} of {self.length} bytes", self._place)
        if left and size and not data:
            _failed("E_STORAGE_CUT", f"broke off after {self._hashed} of {self.length} bytes", self._place)
        self._hash.update(data)
        self._hashed += len(data)
        if self._hashed == self.length and f"sha256:{self._hash.hexdigest()}" != self._digest:
            _failed("E_HASH", "holds other bytes than those of the digest in their name", self._place)
        elapsed = time.monotonic() - self._begun
        if elapsed > self._limits.grace and self._hashed < elapsed * self._limits.rate:
            _failed("E_STORAGE_CUT", "is too slow", self._place)
        return data

    def seek(self, offset: int, /) -> None:
        """Continue at `offset`; what is skipped goes through the hash."""
        if not self._hashed <= offset <= self.length:
            raise ValueError(f"offset {offset} lies behind, or outside an image of {self.length} bytes")
        while self._hashed < offset:
            self.read(min(_CHUNK, offset - self._hashed))


def _check_status(response: http.client.HTTPResponse, place: str) -> None:
    status = response.status
    if status == 200:
        if response.getheader("Content-Encoding", "identity") != "identity":
            _failed("E_STORAGE_STATUS", "sends the image in another encoding", place)
        return
    if 300 <= status < 400:
        _failed("E_REDIRECT", "sends us elsewhere; no redirect is followed", place)
    if status in (404, 410):
        raise InputError(
            "the storage does not hold the image",
            code="E_STORAGE_MISSING",
            place=place,
            remedy="Upload it to that address by your own means.",
        )
    _failed("E_STORAGE_STATUS", f"answers {status}", place)


def _length(response: http.client.HTTPResponse, place: str) -> int:
    # The size of a chunk may drip in, byte by byte, within one read: no limit of time would notice.
    stated = response.getheader("Content-Length", "") if response.getheader("Transfer-Encoding") is None else ""
    if not stated.isascii() or not stated.isdigit() or len(stated) > 15:
        _failed("E_LENGTH", "does not say how long the image is", place)
    return int(stated)


def _length_of(source: Path | BinaryIO) -> int:
    if isinstance(source, Path):
        return source.stat().st_size
    at, end = source.tell(), source.seek(0, os.SEEK_END)
    source.seek(at)
    return end - at


def _cut(connection: socket.socket | None) -> None:
    with contextlib.suppress(OSError):
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)


def _failed(code: str, why: str, place: str) -> NoReturn:
    # From None: the causes carry the request, and the request its query.
    error: FwctlError = WorldError(f"the storage {why}", code=code, place=place, remedy=_LOOK)
    raise error from None
