"""A TUF repository in memory whose every file can be made right or wrong, for histories that two clients judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from fwctl.trust.repository import development_policy
from fwctl_agent.protocol import canonical
from fwctl_agent.trust.metadata import POLICY_TARGET
from tests.support.signing import NOW, REPO

LIFE: Final = timedelta(days=30)
ROLES: Final = ("root", "targets", "snapshot", "timestamp")
Signers = Sequence[CryptoSigner]


def key() -> CryptoSigner:
    return CryptoSigner.generate_ed25519()


def one_key_under_two_ids() -> list[CryptoSigner]:
    """Return two signers that are one key (A03)."""
    private = Ed25519PrivateKey.generate()
    pair = [CryptoSigner(private), CryptoSigner(private)]
    pair[1].public_key.keyid = "another-name-for-it"
    return pair


def signed(metadata: Any, signers: Signers) -> str:
    """Return the metadata as text under the signatures of all `signers`."""
    envelope: Metadata[Any] = Metadata(metadata)
    for signer in signers:
        envelope.sign(signer, append=True)
    return envelope.to_bytes().decode()


@dataclass
class Repo:
    """Keys, thresholds, versions and ends of life of every role. Change a field, then ask for a bundle."""

    keys: dict[str, list[CryptoSigner]] = field(default_factory=lambda: {name: [key()] for name in (*ROLES, "policy")})
    thresholds: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*ROLES, "policy"), 1))
    expires: dict[str, datetime] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    person: CryptoSigner = field(default_factory=key)
    order: CryptoSigner = field(default_factory=key)
    repo_id: str = REPO

    def __post_init__(self) -> None:
        if not self.roots:
            self.roots = {"1.root.json": self.root(self.keys["root"])}

    @property
    def pinned(self) -> str:
        return self.roots["1.root.json"]

    def end(self, role: str) -> datetime:
        return self.expires.get(role, NOW + LIFE)

    def root(self, signers: Signers) -> str:
        publics: dict[str, Key] = {one.public_key.keyid: one.public_key for name in ROLES for one in self.keys[name]}
        roles = {
            name: Role([one.public_key.keyid for one in self.keys[name]], self.thresholds.get(name, 1))
            for name in ROLES
        }
        return signed(Root(self.versions["root"], None, self.end("root"), publics, roles, False), signers)

    def rotate(self, signers: Signers | None = None, **keys: list[CryptoSigner]) -> None:
        """Publish the next root with other `keys`, signed by the old and the new root keys unless said otherwise."""
        old = self.keys["root"]
        self.keys |= keys
        self.versions["root"] += 1
        both = {one.public_key.keyid: one for one in (*old, *self.keys["root"])}
        self.roots[f"{self.versions['root']}.root.json"] = self.root(signers or list(both.values()))

    def targets(self) -> str:
        publics: dict[str, Key] = {one.public_key.keyid: one.public_key for one in self.keys["policy"]}
        role = DelegatedRole("policy", list(publics), self.thresholds.get("policy", 1), True, paths=["policy/*"])
        delegations = Delegations(publics, {"policy": role})
        return signed(
            Targets(self.versions["targets"], None, self.end("targets"), {}, delegations), self.keys["targets"]
        )

    def policy_text(self) -> str:
        people = {"alice": self.person.public_key}
        return json.dumps(development_policy(repo_id=self.repo_id, people=people, order_key=self.order.public_key))

    def policy(self) -> str:
        raw = self.policy_text().encode()
        target = TargetFile(len(raw), {"sha256": canonical.digest(raw).removeprefix("sha256:")}, POLICY_TARGET)
        metadata = Targets(self.versions["policy"], None, self.end("policy"), {POLICY_TARGET: target})
        return signed(metadata, self.keys["policy"])

    def snapshot(self, meta: Mapping[str, MetaFile] | None = None) -> str:
        found = {
            "targets.json": MetaFile(self.versions["targets"]),
            "policy.json": MetaFile(self.versions["policy"]),
        }
        chosen = dict(found if meta is None else meta)
        return signed(Snapshot(self.versions["snapshot"], None, self.end("snapshot"), chosen), self.keys["snapshot"])

    def timestamp(self, info: MetaFile | None = None) -> str:
        promised = info or MetaFile(self.versions["snapshot"])
        metadata = Timestamp(self.versions["timestamp"], None, self.end("timestamp"), promised)
        return signed(metadata, self.keys["timestamp"])

    def text(self, role: str) -> str:
        files: dict[str, Callable[[], str]] = {
            "timestamp": self.timestamp,
            "snapshot": self.snapshot,
            "targets": self.targets,
            "policy": self.policy,
        }
        return files[role]()

    def bundle(self, **changes: str) -> dict[str, str]:
        """Return all files of this moment; `changes` replaces by role name."""
        roles = ("timestamp", "snapshot", "targets", "policy")
        found = {f"{role}.json": changes.get(role) or self.text(role) for role in roles}
        return self.roots | found | {POLICY_TARGET: changes.get("target") or self.policy_text()}

    def bump(self, *roles: str, by: int = 1) -> None:
        for role in roles:
            self.versions[role] += by


def edit(text: str, change: Any, signers: Signers = ()) -> str:
    """Return metadata after `change(signed part)`, signed again by `signers` over whatever it has become."""
    whole = json.loads(text)
    change(whole["signed"])
    payload = canonical.encode(whole["signed"])
    signatures = [one.sign(payload) for one in signers]
    if signatures:
        whole["signatures"] = [{"keyid": one.keyid, "sig": one.signature} for one in signatures]
    return json.dumps(whole)
