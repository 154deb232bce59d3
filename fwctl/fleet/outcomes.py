"""Judge what a device signed about an order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from securesystemslib.signer import SSlibKey

from fwctl.errors import DeviceError, InputError
from fwctl.fleet.certificates import read_device_certificate
from fwctl.fleet.interface import printable
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.statements import OUTCOME, Outcome
from fwctl_agent.trust.envelope import Sealed


def verify_outcome(envelope: Mapping[str, Any], certificate_pem: str, device_id: str, repo_id: str) -> Outcome:
    """Return the outcome in a DSSE envelope, sealed by the key in the device's certificate.

    The certificate must have been verified before (TLS did, when it came from `DeviceLink.peer_certificate`).

    Raises:
        DeviceError: `E_REPORT` when it is malformed, not signed by that key, or about another device or repository.
    """
    try:
        certificate = read_device_certificate(certificate_pem)
        if (certificate.device, certificate.repo_id) != (device_id, repo_id):
            _refuse(f"the certificate is that of {certificate.device} in {certificate.repo_id}", device_id)
        sealed = Sealed.open(dict(envelope), OUTCOME)
        if not sealed.signers([SSlibKey.from_crypto(certificate.public_key)]):
            _refuse("the outcome is not signed by the device's key", device_id)
        outcome = Outcome.from_wire(sealed.statement())
    except (Refusal, InputError) as error:
        _refuse(f"the outcome cannot be used: {error.message}", device_id)
    if (outcome.device, outcome.repo_id) != (device_id, repo_id):
        _refuse(f"the outcome is about {outcome.device} in {outcome.repo_id}", device_id)
    return outcome


def _refuse(why: str, device_id: str) -> NoReturn:
    raise DeviceError(
        printable(why),
        code="E_REPORT",
        place=device_id,
        remedy="Nothing was recorded. Check the agent on the device; enroll it again if its key was replaced.",
    )
