"""An HTTPS server for images that misbehaves as told: real TLS under a test CA, on a loopback address of its own."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer; the fields that are set add up."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    reset_at: int | None = None
    """bytes of the body after which the connection is reset"""
    close_at: int | None = None
    """the same, politely"""
    ignore_range: bool = False
    content_range: str = ""
    wrong: bool = False
    """one byte of the body is another one"""
    more: int = 0
    """bytes that the object is longer"""
    chunked: bool = False
    """no length is stated"""
    rate: int = 0
    """bytes per second"""
    silent: bool = False
    """nothing is answered"""


@dataclass(frozen=True)
class Request:
    """What somebody asked for, and what he got."""

    method: str
    target: str
    range: str
    host: str
    status: int


@dataclass
class StorageServer:
    """Serves `images` below `/fw/sha256/`; `fault` says what is wrong with the n-th answer, from 0 on."""

    folder: Path
    host: str = "127.0.0.1"
    fault: Callable[[int], Fault] = lambda number: Fault()
    images: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    script: Callable[[int, str], Iterable[bytes]] | None = None
    """the raw bytes of the answer to the n-th request, which asks for this range; nothing else is sent then"""
    names: tuple[str, ...] = ()
    """other names in the certificate, instead of the host's"""

    def __post_init__(self) -> None:
        self.ca = self.folder / "storage-ca.pem"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(_certificate(self.folder, self.ca, self.names or (self.host, "localhost")))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._over = threading.Event()

    @property
    def url(self) -> str:
        """The address of the storage, as fleet.yaml has it."""
        return f"https://{self.host}:{self.port}/fw"

    def add(self, image: bytes) -> str:
        """Hold an image and return its address."""
        name = hashlib.sha256(image).hexdigest()
        self.images[f"/fw/sha256/{name[:2]}/{name}"] = image
        return f"{self.url}/sha256/{name[:2]}/{name}"

    def entry(self, **changes: Any) -> dict[str, Any]:
        """Return the policy's entry for this storage."""
        return {"scheme": "https", "host": self.host, "port": self.port, "cidr": "127.0.0.0/8"} | changes

    @property
    def ranges(self) -> list[str]:
        """Return the ranges that were asked for with GET, in order."""
        return [one.range for one in self.requests if one.method == "GET"]

    def __enter__(self) -> StorageServer:
        self._listener = socket.create_server((self.host, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        self._open.add(raw)
        connection: socket.socket = raw
        try:
            raw.settimeout(20)
            connection = self._context.wrap_socket(raw, server_side=True)
            self._open.add(connection)
            self._answer(connection)
        except (OSError, ValueError):
            pass
        finally:
            self._open -= {raw, connection}
            connection.close()
            raw.close()

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return
            head += piece
        line, *fields = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ", 2)
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in fields)}
        image, wanted = self.images.get(target.partition("?")[0]), headers.get("range", "")
        if self.script is not None:
            with self._lock:
                pieces = self.script(len(self.requests), wanted)
                self.requests.append(Request(method, target, wanted, headers.get("host", ""), 0))
            for piece in pieces:
                connection.sendall(piece)
                if self._over.is_set():
                    return
            return
        with self._lock:
            number = sum(1 for one in self.requests if one.method == method)
            fault = self.fault(number) if method == "GET" else Fault()
            status, more, body = _answered(image, wanted, fault)
            self.requests.append(Request(method, target, wanted, headers.get("host", ""), status))
        if fault.silent:
            self._over.wait(60)
            return
        lines = [f"HTTP/1.1 {status} X", "Connection: close", *more, *(f"{n}: {v}" for n, v in fault.headers)]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        if method != "HEAD":
            self._send(connection, body, fault)

    def _send(self, connection: socket.socket, body: bytes, fault: Fault) -> None:
        stop = fault.reset_at if fault.reset_at is not None else fault.close_at
        part = body if stop is None else body[:stop]
        size = max(1, min(65536, fault.rate // 20)) if fault.rate else 65536
        for start in range(0, len(part), size):
            piece = part[start : start + size]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if fault.chunked else piece)
            if fault.rate and self._over.wait(len(piece) / fault.rate):
                return
        if fault.chunked and stop is None:
            connection.sendall(b"0\r\n\r\n")
        if fault.reset_at is not None:
            time.sleep(0.05)  # what was sent arrives first
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _answered(image: bytes | None, wanted: str, fault: Fault) -> tuple[int, list[str], bytes]:
    if fault.status:
        return fault.status, ["Content-Length: 0"], b""
    if image is None:
        return 404, ["Content-Length: 0"], b""
    data = image + b"x" * fault.more
    if fault.wrong:
        data = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    found = re.fullmatch(r"bytes=([0-9]+)-", wanted)
    status, more = 200, []
    if found and not fault.ignore_range:
        first = int(found[1])
        if first >= len(data):
            return 416, [f"Content-Range: bytes */{len(data)}", "Content-Length: 0"], b""
        status = 206
        more.append(f"Content-Range: {fault.content_range or f'bytes {first}-{len(data) - 1}/{len(data)}'}")
        data = data[first:]
    more.append("Transfer-Encoding: chunked" if fault.chunked else f"Content-Length: {len(data)}")
    return status, more, data


def in_turn(*faults: Fault) -> Callable[[int], Fault]:
    """Return these faults one after the other, then none."""
    return lambda number: faults[number] if number < len(faults) else Fault()


def always(fault: Fault) -> Callable[[int], Fault]:
    return lambda number: fault


@contextlib.contextmanager
def storage_server(folder: Path, *images: bytes, **settings: Any) -> Iterator[StorageServer]:
    """Serve these images until the block ends."""
    with StorageServer(folder, **settings) as server:
        for image in images:
            server.add(image)
        yield server


def _certificate(folder: Path, ca: Path, names: tuple[str, ...]) -> Path:
    """Write a CA and a certificate with its key; return the file of the latter."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "storage test CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "storage")])
    root = _builder(issuer, issuer, authority.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
    root = root.add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
    ca.write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    leaf = _builder(subject, issuer, key.public_key())
    leaf = leaf.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    leaf = leaf.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
    )
    path = folder / "storage.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + leaf.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
