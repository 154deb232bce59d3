"""A change of trust on its way through git: what is to be signed, one file per signature, until every threshold holds.

A functional core: files of a commit in, files to commit out. It reads no disk and asks no clock.

Below `trust/proposal/` stand only the files that change: metadata with `signatures: []`, whose `signed` part is
exactly what is signed, and the policy target. Below `signatures/` stands one file per signature, so that branches of
two signers never conflict. Nothing here is trusted by anybody: verifiers do not read the folder, and a signature
counts only in the assembled metadata, which `assemble` judges as a device would.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from securesystemslib.signer import Signature, Signer, SSlibKey
from tuf.api.metadata import Metadata, Root, Targets

from fwctl.errors import InputError, TrustRefused
from fwctl.trust.authority import TRUST
from fwctl.trust.proposed import Content
from fwctl.trust.quorums import Quorum, holders_of, holds, read_signature
from fwctl.trust.repository import TrustPlan, readable, unsigned
from fwctl.trust.standing import PROPOSAL as PROPOSAL
from fwctl.trust.standing import bundle, standing_trust
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.keys import vet
from fwctl_agent.trust.metadata import POLICY_ROLE, POLICY_TARGET, TrustedMetadata

SIGNATURES: Final = f"{PROPOSAL}signatures/"


@dataclass(frozen=True)
class Need:
    """One threshold of one file. `role` is `root`, `targets`, `policy`, or `old root` for the root until now."""

    file: str
    role: str
    threshold: int
    signed: tuple[str, ...]
    missing: tuple[str, ...]
    """who may still sign; `threshold` less those who did are needed of them"""

    @property
    def holds(self) -> bool:
        return len(self.signed) >= self.threshold


@dataclass(frozen=True)
class Waste:
    """A signature file that counts for nothing."""

    path: str
    why: str


def new_trust(plan: TrustPlan, *, now: datetime) -> dict[str, bytes]:
    """Return a first trust as a proposal to commit: nobody has signed it, and it is completed as any other is."""
    return {f"{PROPOSAL}{name}": text.encode() for name, text in unsigned(plan, now=now).items()}


@dataclass(frozen=True)
class Proposal(Content):
    """One change of trust with its signatures.

    `signatures` are by path in the repository; `trust` are the commit's files below `trust/`.
    """

    signatures: Mapping[str, bytes]
    trust: Mapping[str, bytes]
    pinned: str = ""

    @classmethod
    def read(cls, files: Mapping[str, bytes], *, pinned: str = "") -> Proposal | None:
        """Return the open proposal of a commit; None if there is none. `pinned` is empty for a fleet's first trust.

        Raises:
            InputError: `E_PROPOSAL_INVALID`: it is not a change that could ever be made.
            Busy: `E_PROPOSAL_STALE`: the trust has moved since it was made.
            TrustRefused: the trust that it would change is refused.
        """
        if not any(path.startswith(PROPOSAL) for path in files):
            return None
        trust = {path: data for path, data in files.items() if path.startswith(TRUST)}
        return cls.of(standing_trust(trust, pinned) if pinned else None, trust, pinned=pinned)

    @classmethod
    def of(cls, current: TrustedMetadata | None, trust: Mapping[str, bytes], *, pinned: str) -> Proposal:
        """Return the proposal among the files below `trust/`. Raises as `read`."""
        found = {path: data for path, data in trust.items() if path.startswith(PROPOSAL)}
        signatures = {path: data for path, data in found.items() if path.startswith(SIGNATURES)}
        rest = {path: data for path, data in found.items() if path not in signatures}
        stands = {path: data for path, data in trust.items() if path not in found}
        proposal = cls(current, rest, signatures, stands, pinned)
        try:
            proposal.judge()
        except Refusal as error:
            raise InputError(
                f"the open proposal cannot become trust: {error.message}",
                code="E_PROPOSAL_INVALID",
                place=PROPOSAL,
                remedy='Take it away and make the change again: fwctl trust drop --reason "..."',
            ) from error
        return proposal

    def needs(self) -> tuple[Need, ...]:
        """Return every threshold of every file, with who has signed and who may still."""
        found = []
        for quorum in self._quorums():
            signed = self._valid(quorum.file)
            have = tuple(one.person for one in quorum.holders if one.keyid in signed)
            left = tuple(one.person for one in quorum.holders if one.keyid not in signed)
            found.append(Need(quorum.file, quorum.role, quorum.threshold, have, left))
        return tuple(found)

    def missing(self) -> tuple[Need, ...]:
        """Return the thresholds that do not hold yet; empty if the proposal can be assembled."""
        return tuple(need for need in self.needs() if not need.holds)

    def signed_by(self) -> frozenset[str]:
        """Return the recomputed ids of the keys whose signatures stand here and hold."""
        keys = {one.keyid: vet(one.key).keyid for quorum in self._quorums() for one in quorum.holders}
        return frozenset(keys[keyid] for quorum in self._quorums() for keyid in self._valid(quorum.file))

    def unsigned_by(self, keyids: Collection[str]) -> tuple[str, ...]:
        """Return the files that one of these keys may sign and none of them has."""
        found = []
        for quorum in self._quorums():
            here = {one.keyid for one in quorum.holders if vet(one.key).keyid in keyids}
            if here and not here & self._valid(quorum.file).keys():
                found.append(quorum.file)
        return tuple(dict.fromkeys(found))

    def holders(self) -> dict[str, str]:
        """Return who may sign anything of it: recomputed key id -> person."""
        return {vet(one.key).keyid: one.person for quorum in self._quorums() for one in quorum.holders}

    def sign(self, signer: Signer) -> dict[str, bytes]:
        """Return the signature files that this key adds, by path; empty if it may sign nothing, or has."""
        public = signer.public_key
        mine = vet(public).keyid if isinstance(public, SSlibKey) else ""
        made: dict[str, bytes] = {}
        for quorum in self._quorums():
            one = next((one for one in quorum.holders if vet(one.key).keyid == mine), None)
            if one is None or one.keyid in self._valid(quorum.file):
                continue
            path = f"{SIGNATURES}{quorum.file.removesuffix('.json')}.{one.person}.{mine[:8]}.json"
            if path not in made:
                signature = signer.sign(self.metadata(quorum.file).signed_bytes)
                value = {"keyid": one.keyid, "sig": signature.signature, "person": one.person}
                made[path] = (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
        return made

    def with_signatures(self, made: Mapping[str, bytes]) -> Proposal:
        """Return the proposal with more signature files."""
        return replace(self, signatures={**self.signatures, **made})

    def wasted(self) -> tuple[Waste, ...]:
        """Return the signature files that count for nothing."""
        counted = {path for quorum in self._quorums() for path, _ in self._valid(quorum.file).values()}
        return tuple(
            Waste(path, "no signature over this content by a key that may sign it")
            for path in sorted(self.signatures)
            if path not in counted
        )

    def assemble(self, *, now: datetime) -> dict[str, bytes | None]:
        """Return what to commit to make it the trust: files by path, and None for those that go.

        The result is verified first as a device would, from the trust of today and from the pinned root.

        Raises:
            TrustRefused: a threshold does not hold, or a verifier would refuse it.
        """
        made = {f"{TRUST}{POLICY_TARGET}": self.policy_text.encode()} if self.role else {}
        for file in self.signed_files():
            metadata: Metadata[Any] = Metadata(self.metadata(file).signed)
            metadata.signatures = {keyid: one for keyid, (_, one) in sorted(self._valid(file).items())}
            made[f"{TRUST}{file}"] = readable(metadata).encode()
        try:
            found = bundle({**self.trust, **made})
            pinned = self.pinned or found["1.root.json"]
            for start in (TrustedMetadata.bootstrap(pinned), *((self.current,) if self.current else ())):
                start.advance(found, now=now, fresh=False)
        except Refusal as error:
            raise TrustRefused(
                f"the proposed trust would be refused: {error.message}",
                code=error.code,
                place=PROPOSAL,
                remedy="`fwctl trust status` shows who has to sign; `fwctl trust renew` moves what has expired.",
            ) from error
        return {**made, **dict.fromkeys((*self.files, *self.signatures))}

    def _quorums(self) -> tuple[Quorum, ...]:
        found: list[Quorum] = []
        for file in self.signed_files():
            if file == "targets.json":
                found.append(self._quorum(file, self.new_root, "targets"))
            elif file == "policy.json":
                found.append(self._quorum(file, self.new_targets, POLICY_ROLE))
            else:
                new = self._quorum(file, self.new_root, "root")
                old = self._quorum(file, self.current.root.signed, "root") if self.current else new
                same = (old.threshold, {one.keyid for one in old.holders}) == (
                    new.threshold,
                    {one.keyid for one in new.holders},
                )
                found += [new] if same else [replace(old, role="old root"), new]
        return tuple(found)

    def _quorum(self, file: str, delegator: Root | Targets, role: str) -> Quorum:
        entry = delegator.get_delegated_role(role)
        policies = (self.policy, *((self.current.policy,) if self.current and self.current.policy else ()))
        holders = holders_of(delegator, role, policies)
        return Quorum(file, role, entry.threshold, holders)

    def _valid(self, file: str) -> dict[str, tuple[str, Signature]]:
        """Return the signatures of a file that hold: key id -> path and signature."""
        return self._all_valid[file]

    @cached_property
    def _all_valid(self) -> dict[str, dict[str, tuple[str, Signature]]]:
        found: dict[str, dict[str, tuple[str, Signature]]] = {file: {} for file in self.signed_files()}
        holders = {(one.file, it.keyid): it for one in self._quorums() for it in one.holders}
        for path, data in sorted(self.signatures.items()):
            name = path.removeprefix(SIGNATURES)
            file = next((file for file in found if name.startswith(file.removesuffix("json"))), "")
            signature = read_signature(data)
            one = holders.get((file, signature.keyid)) if signature else None
            if signature and one and holds(one.key, signature, self.metadata(file).signed_bytes):
                found[file][one.keyid] = (path, signature)
        return found


def proposed_paths(files: Iterable[str]) -> tuple[str, ...]:
    """Return the paths of an open proposal, whatever is in them."""
    return tuple(path for path in files if path.startswith(PROPOSAL))
