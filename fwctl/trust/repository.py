"""The repository side of TUF: a new trust, and what a pass mints (snapshot, timestamp)."""

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

from fwctl.errors import TrustRefused
from fwctl.trust.keystore import FRESHNESS, ORDER
from fwctl.trust.public_key import key_object as key_object
from fwctl_agent.protocol import canonical
from fwctl_agent.trust.metadata import POLICY_ROLE, POLICY_TARGET, TrustedMetadata
from fwctl_agent.trust.roles import PERSON

_READABLE = JSONSerializer(compact=False)
ROOT_LIFE = timedelta(days=730)
TARGETS_LIFE = timedelta(days=365)
POLICY_LIFE = timedelta(days=365)
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


@dataclass(frozen=True)
class RolePlan:
    """The keys of one role by the names of their holders, and how many must sign."""

    people: Mapping[str, SSlibKey]
    threshold: int = 1


@dataclass(frozen=True)
class TrustPlan:
    """A whole trust that nobody has signed yet."""

    root: RolePlan
    targets: RolePlan
    policy_role: RolePlan
    freshness: SSlibKey
    policy: Mapping[str, Any]


def held_by(key: Key, person: str) -> SSlibKey:
    """Return a public key that says who holds it, as metadata lists it."""
    return SSlibKey(key.keyid, key.keytype, key.scheme, dict(key.keyval), {PERSON: person} if person else {})


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


def policy_text(policy: Mapping[str, Any]) -> str:
    """Return the policy as it is signed: one readable, stable file."""
    return json.dumps(policy, indent=1, sort_keys=True) + "\n"


def unsigned(plan: TrustPlan, *, now: datetime, version: int = 1) -> dict[str, str]:
    """Return the files below `trust/` without a signature: root version 1; targets and policy of `version`."""
    text = policy_text(plan.policy)
    metadata = (
        ("1.root.json", root_of(plan, now)),
        ("targets.json", targets_of(plan.policy_role, version, now)),
        ("policy.json", role_of(text, version, now)),
    )
    return {name: readable(Metadata(signed)) for name, signed in metadata} | {POLICY_TARGET: text}


def build(signers: Signers, policy: Mapping[str, Any], *, now: datetime, version: int = 1) -> dict[str, str]:
    """Return the files below `trust/`: root version 1, and targets, policy role and target at `version`."""
    found = unsigned(_plan(signers, policy), now=now, version=version)
    for name, role in (
        ("1.root.json", signers.root),
        ("targets.json", signers.targets),
        ("policy.json", signers.policy),
    ):
        metadata: Metadata[Any] = Metadata.from_bytes(found[name].encode())
        found[name] = _sign(metadata, role)
    return found


def root_of(plan: TrustPlan, now: datetime) -> Root:
    """Return root version 1."""
    people = [held_by(key, name) for role in (plan.root, plan.targets) for name, key in role.people.items()]
    keys: dict[str, Key] = {key.keyid: key for key in (*people, plan.freshness)}
    roles = {
        "root": Role([key.keyid for key in plan.root.people.values()], plan.root.threshold),
        "targets": Role([key.keyid for key in plan.targets.people.values()], plan.targets.threshold),
        "snapshot": Role([plan.freshness.keyid], 1),
        "timestamp": Role([plan.freshness.keyid], 1),
    }
    return Root(1, None, whole(now + ROOT_LIFE), keys, roles, consistent_snapshot=False)


def targets_of(policy_role: RolePlan, version: int, now: datetime) -> Targets:
    """Return targets: nothing but the delegation to those who sign the policy."""
    keys: dict[str, Key] = {key.keyid: held_by(key, name) for name, key in policy_role.people.items()}
    role = DelegatedRole(POLICY_ROLE, list(keys), policy_role.threshold, True, paths=["policy/*"])
    return Targets(version, None, whole(now + TARGETS_LIFE), {}, Delegations(keys, {POLICY_ROLE: role}))


def role_of(text: str, version: int, now: datetime) -> Targets:
    """Return the policy role's metadata over the policy `text`."""
    digest = canonical.digest(text.encode()).removeprefix("sha256:")
    target = TargetFile(len(text.encode()), {"sha256": digest}, POLICY_TARGET)
    return Targets(version, None, whole(now + POLICY_LIFE), {POLICY_TARGET: target})


def mint_freshness(trusted: TrustedMetadata, signer: Signer, *, version: int, now: datetime) -> dict[str, str]:
    """Return snapshot and timestamp of `version` over what `trusted` holds. Never committed (DESIGN section 7)."""
    if trusted.targets is None or trusted.role is None:
        raise ValueError("freshness is minted over verified targets and policy")
    expires = whole(now + FRESH_LIFE)
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


def check_machine(trusted: TrustedMetadata, *, order: Signer, freshness: Signer) -> None:
    """Refuse to run with keys that devices would refuse: after a rotation each would count as the device's refusal.

    Raises:
        TrustRefused: `E_KEY_NOT_TRUSTED`.
    """
    known = trusted.root.signed.roles["timestamp"].keyids if trusted.policy else []
    wrong = [] if freshness.public_key.keyid in known else [FRESHNESS]
    wrong += [] if trusted.policy and order.public_key.keyid in trusted.policy.order_keys else [ORDER]
    if wrong:
        raise TrustRefused(
            f"the trust does not know this machine's key {' and '.join(wrong)}",
            code="E_KEY_NOT_TRUSTED",
            place="trust/",
            remedy="Put the key in place that the owners have signed for, or have them sign for this one: "
            "docs/how-to/rotate-the-root.md",
        )


def readable(metadata: Metadata[Any]) -> str:
    """Return metadata as it is committed."""
    return metadata.to_bytes(_READABLE).decode()


def whole(moment: datetime) -> datetime:
    """Return a moment as metadata states it: UTC, whole seconds."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _plan(signers: Signers, policy: Mapping[str, Any]) -> TrustPlan:
    """Name the signers as the policy does; whoever it does not know is named after the key."""

    def named(role: str, members: Sequence[Signer]) -> RolePlan:
        people = {_person(signer.public_key, policy): _plain(signer.public_key) for signer in members}
        return RolePlan(people, signers.thresholds.get(role, 1))

    return TrustPlan(
        named("root", signers.root),
        named("targets", signers.targets),
        named("policy", signers.policy),
        signers.freshness,
        policy,
    )


def _person(key: Key, policy: Mapping[str, Any]) -> str:
    people, mine = policy["people"].items(), key_object(_plain(key))
    return next((name for name, person in people if mine in person["keys"]), f"key-{key.keyid[:12]}")


def _plain(key: Key) -> SSlibKey:
    return held_by(key, "")


def _sign(metadata: Metadata[Any], signers: Sequence[Signer]) -> str:
    for signer in signers:
        metadata.sign(signer, append=True)
    return readable(metadata)
