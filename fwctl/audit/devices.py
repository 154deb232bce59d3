"""Judge what devices signed: each outcome by the certificate beside it, each certificate by the device CA."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from fwctl.audit import folder
from fwctl.audit.folder import Folder
from fwctl.audit.history import Received
from fwctl.audit.result import Check
from fwctl.errors import FwctlError
from fwctl.fleet.certificates import key_digest
from fwctl.fleet.outcomes import verify_outcome
from fwctl_agent.protocol.lock import Lock
from fwctl_agent.protocol.statements import Mandate, Outcome
from fwctl_agent.trust.identity import UNREADABLE
from fwctl_agent.trust.policy import Policy

_SHOWN = 5


def check_outcomes(
    where: Folder, mandate: Mandate, lock: Lock, policy: Policy, stage: int
) -> tuple[Check, set[Received]]:
    """Return how each device of the lock ended, by its own signature, and which outcomes count.

    `stage` is the highest that was approved: a device of a later one must not run what the mandate brings.
    """
    try:
        authority = x509.load_pem_x509_certificate(where.read(folder.DEVICE_CA))
        digest = key_digest(authority.public_key())  # type: ignore[arg-type]  # any kind has a digest
    except UNREADABLE:
        return Check.of("devices", "", [f"{folder.DEVICE_CA} is no certificate"]), set()
    judge = _Judge(authority, mandate, lock, policy, stage)
    for number, line in where.lines(folder.OUTCOMES):
        judge.take(number, line)
    wrong = [*judge.wrong[:_SHOWN], *([f"and {len(judge.wrong) - _SHOWN} more"] if len(judge.wrong) > _SHOWN else [])]
    if policy.device_cas and digest not in policy.device_cas:
        wrong.append("the policy does not know this device CA")
    remark = "" if policy.device_cas else f"The policy names no device CA: compare {digest[7:23]} with the fleet's own."
    silent = set(lock.devices) - set(judge.last)
    ends = Counter(outcome.result for outcome in judge.last.values())
    parts = [f"{number} {result}" for result, number in sorted(ends.items())]
    parts += [f"{len(silent)} without an outcome"] if silent else []
    return Check.of("devices", ", ".join(parts) or "none has reported", wrong, remark), judge.received


class _Judge:
    """Takes one outcome after the other; keeps the newest of each device."""

    def __init__(self, authority: x509.Certificate, mandate: Mandate, lock: Lock, policy: Policy, stage: int) -> None:
        self.wrong: list[str] = []
        self.last: dict[str, Outcome] = {}
        self.received: set[Received] = set()
        self._authority, self._mandate, self._policy = authority, mandate, policy
        self._stages = dict(zip(lock.devices, lock.stages(), strict=True))
        self._approved = stage
        self._vouched: dict[str, str] = {}

    def take(self, number: int, line: dict[str, Any]) -> None:
        """Judge one line of the file."""
        device, certificate, envelope = (line.get(name) for name in ("device", "certificate", "envelope"))
        if not isinstance(device, str) or not isinstance(certificate, str) or not isinstance(envelope, dict):
            self.wrong.append(f"line {number} is malformed")
            return
        if certificate not in self._vouched:
            self._vouched[certificate] = self._issued(certificate)
        try:
            outcome = verify_outcome(envelope, certificate, device, self._policy.repo_id)
        except FwctlError as error:
            self.wrong.append(f"{device[:64]}: {error.message}")
            return
        why = self._vouched[certificate] or self._covered(outcome)
        if why:
            self.wrong.append(f"{device}: {why}")
            return
        self.received.add((outcome.device, outcome.order, outcome.counter))
        known = self.last.get(device)
        if known is None or known.counter < outcome.counter:
            self.last[device] = outcome

    def _issued(self, pem: str) -> str:
        try:
            x509.load_pem_x509_certificate(pem.encode()).verify_directly_issued_by(self._authority)
        except (ValueError, TypeError, InvalidSignature):
            return "its certificate is not one of the device CA"
        return ""

    def _covered(self, outcome: Outcome) -> str:
        """Return why an outcome is not one of this mandate's; an image of another mandate runs after a revert."""
        if outcome.mandate != self._mandate.id:
            return "the outcome is about another mandate"
        late = self._mandate.late_joiners
        if outcome.device not in self._stages and late is None:
            return "it is not in the lock that was approved"
        stage = self._stages.get(outcome.device, late.stage if late else 1)
        if stage > self._approved:
            return f"it stands in stage {stage}, and stage {self._approved} was approved"
        running = outcome.running
        if running.mandate == self._mandate.id and running.release not in self._mandate.releases:
            return "it runs a release that was not approved"
        return ""
