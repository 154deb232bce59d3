"""Server-side TLS: the controller CA is the only client CA; validity and revocation are judged by what is trusted."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fwctl_agent.config import ConfigError
from fwctl_agent.runtime.host import Host
from fwctl_agent.runtime.identity import key_in_force
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.trust.identity import UNREADABLE
from fwctl_agent.trust.verifier import TrustedTime

NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: a wrong system clock must not make the device unreachable (A46)"""


_REMEDY: Final = "enroll the device again, or restore the folder identity/"


class HostContext(ssl.SSLContext):
    """A TLS context that knows whose it is, where it serves one device only."""

    host: Host | None = None


class HostConnection(ssl.SSLObject):
    """One TLS connection; `find` returns the device that it asked for, where the context serves many."""

    find: Callable[[], Host | None] | None = None


def host_of(connection: object) -> Host | None:
    """Return whose device a TLS connection has reached."""
    if isinstance(connection, HostConnection) and connection.find is not None:
        return connection.find()
    context = connection.context if isinstance(connection, ssl.SSLObject) else None
    return context.host if isinstance(context, HostContext) else None


def server_context(
    certificate: Path, key: Path, controller_ca: Path, *, oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> HostContext:
    """Return the context for one device; `oldest` is the first version of TLS that it speaks.

    Raises:
        ConfigError: a file is missing or not what it should be.
    """
    context = HostContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = HostConnection
    context.minimum_version = oldest
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    # One ticket tells the peer that its certificate was accepted; nobody needs two.
    context.num_tickets = 1
    try:
        context.load_verify_locations(controller_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(str(controller_ca), "is no readable CA certificate", _REMEDY) from error
    load_identity(context, certificate, key)
    return context


def oldest_tls(settings: Settings) -> ssl.TLSVersion:
    """Return the first version of TLS that a device's settings admit."""
    return ssl.TLSVersion.TLSv1_2 if settings.tls == "1.2" else ssl.TLSVersion.TLSv1_3


def load_identity(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Let the context show this certificate from now on; connections that were given another one keep theirs.

    Raises:
        ConfigError: a file is missing or not what it should be.
    """
    try:
        # A passphrase would be asked for on the terminal: refuse such keys instead of hanging.
        context.load_cert_chain(certificate, key_in_force(certificate, key), password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{certificate}, {key}", "are no matching certificate and key", _REMEDY) from error


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted")


def peer_is_valid(
    certificate: bytes | None, time: TrustedTime, *, name: str | None = None, revoked: Collection[str] = ()
) -> bool:
    """Say whether the peer's certificate (DER, chain already verified) is valid at trusted time.

    It must name `name` and nobody else, and its key must not be one of `revoked`.
    """
    if certificate is None:
        return False
    peer = _peer(certificate)
    if (name is not None and peer.names != (name,)) or peer.key in revoked:
        return False
    # A suspect time is only a lower bound: it can prove an end, but not that the beginning is still to come. A clock
    # far ahead proves no end: the device would be out of reach for ever, and nobody could tell it the time (A46).
    proved = time.floor if time.floor is not None and time.ahead else time.now
    return proved <= peer.end and (time.suspect or peer.begin <= time.now)


@dataclass(frozen=True)
class _Peer:
    begin: datetime
    end: datetime
    names: tuple[str, ...]
    key: str


@lru_cache(maxsize=64)
def _peer(certificate: bytes) -> _Peer:
    parsed = x509.load_der_x509_certificate(certificate)
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except UNREADABLE:
        names = x509.SubjectAlternativeName([])
    found = tuple(name.value if isinstance(name, x509.DNSName) else "" for name in names)
    spki = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = f"sha256:{hashlib.sha256(spki).hexdigest()}"
    return _Peer(parsed.not_valid_before_utc, parsed.not_valid_after_utc, found, digest)
