"""The repository side of TUF: what `fwctl init` signs once, and what a pass mints (snapshot, timestamp)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from securesystemslib.signer import Key, Signer, SSlibKey
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
from tuf.api.serialization.json import JSONSerializer

from fwctl_agent.protocol import canonical
from fwctl_agent.trust.metadata import POLICY_ROLE, POLICY_TARGET, TrustedMetadata

_READABLE = JSONSerializer(compact=False)
ROOT_LIFE = timedelta(days=3650)
TARGETS_LIFE = timedelta(days=365)
FRESH_LIFE = timedelta(hours=24)


@dataclass(frozen=True)
class Signers:
    """Who signs which role; k of n where several stand."""

    root: Sequence[Signer]
    targets: Sequence[Signer]
    policy: Sequence[Signer]
    freshness: SSlibKey
    """public half of the reconciler's freshness key"""
    thresholds: Mapping[str, int]
    """role -> k; 1 where it is missing"""


def key_object(key: Key) -> dict[str, Any]:
    """Return a public key as policy and metadata write it."""
    return {"keytype": key.keytype, "scheme": key.scheme, "keyval": dict(key.keyval)}


def development_policy(*, repo_id: str, people: Mapping[str, SSlibKey], order_key: SSlibKey) -> dict[str, Any]:
    """Return the policy of a development trust: anybody of `people` may approve and release, one is enough."""
    return {
        "schema": 1,
        "repoId": repo_id,
        "people": {name: {"keys": [key_object(key)]} for name, key in people.items()},
        "groups": {"owners": sorted(people)},
        "approvalRules": [{"paths": "rollouts/**", "group": "owners", "threshold": 1, "stage": 1}],
        "releaseSigners": {"*": {"group": "owners", "threshold": 1}},
        "orderKeys": [key_object(order_key)],
        "algorithms": ["ed25519", "ecdsa-sha2-nistp256"],
        "floors": {},
        "withdrawn": [],
        "guardRails": [],
        "storage": [],
        "gitVerify": "off",
        "gitSigners": [],
        "gitKeys": [],
        "revoked": [],
        "maxApprovalDays": 90,
    }


def build(signers: Signers, policy: Mapping[str, Any], *, now: datetime, version: int = 1) -> dict[str, str]:
    """Return the files below `trust/`: root version 1, and targets, policy role and target at `version`."""
    return {"1.root.json": _root(signers, now)} | build_targets(signers, policy, now=now, version=version)


def build_targets(signers: Signers, policy: Mapping[str, Any], *, now: datetime, version: int) -> dict[str, str]:
    """Return targets, the policy role and the policy target, all of `version`: how a policy is changed."""
    raw = json.dumps(policy, indent=1, sort_keys=True) + "\n"
    expires = _whole(now + TARGETS_LIFE)
    keys = {signer.public_key.keyid: signer.public_key for signer in signers.policy}
    role = DelegatedRole(POLICY_ROLE, list(keys), signers.thresholds.get("policy", 1), True, paths=["policy/*"])
    targets = Targets(version, None, expires, {}, Delegations(keys, {POLICY_ROLE: role}))
    digest = canonical.digest(raw.encode()).removeprefix("sha256:")
    target = TargetFile(len(raw.encode()), {"sha256": digest}, POLICY_TARGET)
    policies = Targets(version, None, expires, {POLICY_TARGET: target})
    return {
        "targets.json": _sign(Metadata(targets), signers.targets),
        "policy.json": _sign(Metadata(policies), signers.policy),
        POLICY_TARGET: raw,
    }


def mint_freshness(trusted: TrustedMetadata, signer: Signer, *, version: int, now: datetime) -> dict[str, str]:
    """Return snapshot and timestamp of `version` over what `trusted` holds. Never committed (DESIGN section 7)."""
    if trusted.targets is None or trusted.role is None:
        raise ValueError("freshness is minted over verified targets and policy")
    expires = _whole(now + FRESH_LIFE)
    meta = {
        "targets.json": MetaFile(trusted.targets.signed.version),
        "policy.json": MetaFile(trusted.role.signed.version),
    }
    snapshot = Snapshot(version, None, expires, meta)
    timestamp = Timestamp(version, None, expires, MetaFile(version))
    return {
        "snapshot.json": _sign(Metadata(snapshot), [signer]),
        "timestamp.json": _sign(Metadata(timestamp), [signer]),
    }


def _root(signers: Signers, now: datetime) -> str:
    keys: dict[str, Key] = {signer.public_key.keyid: signer.public_key for signer in (*signers.root, *signers.targets)}
    keys[signers.freshness.keyid] = signers.freshness

    def role(name: str, members: Sequence[Key]) -> Role:
        return Role([key.keyid for key in members], signers.thresholds.get(name, 1))

    roles = {
        "root": role("root", [signer.public_key for signer in signers.root]),
        "targets": role("targets", [signer.public_key for signer in signers.targets]),
        "snapshot": Role([signers.freshness.keyid], 1),
        "timestamp": Role([signers.freshness.keyid], 1),
    }
    return _sign(Metadata(Root(1, None, _whole(now + ROOT_LIFE), keys, roles, consistent_snapshot=False)), signers.root)


def _sign(metadata: Metadata[Any], signers: Sequence[Signer]) -> str:
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(_READABLE).decode()


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
