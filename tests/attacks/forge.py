"""Trust metadata as plain values, signed with whatever keys one holds: the right ones, stolen ones, or none.

It knows nothing of what is right, so that every nonsense can be signed properly and only the nonsense is refused.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Key, Signer

from fwctl_agent.protocol import canonical

POLICY_FILE = "policy/policy.json"
ROLES = ("timestamp", "snapshot", "targets", "policy")


def key_value(key: Key) -> dict[str, Any]:
    return {"keytype": key.keytype, "scheme": key.scheme, "keyval": dict(key.keyval)}


def signature(signer: Signer, signed: Any) -> dict[str, str]:
    made = signer.sign(str(encode_canonical(signed)).encode())
    return {"keyid": made.keyid, "sig": made.signature}


def text_of(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Forge:
    """One set of trust files. Change `signed`, `policy` or `by`, then take `files()`."""

    now: datetime
    policy: dict[str, Any]
    by: dict[str, list[Signer]]
    """role -> who signs it"""
    signed: dict[str, dict[str, Any]]
    """role -> what is signed: root, targets, policy, snapshot, timestamp"""
    chain: dict[int, str] = field(default_factory=dict)
    """further roots, by number of their file"""
    replaced: dict[str, str] = field(default_factory=dict)
    """file -> its text, whatever the values above say"""
    dropped: set[str] = field(default_factory=set)
    pinned_policy: dict[str, Any] | None = None
    """what the policy role promises, where it is another policy than the one that is there"""
    extra: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """role -> further signatures"""

    @classmethod
    def of(
        cls,
        *,
        now: datetime,
        owners: Sequence[Signer],
        freshness: Signer,
        policy: Mapping[str, Any],
        threshold: int = 2,
    ) -> Forge:
        """Return a good set: all owners hold root, targets and policy, `threshold` of them sign."""
        keys = {signer.public_key.keyid: key_value(signer.public_key) for signer in owners}
        ids = list(keys)
        fresh = freshness.public_key
        later = when(now + timedelta(days=300))
        common: dict[str, Any] = {"spec_version": "1.0.31", "version": 1, "expires": later}
        role = {"keyids": ids, "threshold": threshold}
        online = {"keyids": [fresh.keyid], "threshold": 1}
        delegated = {"name": "policy", "paths": ["policy/*"], "terminating": True}
        signed: dict[str, dict[str, Any]] = {
            "root": common
            | {
                "_type": "root",
                "consistent_snapshot": False,
                "keys": keys | {fresh.keyid: key_value(fresh)},
                "roles": {"root": role, "targets": role, "snapshot": online, "timestamp": online},
            },
            "targets": common
            | {"_type": "targets", "targets": {}, "delegations": {"keys": keys, "roles": [delegated | role]}},
            "policy": common | {"_type": "targets", "targets": {}},
            "snapshot": common
            | {"_type": "snapshot", "meta": {"targets.json": {"version": 1}, "policy.json": {"version": 1}}},
            "timestamp": common | {"_type": "timestamp", "meta": {"snapshot.json": {"version": 1}}},
        }
        signers = list(owners)[:threshold]
        by = {"root": signers, "targets": signers, "policy": signers, "snapshot": [freshness], "timestamp": [freshness]}
        return cls(now, dict(policy), by, copy.deepcopy(signed))

    def copy(self) -> Forge:
        made = copy.copy(self)
        made.policy, made.signed = copy.deepcopy(self.policy), copy.deepcopy(self.signed)
        made.by, made.extra = {role: list(who) for role, who in self.by.items()}, dict(self.extra)
        made.chain, made.replaced, made.dropped = dict(self.chain), dict(self.replaced), set(self.dropped)
        return made

    def version(self, number: int, *roles: str) -> Forge:
        """Set the version of these roles, and what snapshot and timestamp promise of them."""
        for role in roles or ROLES:
            self.signed[role]["version"] = number
            if role in ("targets", "policy"):
                self.signed["snapshot"]["meta"][f"{role}.json"]["version"] = number
            if role == "snapshot":
                self.signed["timestamp"]["meta"]["snapshot.json"]["version"] = number
        return self

    def rooted(self, signed: Mapping[str, Any], signers: Sequence[Signer]) -> str:
        """Return a root with these signatures."""
        return text_of({"signatures": [signature(one, signed) for one in signers], "signed": signed})

    def files(self, *, fresh: bool = True) -> dict[str, str]:
        """Return the files below `trust/`; without `fresh`, as they stand in git."""
        policy = text_of(self.policy)
        promised = text_of(self.policy if self.pinned_policy is None else self.pinned_policy).encode()
        info = {"length": len(promised), "hashes": {"sha256": canonical.digest(promised).removeprefix("sha256:")}}
        self.signed["policy"]["targets"].setdefault(POLICY_FILE, info)
        if self.signed["policy"]["targets"][POLICY_FILE] != info and POLICY_FILE not in self.replaced:
            self.signed["policy"]["targets"][POLICY_FILE] = info
        roles = ("targets", "policy", "snapshot", "timestamp") if fresh else ("targets", "policy")
        found = {f"{role}.json": self._signed(role) for role in roles}
        found |= {"1.root.json": self._signed("root"), POLICY_FILE: policy}
        found |= {f"{number}.root.json": text for number, text in self.chain.items()}
        found |= {name: text for name, text in self.replaced.items() if fresh or name in found}
        return {name: text for name, text in found.items() if name not in self.dropped}

    def _signed(self, role: str) -> str:
        signed = self.signed[role]
        signatures = [signature(one, signed) for one in self.by[role]] + self.extra.get(role, [])
        return text_of({"signatures": signatures, "signed": signed})
