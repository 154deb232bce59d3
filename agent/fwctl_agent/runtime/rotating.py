"""How a device comes to a new certificate, and to a new key."""

from __future__ import annotations

from dataclasses import replace

from fwctl_agent.protocol.statements import OUTCOME
from fwctl_agent.runtime.identity import Identity
from fwctl_agent.runtime.kept import Busy, Kept
from fwctl_agent.trust.envelope import Sealed, seal
from fwctl_agent.trust.identity import DeviceCertificate


class Rotating(Kept):
    """The part of a device that changes who it is."""

    _identity: Identity

    def new_key(self) -> str:
        """Return a request for a certificate for a new key; the present one stays in force until that has come.

        Raises:
            Refusal: `E_NO_DEVICE_CA`.
        """
        if self._identity.unfinished:
            self._finish_rotation()
        return self._identity.request()

    def put_identity(self, pem: str) -> tuple[DeviceCertificate, bool]:
        """Take a new certificate; return it, and whether the key is a new one too.

        Raises:
            Refusal: it is not one for this device.
            Busy: an order runs whose outcome the old key is expected to sign.
            OSError: nothing was changed, or only the journal and the old key are still to follow: ask again.
        """
        policy = self.trust.trusted.policy
        new, rotated = self._identity.judge(pem, time=self.time(), revoked=policy.revoked if policy else ())
        job = self.record.job
        if rotated and job is not None and job.active:
            raise Busy(job.order.id)
        self._identity.store(new)
        if self._identity.unfinished:
            self._finish_rotation()
        return new, rotated

    def _finish_rotation(self) -> None:
        """Sign what is kept again with the new key: whoever asks knows only the certificate that is in force."""
        signer = self._signer = self._identity.signer()
        outcomes = tuple(
            replace(stored, envelope=seal(Sealed.open(stored.envelope, OUTCOME).payload, OUTCOME, signer))
            for stored in self.record.outcomes
        )
        record = replace(self.record, outcomes=outcomes)
        self._journal.store_written(record.written)
        self.record = record
        self._identity.finish()
