"""Whom we talk to although TLS has let them in: one name, a key that is not revoked, and a time that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import httpx
from cryptography import x509

from fwctl.fleet.connection import TlsStream
from fwctl_agent.trust.identity import UNREADABLE, allowed, key_digest


class NotWelcome(httpx.ConnectError):
    """The peer has shown a certificate that TLS accepts and we do not. Nothing was sent to it."""

    def __init__(self, why: str, *, code: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.code = code
        self.remedy = remedy


@dataclass(frozen=True)
class Judge:
    """Judges a peer after the handshake, before any byte of HTTP.

    TLS has checked the chain, and that one of the certificate's names is the wanted one; where `lapsed` is set it has
    not looked at the time.
    """

    authority: x509.Certificate
    revoked: frozenset[str]
    """digests of public keys, as in `policy.revoked`"""
    lapsed: bool = False
    """the device's certificate, and nothing else, may be past its end: so that it can be renewed"""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __call__(self, name: str, peer: TlsStream) -> None:
        """Let the peer in.

        Raises:
            NotWelcome: `E_TLS`, `E_REVOKED` or `E_CA_EXPIRED`.
        """
        device = name.partition(".")[0]
        if peer.names != (("DNS", name),):
            raise NotWelcome(
                f"the certificate does not name {name} alone",
                code="E_TLS",
                remedy=f"Find out who signed it; `fwctl device enroll {device}` issues one that names one device.",
            )
        if (self.revoked or self.lapsed) and peer.certificate is not None:
            self._look_closer(device, peer.certificate)

    def _look_closer(self, device: str, certificate: bytes) -> None:
        shown = _shown(certificate)
        if shown is None:
            raise NotWelcome(
                "the certificate is not for a key that a device may have",
                code="E_TLS",
                remedy=f"Enroll the device again: fwctl device enroll {device} --out DIR",
            )
        if shown.key in self.revoked:
            raise NotWelcome(
                f"the device's key {shown.key[:19]} is revoked by the policy",
                code="E_REVOKED",
                remedy=f"Nothing is sent to it. If the device is in your hands, give it a new key: fwctl device enroll "
                f"{device} --request FILE --out DIR",
            )
        now = self.clock()
        if self.lapsed and now > self.authority.not_valid_after_utc:
            raise self.past(device)
        if self.lapsed and now < shown.begin:
            raise NotWelcome(
                "the certificate is not valid yet",
                code="E_TLS",
                remedy="Check the clock of this machine.",
            )

    def past(self, device: str) -> NotWelcome:
        """Return what a certificate past its end means: the device's, or that of the whole device CA."""
        if self.clock() > self.authority.not_valid_after_utc:
            return NotWelcome(
                "the device CA is past its end, and so is every certificate that it has signed",
                code="E_CA_EXPIRED",
                remedy="Make a new device CA and enroll the devices again (docs/how-to/identities.md).",
            )
        return NotWelcome(
            "the device's certificate is past its end",
            code="E_CERT_EXPIRED",
            remedy=f"Renew it where the device CA's key is: fwctl device renew {device}",
        )


@dataclass(frozen=True)
class _Shown:
    key: str
    begin: datetime


@lru_cache(maxsize=2048)
def _shown(certificate: bytes) -> _Shown | None:
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        key = parsed.public_key()
    except UNREADABLE:
        return None
    return _Shown(key_digest(key), parsed.not_valid_before_utc) if allowed(key) else None
