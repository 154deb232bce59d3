"""Who may sign which role: distinct keys of distinct people, and the keys of machines apart from all of them."""

from __future__ import annotations

from typing import Final

from securesystemslib.signer import Key, SSlibKey
from tuf.api.metadata import Root, Targets

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import WORD
from fwctl_agent.trust.keys import distinct, vet
from fwctl_agent.trust.policy import Policy

POLICY_ROLE: Final = "policy"
POLICY_TARGET: Final = "policy/policy.json"
PERSON: Final = "x-fwctl-person"
"""field of a key in root or targets: who holds it (python-tuf keeps fields that it does not know)"""
_OFFLINE: Final = ("root", "targets")
_ONLINE: Final = ("snapshot", "timestamp")


def keys_of(delegator: Root | Targets, role: str) -> tuple[int, frozenset[str]]:
    """Return threshold and key ids of a role by material.

    Raises:
        Refusal: `E_POLICY_INVALID` for a threshold or a key that cannot be, `E_KEY_*` for what must not count: weak
            keys, one key twice, two keys of one person.
    """
    entry = delegator.get_delegated_role(role)
    if type(entry.threshold) is not int:
        raise Refusal("E_POLICY_INVALID", f"the threshold of {role} must be a whole number")
    keys, people = [], list[str]()
    for keyid in entry.keyids:
        try:
            key = delegator.get_key(keyid)
        except ValueError as error:
            raise Refusal("E_POLICY_INVALID", f"role {role} lists an unknown key") from error
        if not isinstance(key, SSlibKey):
            raise Refusal("E_KEY_ALG", f"role {role} has a key of an unsupported kind")
        keys.append(vet(key))
        people += [person] if (person := holder(key)) else []
    found = distinct(keys, f"role {role}")
    for person in people:
        if people.count(person) > 1:
            raise Refusal("E_KEY_DUPLICATE", f"role {role} lists {person} twice: signatures are of distinct people")
    if entry.threshold > len(found):
        raise Refusal("E_POLICY_INVALID", f"role {role} needs {entry.threshold} of {len(found)} keys")
    return entry.threshold, frozenset(found)


def holder(key: Key) -> str:
    """Return who holds a key, as the metadata says; empty where it does not.

    Raises:
        Refusal: `E_POLICY_INVALID` if that is no name.
    """
    person = key.unrecognized_fields.get(PERSON, "")
    if person != "" and not (isinstance(person, str) and WORD.fullmatch(person)):
        raise Refusal("E_POLICY_INVALID", f"{PERSON} of a key is not a name")
    return str(person)


def check_root(root: Root) -> None:
    """Refuse a root with unusable roles, or with a key that is a person's and a machine's at once."""
    keys = {role: keys_of(root, role)[1] for role in (*_OFFLINE, *_ONLINE)}
    for role in _OFFLINE:
        if keys[role] & (keys["snapshot"] | keys["timestamp"]):
            raise Refusal("E_KEY_DUPLICATE", f"a freshness key is also a key of {role}: a machine must not sign it")


def check_delegation(targets: Targets) -> None:
    """One delegation, to `policy`, for exactly its one path, and it ends there."""
    roles = dict((targets.delegations.roles if targets.delegations else None) or {})
    role = roles.get(POLICY_ROLE)
    if len(roles) != 1 or role is None or role.paths != ["policy/*"] or not role.terminating or targets.targets:
        raise Refusal("E_POLICY_INVALID", "targets must delegate policy/* to the role policy, and hold nothing else")
    keys_of(targets, POLICY_ROLE)


def check_apart(root: Root, targets: Targets, policy: Policy) -> None:
    """Refuse an order or freshness key that is anything else: who steals a machine's key gets no person's word."""
    online = frozenset[str]().union(*(keys_of(root, role)[1] for role in _ONLINE))
    roles = frozenset[str]().union(*(keys_of(root, role)[1] for role in _OFFLINE), keys_of(targets, POLICY_ROLE)[1])
    people = {key.keyid for keys in policy.people.values() for key in keys}
    if online & keys_of(targets, POLICY_ROLE)[1]:
        raise Refusal("E_KEY_DUPLICATE", "a freshness key is also a key of policy: a machine must not sign it")
    if online & people:
        raise Refusal("E_KEY_DUPLICATE", "a freshness key is also a person's key")
    if set(policy.order_keys) & (roles | online):
        raise Refusal("E_KEY_DUPLICATE", "an order key is also a key of a role of the trust: each has its own")
    for delegator, role in ((root, "root"), (root, "targets"), (targets, POLICY_ROLE)):
        _check_people(delegator, role, policy)


def _check_people(delegator: Root | Targets, role: str, policy: Policy) -> None:
    """Distinct people by what the metadata says of a key, and by what the policy says of it."""
    seen = set[str]()
    for keyid in delegator.get_delegated_role(role).keyids:
        key = delegator.get_key(keyid)
        names = {holder(key), policy.person(vet(key).keyid) if isinstance(key, SSlibKey) else None} - {"", None}
        if names & seen:
            raise Refusal("E_KEY_DUPLICATE", f"role {role} has two keys of {', '.join(sorted(map(str, names & seen)))}")
        seen |= {str(name) for name in names}


def policy_target(role: Targets, text: str) -> Policy:
    """Return the policy that the policy role names.

    Raises:
        Refusal: `E_POLICY_UNTRUSTED` for other bytes, `E_META_MISMATCH`, `E_POLICY_INVALID`, `E_KEY_*`.
    """
    info = role.targets.get(POLICY_TARGET)
    if info is None or set(info.hashes) != {"sha256"}:
        raise Refusal("E_META_MISMATCH", f"the policy role does not name {POLICY_TARGET} by sha256")
    data = text.encode(errors="surrogatepass")
    if len(data) != info.length or canonical.digest(data) != f"sha256:{info.hashes['sha256']}":
        raise Refusal("E_POLICY_UNTRUSTED", f"trust/{POLICY_TARGET} is not the file that was signed")
    return Policy.parse(data)
