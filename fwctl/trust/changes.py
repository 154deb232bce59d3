"""Changes of trust, as edits of a draft. Pure: no file, no clock, no private key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from securesystemslib.signer import SSlibKey

from fwctl.errors import UsageError
from fwctl.trust.draft import Draft
from fwctl.trust.public_key import key_object
from fwctl.trust.quorums import holders_of
from fwctl.trust.repository import held_by
from fwctl_agent.trust.keys import vet

ROLES: Final = ("root", "targets", "policy")
_ONLINE: Final = ("snapshot", "timestamp")


Change = Callable[[Draft], None]


def replace_policy(policy: Mapping[str, Any]) -> Change:
    """Put another policy in the place of today's."""

    def change(draft: Draft) -> None:
        if policy.get("repoId") != draft.policy["repoId"]:
            raise UsageError(
                f"the policy is of another fleet: {str(policy.get('repoId'))[:60]}",
                code="E_POLICY_INVALID",
                place="repoId",
                remedy=f"A fleet's id never changes: {draft.policy['repoId']}",
            )
        _never_down(draft.policy["floors"], policy.get("floors", {}))
        draft.policy = dict(policy)
        draft.checked()

    return change


def add_key(person: str, key: SSlibKey, *, groups: tuple[str, ...], roles: tuple[str, ...]) -> Change:
    """Give a person a key: for roles, in the place of the one before; for statements, in the policy and its groups."""

    def change(draft: Draft) -> None:
        for role in roles:
            _set_key(draft, role, person, key)
        if groups or not roles:
            _add_to_policy(draft, person, key, groups)
        draft.checked()

    return change


def revoke(person: str, keyid: str = "") -> Change:
    """Take a person out of roles, people and groups; or one key of theirs, by its id or the beginning of it."""

    def change(draft: Draft) -> None:
        policy = draft.checked()
        mine = {one.keyid for one in policy.people.get(person, ())}
        held = {vet(one.key).keyid for role in ROLES for one in _held(draft, role) if one.person == person}
        gone = {one for one in mine | held if one.startswith(keyid)}
        if not gone:
            _unknown(draft, person, keyid)
        for role in ROLES:
            _take_away(draft, role, gone)
        if person in draft.policy["people"]:
            left = [one for one in policy.people[person] if one.keyid not in gone]
            draft.policy["people"][person] = {"keys": [key_object(one) for one in left]}
            if not left:
                _remove_person(draft, person)
        _check_quorums(draft, person)
        draft.checked()

    return change


def set_threshold(role: str, threshold: int) -> Change:
    """Say how many must sign a role."""

    def change(draft: Draft) -> None:
        entry = draft.delegator(role).get_delegated_role(role)
        _reachable(role, threshold, len(entry.keyids))
        entry.threshold = threshold

    return change


def remove_from_role(role: str, person: str) -> Change:
    """Take a person out of one role."""

    def change(draft: Draft) -> None:
        mine = {vet(one.key).keyid for one in _held(draft, role) if one.person == person}
        if not mine:
            _unknown(draft, person, "")
        for keyid in mine:
            _take_away(draft, role, {keyid}, check=False)

    return change


def set_freshness(key: SSlibKey) -> Change:
    """Put another freshness key in the place of today's."""

    def change(draft: Draft) -> None:
        for role in _ONLINE:
            for keyid in list(draft.root.roles[role].keyids):
                draft.root.revoke_key(keyid, role)
        for role in _ONLINE:
            draft.root.add_key(held_by(key, ""), role)

    return change


def set_order_key(key: SSlibKey) -> Change:
    """Put another order key in the place of today's."""

    def change(draft: Draft) -> None:
        draft.policy["orderKeys"] = [key_object(key)]
        draft.checked()

    return change


def raise_floor(model: str, floor: int) -> Change:
    """Raise the lowest securityVersion that devices of a model may run."""

    def change(draft: Draft) -> None:
        _never_down({model: draft.policy["floors"].get(model, 0)}, {model: floor})
        draft.policy["floors"] = {**draft.policy["floors"], model: floor}
        draft.checked()

    return change


def withdraw(digest: str) -> Change:
    """Withdraw a release: no device installs it any more."""

    def change(draft: Draft) -> None:
        draft.policy["withdrawn"] = sorted({*draft.policy["withdrawn"], digest})
        draft.checked()

    return change


def set_guard_rails(digests: Iterable[str]) -> Change:
    """Put guard rails in force by the digests of their files, in the place of today's."""

    def change(draft: Draft) -> None:
        draft.policy["guardRails"] = sorted(set(digests))
        draft.checked()

    return change


def renew(roles: tuple[str, ...]) -> Change:
    """Sign roles again, for a later end."""

    def change(draft: Draft) -> None:
        draft.renewed |= set(roles)

    return change


def all_of(*changes: Change) -> Change:
    """Make several changes at once; thresholds of roles are judged when all are made."""

    def change(draft: Draft) -> None:
        for one in changes:
            one(draft)
        for role in ROLES:
            entry = draft.delegator(role).get_delegated_role(role)
            _reachable(role, entry.threshold, len(entry.keyids))

    return change


def _held(draft: Draft, role: str) -> Any:
    return holders_of(draft.delegator(role), role, (draft.checked(),))


def _set_key(draft: Draft, role: str, person: str, key: SSlibKey) -> None:
    delegator = draft.delegator(role)
    for one in _held(draft, role):
        if one.person == person:
            delegator.revoke_key(one.keyid, role)
    delegator.add_key(held_by(key, person), role)


def _add_to_policy(draft: Draft, person: str, key: SSlibKey, groups: tuple[str, ...]) -> None:
    known = draft.policy["people"].setdefault(person, {"keys": []})["keys"]
    if key_object(key) not in known:
        known.append(key_object(key))
    for group in groups:
        if group not in draft.policy["groups"]:
            raise UsageError(
                f"the policy has no group called {group[:60]}",
                code="E_NO_GROUP",
                place="--group",
                remedy=f"One of: {', '.join(sorted(draft.policy['groups'])) or 'none'}; new ones: fwctl trust policy",
            )
        draft.policy["groups"][group] = sorted({*draft.policy["groups"][group], person})


def _take_away(draft: Draft, role: str, keyids: set[str], *, check: bool = True) -> None:
    delegator = draft.delegator(role)
    for one in _held(draft, role):
        if vet(one.key).keyid in keyids:
            delegator.revoke_key(one.keyid, role)
    entry = delegator.get_delegated_role(role)
    if check:
        _reachable(role, entry.threshold, len(entry.keyids))


def _remove_person(draft: Draft, person: str) -> None:
    del draft.policy["people"][person]
    for group, members in draft.policy["groups"].items():
        draft.policy["groups"][group] = [name for name in members if name != person]


def _reachable(role: str, threshold: int, keys: int) -> None:
    if 1 <= threshold <= keys:
        return
    lower = f", or ask for fewer: fwctl trust threshold {role} {keys}" if keys else " first"
    raise UsageError(
        f"{role} would need {threshold} of {keys} people: it could never be signed again",
        code="E_THRESHOLD",
        place=f"role {role}",
        remedy=f"Add another signer: fwctl trust add-key NAME KEYFILE --role {role}{lower}.",
    )


def _check_quorums(draft: Draft, person: str) -> None:
    """Refuse a policy under which something could never be approved again."""
    policy = draft.policy
    rules = [(f"manifests {rule['paths']}", rule) for rule in policy["approvalRules"]]
    rules += [(f"releases of {model}", quorum) for model, quorum in policy["releaseSigners"].items()]
    for what, quorum in rules:
        members = [name for name in policy["groups"].get(quorum["group"], ()) if policy["people"][name]["keys"]]
        if quorum["threshold"] > len(members):
            raise UsageError(
                f"without {person}, {what} would need {quorum['threshold']} of the {len(members)} people "
                f"of {quorum['group']}",
                code="E_THRESHOLD",
                place=f"group {quorum['group']}",
                remedy=f"Add somebody first: fwctl trust add-key NAME KEYFILE --group {quorum['group']}; or ask for "
                "fewer in a copy of trust/policy/policy.json: fwctl trust policy FILE.",
            )


def _never_down(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for model, floor in old.items():
        wanted = new.get(model, 0) if isinstance(new, Mapping) else 0
        if isinstance(wanted, int) and wanted < floor:
            raise UsageError(
                f"the floor of {model} would go down from {floor} to {wanted}",
                code="E_FLOOR_DOWN",
                place=f"floors.{model}",
                remedy="A floor only rises: devices keep the highest that they have seen.",
            )


def _unknown(draft: Draft, person: str, keyid: str) -> None:
    known = {one.person for role in ROLES for one in _held(draft, role)} | set(draft.policy["people"])
    what = f"{person[:60]} has no key that begins with {keyid[:64]}" if keyid and person in known else ""
    raise UsageError(
        what or f"the trust knows nobody called {person[:60]} there",
        code="E_NO_PERSON",
        place="trust/",
        remedy=f"Who is known: {', '.join(sorted(known))}. Their keys: fwctl trust status --format json",
    )
