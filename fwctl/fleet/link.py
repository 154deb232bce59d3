"""The HTTPS link to a device: one method per endpoint of the protocol (`fwctl_agent.protocol.messages`)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Final, Literal, TypeVar

import httpx

from fwctl.errors import InputError, WorldError
from fwctl.fleet.certificates import Authorities, device_name, load_certificate
from fwctl.fleet.channel import Channel, Peer, Reply, SourceFailed, Timeouts, Tls
from fwctl.fleet.connection import Address
from fwctl.fleet.interface import ImageReader, printable
from fwctl.fleet.peers import Judge
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.identity import IdentityReply, NewCertificate, RequestReply
from fwctl_agent.protocol.messages import BusyReply, DeviceDocument, OrderReply, RefusedReply, TrustVersions

__all__ = ["HttpsLink", "Links", "Timeouts"]

T = TypeVar("T")

_CHUNK: Final = 1 << 18
_JSON: Final = ((b"Content-Type", b"application/json"),)
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME"""
_NO: Final = (408, 413, 422, 503)
"""statuses under which the agent says no in the protocol's own words (RefusedReply)"""
_IDENTITY: Final = (200, 404, *_NO)
"""404: an agent of the first releases, which does not know the address"""

TlsVersion = Literal["1.3", "1.2"]


class Links:
    """Opens links to the devices of one fleet; all share one TLS set-up."""

    def __init__(
        self,
        authorities: Authorities,
        repo_id: str,
        *,
        timeouts: Timeouts | None = None,
        revoked: Iterable[str] = (),
        oldest: TlsVersion = "1.3",
        lapsed: bool = False,
    ) -> None:
        """Load the reconciler's certificate and the device CA.

        `revoked` are the keys of `policy.revoked`, `oldest` the first version of TLS that is spoken. With `lapsed` the
        device's certificate may be past its end: for its renewal, and for nothing else.

        Raises:
            InputError: `E_PKI` if one of them is missing or wrong.
        """
        self._repo_id = repo_id
        self._timeouts = timeouts or Timeouts()
        judge = Judge(load_certificate(authorities.device_ca), frozenset(revoked), lapsed)
        checked, nameless = (_context(authorities, oldest, lapsed, check_name=check) for check in (True, False))
        self._tls = Tls(checked, nameless, judge)

    def open(self, device_id: str, address: str) -> HttpsLink:
        """Return a link for one visit (`async with`) to the device at `host:port`; the first call connects.

        Raises:
            InputError: `E_ADDRESS` for what is no address.
        """
        try:
            where = Address.parse(address)
        except ValueError as error:
            raise InputError(
                f"{printable(address[:80])} is no address: {error}",
                code="E_ADDRESS",
                place=device_id,
                remedy="Write it as host:port in the device's inventory, or in the fleet's address template.",
            ) from error
        peer = Peer(device_id, device_name(device_id, self._repo_id), where)
        return HttpsLink(device_id, Channel(peer, self._tls, self._timeouts), self._timeouts.min_rate)


class HttpsLink:
    """One visit to one device. Made by `Links.open`; the methods are those of the port `DeviceLink`."""

    def __init__(self, device_id: str, channel: Channel, min_rate: int) -> None:
        self._device = device_id
        self._channel = channel
        self._min_rate = min_rate

    async def __aenter__(self) -> HttpsLink:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    @property
    def peer_certificate(self) -> str | None:
        certificate = self._channel.certificate
        return None if certificate is None else ssl.DER_cert_to_PEM_cert(certificate)

    async def dial(self) -> None:
        await self._channel.dial()

    async def connect(self) -> None:
        await self._channel.connect()

    async def device(self) -> DeviceDocument:
        reply = await self._channel.call("GET", "/v1/device", wanted=(200,))
        document = self._read(DeviceDocument.from_wire, reply)
        if document.id != self._device:
            self._channel.nonsense(f"the device says that it is {document.id}", code="E_REPORT")
        return document

    async def put_trust(self, bundle: Mapping[str, str]) -> TrustVersions | RefusedReply:
        body = canonical.dump(dict(bundle))
        reply = await self._channel.call("PUT", "/v1/trust", body=body, headers=_JSON, wanted=(200, *_NO))
        return self._refused(reply) if reply.status in _NO else self._read(TrustVersions.from_wire, reply)

    async def new_key(self) -> str | RefusedReply:
        """Ask the device for a new key; return its request for a certificate, PEM."""
        reply = await self._channel.call("PUT", "/v1/identity/request", body=b"{}", headers=_JSON, wanted=_IDENTITY)
        return self._refused(reply) if reply.status != 200 else self._read(RequestReply.from_wire, reply).request

    async def put_identity(self, certificate: str) -> IdentityReply | RefusedReply | BusyReply:
        """Hand a new certificate over, PEM."""
        body = NewCertificate(certificate).to_bytes()
        wanted = (*_IDENTITY, 409)
        reply = await self._channel.call("PUT", "/v1/identity", body=body, headers=_JSON, wanted=wanted)
        if reply.status == 409:
            return self._read(BusyReply.from_wire, reply)
        return self._refused(reply) if reply.status != 200 else self._read(IdentityReply.from_wire, reply)

    async def put_order(self, order_id: str, body: bytes) -> OrderReply | RefusedReply | BusyReply:
        reply = await self._channel.call(
            "PUT", f"/v1/orders/{order_id}", body=body, headers=_JSON, wanted=(200, 202, 409, *_NO)
        )
        return self._answer(reply, order_id)

    async def put_image(
        self, order_id: str, image: ImageReader | bytes, *, offset: int, total: int
    ) -> OrderReply | RefusedReply | BusyReply:
        if not 0 <= offset < total:  # the offset is what the device asked for
            self._channel.nonsense(f"the device wants bytes from {offset} on of an image of {total} bytes")
        length = total - offset
        reply = await self._channel.call(
            "PUT",
            f"/v1/orders/{order_id}/image",
            body=_Chunks(image, offset, total),
            headers=(
                (b"Content-Type", b"application/octet-stream"),
                (b"Content-Length", b"%d" % length),
                (b"Content-Range", b"bytes %d-%d/%d" % (offset, total - 1, total)),
            ),
            wanted=(200, 202, 404, 409, 416, *_NO),
            extra=length / self._min_rate,
        )
        return self._answer(reply, order_id)

    async def order(self, order_id: str, *, wait: int = 0) -> OrderReply | None:
        reply = await self._channel.call("GET", f"/v1/orders/{order_id}?wait={wait}", wanted=(200, 404), extra=wait)
        if reply.status == 404:
            self._refused(reply)
            return None
        return self._standing(reply, order_id)

    def _read(self, read: Callable[[object], T], reply: Reply) -> T:
        try:
            return read(reply.value)
        except Refusal as error:
            self._channel.nonsense(error.message)

    def _answer(self, reply: Reply, order_id: str) -> OrderReply | RefusedReply | BusyReply:
        if reply.status in (404, *_NO):
            return self._refused(reply)
        if reply.status == 409:
            return self._read(BusyReply.from_wire, reply)
        return self._standing(reply, order_id)

    def _refused(self, reply: Reply) -> RefusedReply:
        refused = self._read(RefusedReply.from_wire, reply)
        return replace(refused, message=printable(refused.message))

    def _standing(self, reply: Reply, order_id: str) -> OrderReply:
        standing = self._read(OrderReply.from_wire, reply)
        if standing.order != order_id:
            self._channel.nonsense("the device answers for another order")
        return standing


class _Chunks(httpx.AsyncByteStream):
    """The part of an image that a device asked for."""

    def __init__(self, image: ImageReader | bytes, offset: int, total: int) -> None:
        self._image = image
        self._offset = offset
        self._total = total

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            if isinstance(self._image, bytes):
                if len(self._image) < self._total:
                    raise _ends_early(self._total - len(self._image))
                yield self._image[self._offset : self._total]
            else:
                async for chunk in _read(self._image, self._offset, self._total):
                    yield chunk
        except Exception as error:
            raise SourceFailed(error) from error


async def _read(reader: ImageReader, offset: int, total: int) -> AsyncIterator[bytes]:
    """Read the image in a thread: storage may be slow, and other devices wait for this loop."""
    left = total - offset
    if offset:
        await asyncio.to_thread(reader.seek, offset)
    while left:
        chunk = await asyncio.to_thread(reader.read, min(_CHUNK, left))
        if not chunk:
            raise _ends_early(left)
        left -= len(chunk)
        yield chunk


def _ends_early(missing: int) -> WorldError:
    return WorldError(
        f"the image ends {missing} bytes early",
        code="E_LENGTH",
        remedy="The storage is damaged: upload the image again with `fwctl firmware add`.",
    )


def _context(authorities: Authorities, oldest: TlsVersion, lapsed: bool, *, check_name: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if oldest == "1.2" else ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if lapsed:
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    context.set_alpn_protocols(["http/1.1"])
    context.check_hostname = check_name
    context.hostname_checks_common_name = False
    try:
        context.load_verify_locations(authorities.device_ca)
        # A password is given, wrong for every encrypted key, because OpenSSL would ask on the terminal.
        context.load_cert_chain(authorities.controller, authorities.controller_key_in_force, password="")
    except (OSError, ValueError) as error:
        raise InputError(
            f"the reconciler's certificate or the device CA cannot be used: {type(error).__name__}",
            code="E_PKI",
            place=str(authorities.folder),
            remedy="Run `fwctl init`, or copy the fleet's pki folder to this machine.",
        ) from error
    return context
