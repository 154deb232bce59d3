"""What travels when a device gets a new certificate: renewal keeps the key, rotation brings a new one.

HTTP, under mutual TLS, beside the addresses of `messages`:

    PUT  /v1/identity/request  {}                       -> 200 RequestReply | 422 RefusedReply
    PUT  /v1/identity          {"certificate": PEM}     -> 200 IdentityReply | 409 BusyReply | 422 RefusedReply
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import Fields, format_time

MAX_IDENTITY_BODY: Final = 32 << 10
MAX_PEM: Final = 16 << 10


@dataclass(frozen=True)
class NewCertificate:
    """The body of `PUT /v1/identity`."""

    certificate: str
    """PEM"""

    def to_wire(self) -> dict[str, Any]:
        return {"certificate": self.certificate}

    def to_bytes(self) -> bytes:
        return canonical.dump(self.to_wire())

    @classmethod
    def from_bytes(cls, data: bytes) -> NewCertificate:
        top = Fields(canonical.decode(data, what="new certificate", max_bytes=MAX_IDENTITY_BODY), "identity")
        new = cls(top.text("certificate", limit=MAX_PEM))
        top.done()
        return new


@dataclass(frozen=True)
class RequestReply:
    """The request for a certificate (PKCS#10, PEM) that a device made for its pending key."""

    request: str

    def to_wire(self) -> dict[str, Any]:
        return {"request": self.request}

    @classmethod
    def from_wire(cls, value: object) -> RequestReply:
        top = Fields(value, "request")
        reply = cls(top.text("request", limit=MAX_PEM))
        top.done()
        return reply


@dataclass(frozen=True)
class IdentityReply:
    """The certificate that is in force now: the digest of its public key, and its end."""

    key: str
    end: datetime

    def to_wire(self) -> dict[str, Any]:
        return {"key": self.key, "notAfter": format_time(self.end)}

    @classmethod
    def from_wire(cls, value: object) -> IdentityReply:
        top = Fields(value, "identity")
        reply = cls(top.digest("key"), top.time("notAfter"))
        top.done()
        return reply
