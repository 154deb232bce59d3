"""What a change of trust means, in words: the same lines for who proposes, who signs and who reads the history."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tuf.api.metadata import Root, Targets

from fwctl.trust.proposal import Proposal
from fwctl.trust.quorums import holders_of
from fwctl_agent.protocol import canonical
from fwctl_agent.trust.keys import load_key, vet
from fwctl_agent.trust.metadata import POLICY_ROLE, POLICY_TARGET
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.roles import PERSON, keys_of

_NOUNS = {
    "approvalRules": "approval rule",
    "guardRails": "guard rail",
    "gitSigners": "signer of commits",
    "gitKeys": "OpenPGP key of a signer of commits",
    "storage": "storage host",
    "withdrawn": "withdrawn release",
    "revoked": "revoked certificate key",
    "deviceCas": "device CA",
    "algorithms": "key algorithm",
}
_WORDS = {
    "gitVerify": "signatures of commits (gitVerify)",
    "maxApprovalDays": "longest life of an approval, days",
    "schema": "schema",
    "repoId": "fleet",
}


_TOLD: Final = {"people", "groups", "releaseSigners", "floors", "orderKeys", *_NOUNS, *_WORDS}


def difference(proposal: Proposal) -> tuple[str, ...]:
    """Return what a proposal changes, one fact a line; a first trust is told as a whole."""
    current = proposal.current
    found: list[str] = []
    if proposal.root:
        old = current.root.signed if current else None
        found += _root(old, proposal.root.signed, proposal)
    if proposal.targets:
        before = current.targets.signed if current and current.targets else None
        found += _role(POLICY_ROLE, before, proposal.targets.signed, proposal)
        found += _unsaid("targets", before, proposal.targets.signed)
        found.append(f"targets: version {proposal.targets.signed.version}, until {_day(proposal.targets.signed)}")
    if proposal.role:
        text = current.files["policy/policy.json"] if current else "{}"
        found += _policy(json.loads(text), json.loads(proposal.policy_text))
        found += _unsaid("policy", current.role.signed if current and current.role else None, proposal.role.signed)
        found.append(f"policy: version {proposal.role.signed.version}, until {_day(proposal.role.signed)}")
    return tuple(found)


def _unsaid(role: str, old: Root | Targets | None, new: Root | Targets) -> Iterator[str]:
    """Tell that something changes which no other line names; fwctl reads none of it."""
    if old is not None and _rest(old) != _rest(new):
        yield f"{role}: fields change that mean nothing to fwctl"


def _rest(signed: Root | Targets) -> Any:
    """Return what is left of metadata without all that other lines tell."""
    value = copy.deepcopy(signed.to_dict())
    kept = {name: part for name, part in value.items() if name not in ("version", "expires")}
    kept["targets"] = {name: part for name, part in kept.get("targets", {}).items() if name != POLICY_TARGET}
    entry = kept if isinstance(signed, Root) else kept.get("delegations") or {}
    roles = entry.get("roles", {})
    used = set[str]()
    for role in roles.values() if isinstance(roles, dict) else roles:
        used |= set(role.pop("keyids"))
        role.pop("threshold")
    keys = entry.pop("keys", {})
    told = ("keytype", "scheme", "keyval", PERSON)
    odd = {
        keyid: {name: key[name] for name in key if keyid not in used or name not in told} for keyid, key in keys.items()
    }
    return kept, {keyid: rest for keyid, rest in odd.items() if rest}


def _root(old: Root | None, new: Root, proposal: Proposal) -> Iterator[str]:
    for role in ("root", "targets"):
        yield from _role(role, old, new, proposal)
    was = _machine(old) if old else ()
    if was != _machine(new):
        yield f"freshness key: {' '.join(was) or 'none'} -> {' '.join(_machine(new))}"
    yield from _unsaid("root", old, new)
    yield f"root: version {new.version}, until {_day(new)}"


def _machine(root: Root) -> tuple[str, ...]:
    """Return the freshness keys; where snapshot and timestamp differ, or ask for more than one key, that too."""
    told = []
    for role in ("snapshot", "timestamp"):
        threshold, keys = keys_of(root, role)
        wants = "" if threshold == 1 else f" ({threshold} of them)"
        told.append(" ".join(sorted(keyid[:16] for keyid in keys)) + wants)
    return tuple(told[:1] if told[0] == told[1] else (f"{told[0]} for snapshot,", f"{told[1]} for timestamp"))


def _role(role: str, old: Root | Targets | None, new: Root | Targets, proposal: Proposal) -> Iterator[str]:
    """Tell who may sign a role, and how many must."""
    before, after = _signers(old, role, proposal), _signers(new, role, proposal)
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{role}: {name} may not sign any more"
        elif name not in before:
            yield f"{role}: {name} may sign, with key {_short(after[name])}"
        elif before[name] != after[name]:
            yield f"{role}: {name} signs with key {_short(after[name])} instead of {_short(before[name])}"
    was = old.get_delegated_role(role).threshold if old else 0
    now = new.get_delegated_role(role).threshold
    people = sum(map(len, before.values())), sum(map(len, after.values()))
    if was != now or people[0] != people[1]:
        yield f"{role}: needs {_of(was, people[0])}{now} of {people[1]} people"


def _short(keyids: Iterable[str]) -> str:
    return " ".join(keyid[:16] for keyid in sorted(keyids))


def _of(threshold: int, people: int) -> str:
    return f"{threshold} of {people} -> " if people else ""


def _signers(delegator: Root | Targets | None, role: str, proposal: Proposal) -> dict[str, frozenset[str]]:
    """Return who may sign a role, with which keys: two keys under one name are two."""
    if delegator is None:
        return {}
    current = proposal.current.policy if proposal.current else None
    policies: tuple[Policy, ...] = (proposal.policy, *((current,) if current else ()))
    found: dict[str, frozenset[str]] = {}
    for one in holders_of(delegator, role, policies):
        found[one.person] = found.get(one.person, frozenset()) | {vet(one.key).keyid}
    return found


def _policy(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from _people(old.get("people", {}), new["people"])
    for group, was, now in _changed(old.get("groups", {}), new["groups"]):
        yield from (f"group {group}: {name} joins" for name in now or () if name not in (was or ()))
        yield from (f"group {group}: {name} leaves" for name in was or () if name not in (now or ()))
        if now is None or not (now or was):
            yield f"group {group}: {'gone' if now is None else 'new, and empty'}"
        elif was and set(was) == set(now):
            yield f"group {group}: in another order, or a name another number of times"
    for model, was, now in _changed(old.get("releaseSigners", {}), new["releaseSigners"]):
        yield f"releases of {model}: {_quorum(was)} -> {_quorum(now)}"
    for model, was, now in _changed(old.get("floors", {}), new["floors"]):
        yield f"floor of {model}: {'none' if was is None else was} -> {'none' if now is None else now}"
    keys = tuple([load_key(key).keyid[:16] for key in one.get("orderKeys", [])] for one in (old, new))
    if old.get("orderKeys") != new["orderKeys"]:
        yield f"order keys: {' '.join(keys[0]) or 'none'} -> {' '.join(keys[1])}"
    for name, noun in _NOUNS.items():
        yield from _list(noun, old.get(name, []), new.get(name, []))
    for name in sorted((old.keys() | new.keys()) & _WORDS.keys()):
        if old.get(name) != new.get(name):
            yield f"{_WORDS[name]}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
    for name in sorted((old.keys() | new.keys()) - _TOLD):
        if old.get(name) != new.get(name):  # a field that came later than these words
            yield f"{name}: {json.dumps(old.get(name), sort_keys=True)} -> {json.dumps(new.get(name), sort_keys=True)}"


def _people(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    def ids(people: Mapping[str, Any], name: str) -> list[str]:
        return [load_key(key).keyid[:16] for key in people.get(name, {"keys": []})["keys"]]

    for name in sorted(old.keys() | new.keys()):
        was, now = ids(old, name), ids(new, name)
        yield from (f"person {name}: key {keyid} counts" for keyid in now if keyid not in was)
        yield from (f"person {name}: key {keyid} counts no more" for keyid in was if keyid not in now)
        if name in old and name in new and old[name] != new[name] and sorted(was) == sorted(now):
            yield f"person {name}: the same keys, written in another way"
        if name not in new:
            yield f"person {name}: gone"
        elif name not in old and not now:
            yield f"person {name}: new, without a key"


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def _quorum(value: Mapping[str, Any] | None) -> str:
    return f"{value['threshold']} of {value['group']}" if value else "none of their own"


def _list(noun: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    was, now = Counter(map(_entry, old)), Counter(map(_entry, new))
    yield from (f"{noun}: + {one}" for one in (now - was).elements())
    yield from (f"{noun}: - {one}" for one in (was - now).elements())
    if old != new and was == now:
        yield f"{noun}: in another order"


def _entry(value: Any) -> str:
    match value:
        case {"paths": paths, "group": group, "threshold": threshold, "stage": stage}:
            return f"{paths} from stage {stage} needs {threshold} of {group}"
        case {"scheme": scheme, "host": host, "port": port, "cidr": cidr}:
            return f"{scheme}://{host}:{port}" + (f" in {cidr}" if cidr else "")
        case str():  # of a key in many lines its digest: all begin with the same line
            return canonical.digest(value.encode()) if "\n" in value else value
        case _:
            return json.dumps(value, sort_keys=True)


def _day(signed: Root | Targets) -> str:
    return f"{signed.expires:%Y-%m-%d}"
