"""The content of a change of trust: what the trust will be, and whether it could ever become that. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from tuf.api.metadata import Metadata, Root, Targets

from fwctl.errors import Busy
from fwctl.trust.authority import TRUST
from fwctl.trust.quorums import keys_by_id
from fwctl.trust.standing import PROPOSAL, text_of
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import POLICY_TARGET, TrustedMetadata, parse_metadata
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.roles import check_apart, check_delegation, check_root, policy_target

_ROOT: Final = re.compile(r"([1-9][0-9]{0,8})\.root\.json")
T = TypeVar("T", Root, Targets)


@dataclass(frozen=True)
class Content:
    """What a change of trust proposes. `current` is the trust that it changes; None for a fleet's first trust.

    `files` are by path in the repository.
    """

    current: TrustedMetadata | None
    files: Mapping[str, bytes]

    @cached_property
    def root(self) -> Metadata[Root] | None:
        """The proposed root; None if it stays."""
        names = [path for path in self.files if _ROOT.fullmatch(path.removeprefix(PROPOSAL))]
        if len(names) > 1:
            raise Refusal("E_SCHEMA", "it has more than one root")
        return self._parsed(names[0].removeprefix(PROPOSAL), Root) if names else None

    @cached_property
    def targets(self) -> Metadata[Targets] | None:
        """The proposed targets; None if they stay."""
        return self._parsed("targets.json", Targets)

    @cached_property
    def role(self) -> Metadata[Targets] | None:
        """The proposed metadata of the policy role; None if it stays."""
        return self._parsed("policy.json", Targets)

    @cached_property
    def policy_text(self) -> str:
        """The policy target as it will be."""
        data = self.files.get(f"{PROPOSAL}{POLICY_TARGET}")
        if data is not None:
            return text_of(data)
        if self.current is None:
            raise Refusal("E_META_MISMATCH", f"trust/proposal/{POLICY_TARGET} is missing")
        return self.current.files[POLICY_TARGET]

    @property
    def new_root(self) -> Root:
        """The root as it will be."""
        return _chosen(self.root, self.current.root if self.current else None, "root.json")

    @property
    def new_targets(self) -> Targets:
        """Targets as they will be."""
        return _chosen(self.targets, self.current.targets if self.current else None, "targets.json")

    @property
    def new_role(self) -> Targets:
        """The policy role's metadata as it will be."""
        return _chosen(self.role, self.current.role if self.current else None, "policy.json")

    @cached_property
    def policy(self) -> Policy:
        """The policy as it will be."""
        return policy_target(self.new_role, self.policy_text)

    def judge(self) -> None:
        """Refuse what could never become trust, whoever signs it.

        Raises:
            Refusal: with the code that a verifier would give.
            Busy: `E_PROPOSAL_STALE`.
        """
        known = {f"{PROPOSAL}{name}" for name in ("targets.json", "policy.json", POLICY_TARGET)}
        if strange := [path for path in self.files if path not in known and not _is_root(path)]:
            raise Refusal("E_SCHEMA", f"{strange[0].removeprefix(TRUST)} has no place in it")
        if not self.signed_files():
            raise Refusal("E_SCHEMA", "it changes nothing")
        self._check_versions()
        for file in self.signed_files():
            if self.metadata(file).signatures:
                raise Refusal("E_SCHEMA", f"{file} carries signatures; they have files of their own")
        check_root(self.new_root)
        check_delegation(self.new_targets)
        self._check_key_ids()
        check_apart(self.new_root, self.new_targets, self.policy)
        if self.current and self.current.policy and self.policy.repo_id != self.current.policy.repo_id:
            raise Refusal("E_META_MISMATCH", "its policy belongs to another repository")

    def _check_versions(self) -> None:
        """Every file is the next one of its kind, or the trust has moved since."""
        for file in self.signed_files():
            signed, old = self.metadata(file).signed, self._standing(file)
            match = _ROOT.fullmatch(file)
            if match and int(match[1]) != signed.version:
                raise Refusal("E_SCHEMA", f"{file} is version {signed.version}")
            if signed.version != old + 1:
                raise Busy(
                    f"the open proposal has {file} as version {signed.version}, but version {old} is the trust by now",
                    code="E_PROPOSAL_STALE",
                    place=PROPOSAL,
                    remedy='Take it away and make the change again: fwctl trust drop --reason "stale"',
                )

    def _check_key_ids(self) -> None:
        """One id is one key, before and after: signatures of both sides are told apart by it."""
        if self.current is None or self.current.targets is None:
            return
        for old, new in ((self.current.root.signed, self.new_root), (self.current.targets.signed, self.new_targets)):
            before, after = keys_by_id(old), keys_by_id(new)
            for keyid in before.keys() & after.keys():
                if before[keyid] != after[keyid]:
                    raise Refusal("E_KEY_DUPLICATE", f"the key id {keyid[:12]} would be that of another key")

    def _standing(self, file: str) -> int:
        if self.current is None:
            return 0
        versions = self.current.versions
        return {"targets.json": versions.targets, "policy.json": versions.policy}.get(file, versions.root)

    def signed_files(self) -> tuple[str, ...]:
        """Return the proposed metadata files, root first."""
        names = [path.removeprefix(PROPOSAL) for path in self.files]
        roots = [name for name in names if _ROOT.fullmatch(name)]
        return (*roots, *(name for name in ("targets.json", "policy.json") if name in names))

    def metadata(self, file: str) -> Metadata[Any]:
        found: Metadata[Any] | None = {"targets.json": self.targets, "policy.json": self.role}.get(file, self.root)
        if found is None:
            raise Refusal("E_SCHEMA", f"{file} is missing")
        return found

    def _parsed(self, name: str, kind: type[Any]) -> Metadata[Any] | None:
        data = self.files.get(f"{PROPOSAL}{name}")
        return None if data is None else parse_metadata(text_of(data), kind, name)


def _is_root(path: str) -> bool:
    return bool(_ROOT.fullmatch(path.removeprefix(PROPOSAL)))


def _chosen(proposed: Metadata[T] | None, standing: Metadata[T] | None, name: str) -> T:
    found = proposed or standing
    if found is None:
        raise Refusal("E_META_MISMATCH", f"trust/proposal/{name} is missing")
    return found.signed
