"""Who may sign a piece of metadata, and which signatures over it hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature, SSlibKey
from tuf.api.metadata import Root, Targets

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import Fields
from fwctl_agent.trust.keys import vet
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.roles import POLICY_ROLE, holder


@dataclass(frozen=True)
class Holder:
    """A key that may sign a role, by the id that the metadata gives it, and whose it is."""

    keyid: str
    key: SSlibKey
    person: str


@dataclass(frozen=True)
class Quorum:
    """One threshold over one file."""

    file: str
    role: str
    threshold: int
    holders: tuple[Holder, ...]


def holders_of(delegator: Root | Targets, role: str, policies: Sequence[Policy]) -> tuple[Holder, ...]:
    """Return who may sign a role: by the metadata, else by a policy, else by the key's id."""
    found = []
    for keyid in delegator.get_delegated_role(role).keyids:
        key = delegator.get_key(keyid)
        if not isinstance(key, SSlibKey):
            raise Refusal("E_KEY_ALG", f"role {role} has a key of an unsupported kind")
        names = (holder(key), *(policy.person(vet(key).keyid) or "" for policy in policies), f"key-{keyid[:12]}")
        found.append(Holder(keyid, key, next(filter(None, names))))
    return tuple(sorted(found, key=lambda one: one.person))


def keys_by_id(delegator: Root | Targets) -> dict[str, str]:
    """Return which key each id means that people sign with: stated id -> recomputed id."""
    roles = ("root", "targets") if isinstance(delegator, Root) else (POLICY_ROLE,)
    return {one.keyid: vet(one.key).keyid for role in roles for one in holders_of(delegator, role, ())}


def read_signature(data: bytes) -> Signature | None:
    """Return what a signature file holds; None for one that cannot be read."""
    try:
        fields = Fields(canonical.decode(data, what="signature"), "signature")
        found = Signature(fields.text("keyid"), fields.text("sig", limit=1000))
        fields.text("person")
        fields.done()
    except Refusal:
        return None
    return found


def holds(key: SSlibKey, signature: Signature, data: bytes) -> bool:
    """Say whether a signature is one over `data` by this key."""
    try:
        key.verify_signature(signature, data)
    except (UnverifiedSignatureError, ValueError):
        return False
    return True
