"""Judge what a device signed about an order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn

from securesystemslib.signer import SSlibKey

from fwctl.errors import DeviceError, InputError
from fwctl.fleet.certificates import read_device_certificate
from fwctl.fleet.interface import printable
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.statements import OUTCOME, Outcome
from fwctl_agent.trust.envelope import Sealed

_REMEMBERED: Final = 2048
"""verdicts: what all visits of one time ask again and again, a few KiB each"""


def verify_outcome(envelope: Mapping[str, Any], certificate_pem: str, device_id: str, repo_id: str) -> Outcome:
    """Return the outcome in a DSSE envelope, sealed by the key in the device's certificate.

    The certificate must have been verified before (TLS did, when it came from `DeviceLink.peer_certificate`). To ask
    again about the same bytes, as a visit does, is cheap.

    Raises:
        DeviceError: `E_REPORT` when it is malformed, not signed by that key, or about another device or repository.
    """
    try:
        return _verified(Sealed.open(dict(envelope), OUTCOME), certificate_pem, device_id, repo_id)
    except (Refusal, InputError) as error:
        _refuse(f"the outcome cannot be used: {error.message}", device_id)


@lru_cache(maxsize=_REMEMBERED)
def _verified(sealed: Sealed, certificate_pem: str, device_id: str, repo_id: str) -> Outcome:
    """Judge by the arguments alone: no clock, no state, so that the same bytes get the same verdict; a no is not kept.

    All arguments are compared whole, so nothing stands on a digest; what is returned cannot be changed.
    """
    certificate = _certificate(certificate_pem)
    if (certificate.device, certificate.repo_id) != (device_id, repo_id):
        _refuse(f"the certificate is that of {certificate.device} in {certificate.repo_id}", device_id)
    if not sealed.signers([SSlibKey.from_crypto(certificate.public_key)]):
        _refuse("the outcome is not signed by the device's key", device_id)
    outcome = Outcome.from_wire(sealed.statement())
    if (outcome.device, outcome.repo_id) != (device_id, repo_id):
        _refuse(f"the outcome is about {outcome.device} in {outcome.repo_id}", device_id)
    return outcome


_certificate = lru_cache(maxsize=_REMEMBERED)(read_device_certificate)


def _refuse(why: str, device_id: str) -> NoReturn:
    raise DeviceError(
        printable(why),
        code="E_REPORT",
        place=device_id,
        remedy="Nothing was recorded. Check the agent on the device; enroll it again if its key was replaced.",
    )
