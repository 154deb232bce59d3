"""A trust that changes: files as they stand in git, and people who propose and sign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import CryptoSigner

from fwctl.trust.changes import Change
from fwctl.trust.draft import Draft
from fwctl.trust.proposal import PROPOSAL, Proposal, proposed_paths
from fwctl.trust.repository import mint_freshness
from fwctl.trust.standing import standing_trust
from fwctl_agent.trust.metadata import TrustedMetadata


@dataclass
class Realm:
    """Files below `trust/` by path, and the first root, which everybody has pinned."""

    files: dict[str, bytes]
    now: datetime
    pinned: str = ""

    @classmethod
    def of(cls, files: Mapping[str, str], now: datetime) -> Realm:
        """Return the realm of a trust that stands already, by names below `trust/`."""
        return cls({f"trust/{name}": text.encode() for name, text in files.items()}, now, files["1.root.json"])

    @property
    def trusted(self) -> TrustedMetadata:
        return standing_trust(self.files, self.pinned)

    @property
    def proposal(self) -> Proposal | None:
        return Proposal.read(self.files, pinned=self.pinned)

    def propose(self, *changes: Change) -> None:
        draft = Draft.of(None, self.trusted)
        for change in changes:
            change(draft)
        self.files |= draft.files(self.trusted, self.now)

    def sign(self, signer: CryptoSigner) -> None:
        if self.proposal:
            self.files |= self.proposal.sign(signer)

    def complete(self) -> None:
        """Make the open proposal the trust. Raises TrustRefused while a threshold does not hold."""
        if self.proposal:
            self.commit(self.proposal.assemble(now=self.now))
            self.pinned = self.pinned or self.files["trust/1.root.json"].decode()

    def commit(self, made: Mapping[str, bytes | None]) -> None:
        self.files = {path: data for path, data in {**self.files, **made}.items() if data is not None}

    def change(self, change: Change, by: Iterable[CryptoSigner]) -> None:
        self.propose(change)
        for signer in by:
            self.sign(signer)
        self.complete()

    def drop(self) -> None:
        self.commit(dict.fromkeys(proposed_paths(self.files)))

    def bundle(self, freshness: CryptoSigner, version: int = 1) -> dict[str, str]:
        """Return what a reconciler sends: every root, targets, policy, and fresh snapshot and timestamp."""
        names = {
            path.removeprefix("trust/"): data.decode()
            for path, data in self.files.items()
            if not path.startswith(PROPOSAL)
        }
        return names | mint_freshness(self.trusted, freshness, version=version, now=self.now)
