"""Why TLS did not accept a device: the certificate names somebody else, or it is past its end."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from fwctl.fleet.connection import Address

_HOSTNAME_MISMATCH: Final = 62
"""X509_V_ERR_HOSTNAME_MISMATCH"""
_HAS_EXPIRED: Final = 10
"""X509_V_ERR_CERT_HAS_EXPIRED"""


async def carried_names(address: Address, context: ssl.SSLContext, name: str, *, seconds: float) -> tuple[str, ...]:
    """Return the DNS names in the certificate that answers for `name`, for an error message; () if there is none.

    `context` verifies the chain but not the name. Nothing is sent on this connection.
    """
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=name)
    except (OSError, ValueError):
        return ()
    found = writer.get_extra_info("peercert") or {}
    writer.transport.abort()
    return tuple(value for kind, value in found.get("subjectAltName", ()) if kind == "DNS")


def is_wrong_name(error: ssl.SSLError) -> bool:
    """Say whether TLS failed because the certificate names somebody else."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == _HOSTNAME_MISMATCH


def is_expired(error: ssl.SSLError) -> bool:
    """Say whether TLS failed because a certificate of the peer's chain is past its end."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == _HAS_EXPIRED
