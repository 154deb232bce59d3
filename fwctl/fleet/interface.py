"""The port through which the loop speaks to one device, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, Protocol

from fwctl.errors import DeviceError
from fwctl_agent.protocol.messages import BusyReply, DeviceDocument, OrderReply, RefusedReply, TrustVersions

Kind = Literal["unreachable", "tls", "reply"]
"""`unreachable`: nobody there, or gone in the middle; `tls`: somebody else there; `reply`: nonsense said"""

_REMEDIES: Final[Mapping[Kind, str]] = {
    "unreachable": "Check that the device is on, that its agent runs and that its address is right; it is tried again.",
    "tls": "Check that the address leads to this device and that it was enrolled in this fleet; "
    "`fwctl device enroll` issues a new certificate.",
    "reply": "Check the agent's version and log on the device.",
}
_MAX_MESSAGE: Final = 400
_QUERY: Final = re.compile(r"(https?://[^\s?]*)\?\S*", re.IGNORECASE)


class LinkError(DeviceError):
    """A call to a device failed.

    `reached` says that what was sent may have arrived: whether an order was accepted is then unknown, and asking the
    device is the only way to find out.
    """

    def __init__(self, message: str, *, kind: Kind, reached: bool, code: str, place: str, remedy: str = "") -> None:
        super().__init__(printable(message), code=code, remedy=remedy or _REMEDIES[kind], place=place)
        self.kind: Kind = kind
        self.reached = reached


class ImageReader(Protocol):
    """A stream of image bytes, as storage opens it."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, /) -> object: ...


class DeviceLink(Protocol):
    """One visit to one device. Every method raises LinkError; calling again after one is allowed."""

    @property
    def peer_certificate(self) -> str | None:
        """The device's certificate, PEM, as TLS verified it; None before the first connection."""
        ...

    async def dial(self) -> None:
        """Open a TCP connection, and nothing more.

        So that a loop can bound how many devices it waits for apart from how many it talks with.
        """
        ...

    async def connect(self) -> None:
        """Shake hands now, unless the connection stands; without it, the first call does."""
        ...

    async def device(self) -> DeviceDocument:
        """Return what the device says of itself. LinkError `E_REPORT` when it says that it is another one."""
        ...

    async def put_trust(self, bundle: Mapping[str, str]) -> TrustVersions | RefusedReply:
        """Send a bundle of trust metadata alone: file name below `trust/` -> text."""
        ...

    async def put_order(self, order_id: str, body: bytes) -> OrderReply | RefusedReply | BusyReply:
        """Send an order request (`OrderRequest.to_bytes`)."""
        ...

    async def put_image(
        self, order_id: str, image: ImageReader | bytes, *, offset: int, total: int
    ) -> OrderReply | RefusedReply | BusyReply:
        """Send the bytes `offset` to `total` of the image; what a reader raises goes through unchanged.

        A reader is read piece by piece, in threads. `bytes` cost neither threads nor copies, and many visits may share
        them: the way for all images that are small enough to be held.
        """
        ...

    async def order(self, order_id: str, *, wait: int = 0) -> OrderReply | None:
        """Return where the order stands, after a change or `wait` seconds; None when the device does not know it."""
        ...


class DeviceLinks(Protocol):
    """Opens links."""

    def open(self, device_id: str, address: str) -> AbstractAsyncContextManager[DeviceLink]:
        """Return a link for one visit to the device at `host:port`; it connects with the first call."""
        ...


def printable(text: str) -> str:
    """Return text that came from outside, cut, without characters that could steer a terminal, or secrets of addresses.

    A device is told addresses with their query, and may say them again.
    """
    plain = _QUERY.sub(r"\1?...", text[: _MAX_MESSAGE * 8])
    return "".join(char if char.isprintable() else "?" for char in plain[:_MAX_MESSAGE])
