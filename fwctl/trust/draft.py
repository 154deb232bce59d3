"""Trust as it shall be: a draft to edit, and the files in which it differs from the trust of today. Pure."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tuf.api.metadata import Metadata, Root, Targets

from fwctl.errors import InputError
from fwctl.trust.proposal import PROPOSAL, Proposal
from fwctl.trust.repository import ROOT_LIFE, TARGETS_LIFE, policy_text, readable, role_of, whole
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import POLICY_ROLE, POLICY_TARGET, TrustedMetadata
from fwctl_agent.trust.policy import Policy


@dataclass
class Draft:
    """Trust as it shall be: edited in place by changes, then compared with the trust of today."""

    root: Root
    targets: Targets
    policy: dict[str, Any]
    renewed: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, proposal: Proposal | None, current: TrustedMetadata) -> Draft:
        """Return a draft that begins with the open proposal, or with the trust of today."""
        start = proposal or Proposal(current, {}, {}, {})
        draft = cls(
            copy.deepcopy(start.new_root), copy.deepcopy(start.new_targets), json.loads(start.policy_text), set()
        )
        if proposal:
            draft.renewed = {name for name, it in _proposed(proposal).items() if it is not None}
        return draft

    def delegator(self, role: str) -> Root | Targets:
        """Return the metadata that says who signs `role`."""
        return self.targets if role == POLICY_ROLE else self.root

    def checked(self) -> Policy:
        """Return the policy of the draft.

        Raises:
            InputError: `E_POLICY_INVALID` or `E_KEY_*`: no verifier would take it.
        """
        try:
            return Policy.parse(policy_text(self.policy).encode())
        except Refusal as error:
            raise InputError(
                f"the policy would be refused: {error.message}",
                code=error.code,
                place=f"trust/{POLICY_TARGET}",
                remedy="Mend that, then run the command again. The form of the policy: docs/adr/0001-contracts.md",
            ) from error

    def files(self, current: TrustedMetadata, now: datetime) -> dict[str, bytes]:
        """Return the proposal's files: what differs from `current`, what is renewed, and what must be signed anew."""
        if current.targets is None or current.role is None:
            raise TypeError("trust that is changed has targets and a policy")
        made: dict[str, bytes] = {}
        if "root" in self.renewed or _content(self.root) != _content(current.root.signed):
            self.root.version = current.root.signed.version + 1
            self.root.expires = whole(now + ROOT_LIFE)
            made[f"{self.root.version}.root.json"] = _unsigned(self.root)
        if (
            "targets" in self.renewed
            or _content(self.targets) != _content(current.targets.signed)
            or not _holds(self.root, "targets", current.targets)
        ):
            self.targets.version = current.targets.signed.version + 1
            self.targets.expires = whole(now + TARGETS_LIFE)
            made["targets.json"] = _unsigned(self.targets)
        made |= self._policy_files(current, current.role, now)
        return {f"{PROPOSAL}{name}": data for name, data in made.items()}

    def _policy_files(self, current: TrustedMetadata, role: Metadata[Targets], now: datetime) -> dict[str, bytes]:
        same = self.policy == json.loads(current.files[POLICY_TARGET])
        if same and "policy" not in self.renewed and _holds(self.targets, POLICY_ROLE, role):
            return {}
        text = current.files[POLICY_TARGET] if same else policy_text(self.policy)
        found = {"policy.json": _unsigned(role_of(text, role.signed.version + 1, now))}
        return found if same else found | {POLICY_TARGET: text.encode()}


def _proposed(proposal: Proposal) -> dict[str, object]:
    """Return what a proposal renews only: files without another change keep their place when it is amended."""
    current = proposal.current
    if current is None or current.targets is None:
        return {}
    found: dict[str, object] = {}
    if proposal.root and _content(proposal.root.signed) == _content(current.root.signed):
        found["root"] = proposal.root
    if proposal.targets and _content(proposal.targets.signed) == _content(current.targets.signed):
        found["targets"] = proposal.targets
    if proposal.role and proposal.policy_text == current.files[POLICY_TARGET]:
        found["policy"] = proposal.role
    return found


def _content(signed: Root | Targets) -> bytes:
    """Return all but version and end, to be compared. ECDSA keys are PEM, whose line ends our own form refuses."""
    fields = {name: value for name, value in signed.to_dict().items() if name not in ("version", "expires")}
    return json.dumps(fields, sort_keys=True).encode()


def _holds(delegator: Root | Targets, role: str, metadata: Metadata[Targets]) -> bool:
    return delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures).verified


def _unsigned(signed: Root | Targets) -> bytes:
    return readable(Metadata(signed)).encode()
