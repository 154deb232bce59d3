"""Server-side TLS: the controller CA is the only client CA, and validity is judged by trusted time."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509

from fwctl_agent.config import ConfigError
from fwctl_agent.runtime.host import Host
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


def server_context(certificate: Path, key: Path, controller_ca: Path) -> HostContext:
    """Return the context for one device.

    Raises:
        ConfigError: a file is missing or not what it should be.
    """
    context = HostContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = HostConnection
    context.minimum_version = ssl.TLSVersion.TLSv1_2
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


def load_identity(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Let the context show this certificate from now on; connections that were given another one keep theirs.

    Raises:
        ConfigError: a file is missing or not what it should be.
    """
    try:
        # A passphrase would be asked for on the terminal: refuse such keys instead of hanging.
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{certificate}, {key}", "are no matching certificate and key", _REMEDY) from error


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted")


def peer_is_valid(certificate: bytes | None, time: TrustedTime) -> bool:
    """Say whether the peer's certificate (DER, chain already verified) is valid at trusted time."""
    if certificate is None:
        return False
    begin, end = _validity(certificate)
    # A suspect time is only a lower bound: it can prove an end, but not that the beginning is still to come.
    return time.now <= end and (time.suspect or begin <= time.now)


@lru_cache(maxsize=64)
def _validity(certificate: bytes) -> tuple[datetime, datetime]:
    parsed = x509.load_der_x509_certificate(certificate)
    return parsed.not_valid_before_utc, parsed.not_valid_after_utc
