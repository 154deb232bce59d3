"""Several people in one test: their keys lie in one keystore, and the policy is changed as its signer changes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fwctl.cli.context import Context
from fwctl.reconcile.commit import Prepared
from fwctl.trust.authority import approval_path, envelope_bytes
from fwctl.trust.keystore import FRESHNESS
from fwctl.trust.public_key import key_object
from fwctl.trust.repository import Signers, build
from fwctl.trust.signing import sign_approval
from fwctl_agent.protocol.statements import Approval
from tests.support.world import World

Policy = dict[str, Any]


def change_policy(world: World, edit: Callable[[Policy], None], *, signer: str = "alice") -> int:
    """Have the policy's one signer sign another one; return its version."""
    trust = world.repo / "trust"
    policy = json.loads((trust / "policy/policy.json").read_text())
    version = json.loads((trust / "policy.json").read_text())["signed"]["version"] + 1
    edit(policy)
    key, fresh = world.keystore.signer(signer), world.keystore.public(FRESHNESS)
    files = build(Signers([key], [key], [key], fresh, {}), policy, now=datetime.now(UTC), version=version)
    for name in files.keys() - {"1.root.json"}:
        (trust / name).write_text(files[name])
    world.commit(f"Policy version {version}")
    return int(version)


def approvers(world: World, *names: str, threshold: int = 1) -> None:
    """Let these people approve, and nobody else; who has no key gets one."""
    keys = {name: _public(world, name) for name in names}

    def edit(policy: Policy) -> None:
        policy["people"] |= {name: {"keys": [key]} for name, key in keys.items()}
        policy["groups"]["approvers"] = sorted(names)
        policy["approvalRules"] = [{"paths": "rollouts/**", "group": "approvers", "threshold": threshold, "stage": 1}]

    change_policy(world, edit)


def revoke(world: World, name: str) -> int:
    """Take a person out of the policy."""

    def edit(policy: Policy) -> None:
        del policy["people"][name]
        policy["groups"] = {group: [one for one in who if one != name] for group, who in policy["groups"].items()}

    return change_policy(world, edit)


def prepared(world: World, key: str = "dev/sensors") -> Prepared:
    settings = Context(str(world.repo), world.state, world.config)
    commit, files = settings.committed()
    return settings.read(files, commit).rollouts[key]


def approve_for(world: World, name: str, life: timedelta, *, stage: int = 1) -> datetime:
    """Commit an approval that ends soon; return when."""
    mandate, now = prepared(world).mandate, datetime.now(UTC).replace(microsecond=0)
    assert mandate is not None
    approval = Approval(mandate, stage, now, now + life, name, "approved for release")
    path = world.repo / approval_path(mandate, name, stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(envelope_bytes(sign_approval(approval, world.keystore.signer(name))))
    world.commit(f"Approve as {name}")
    return approval.expires


def _public(world: World, name: str) -> Mapping[str, Any]:
    if not world.keystore.has(name):
        world.keystore.generate(name)
    return key_object(world.keystore.public(name))
