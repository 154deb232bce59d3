"""The trusted metadata of a device on its disk: one set, replaced as a whole (D18)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import bundle_from_wire
from fwctl_agent.runtime.copies import TwoCopies
from fwctl_agent.runtime.ports import Fs
from fwctl_agent.trust.verification import Verification


class TrustStore:
    """Starts from the pinned root; a set that was verified once is trusted again after a restart."""

    def __init__(self, fs: Fs, root: str, verification: Verification) -> None:
        self._copies = TwoCopies(fs, "state/trust")
        self._verification = verification
        stored = self._copies.load()
        pinned = verification.bootstrap(root)
        self.trusted = pinned if stored is None else verification.restore(bundle_from_wire(stored))

    def advance(self, bundle: Mapping[str, str], *, now: datetime, fresh: bool) -> None:
        """Take over what `bundle` proves; nothing changes when it is refused.

        Raises:
            Refusal: as `TrustedMetadata.advance`.
        """
        after = self._verification.advance(self.trusted, bundle, now=now, fresh=fresh)
        if after.files != self.trusted.files:
            self._copies.store(dict(after.files))
        self.trusted = after

    def advance_if_good(self, bundle: Mapping[str, str], *, now: datetime) -> None:
        """As `advance`, but stale or bad metadata is passed over: it may not hold up a confirm or a revert."""
        if bundle:
            try:
                self.advance(bundle, now=now, fresh=True)
            except Refusal:
                return
