"""The policy target: who may say what. It comes from TUF metadata, never from the commit under review."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from securesystemslib.signer import SSlibKey

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import ID, WORD, Fields, integer, matching
from fwctl_agent.protocol.lock import MAX_STAGE
from fwctl_agent.trust.keys import SCHEMES, distinct, load_key

T = TypeVar("T")
GIT_VERIFY: Final = ("off", "head", "strict")
_WORD: Final = matching(WORD, "policy")
LINE: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,1999}")
ARMOUR: Final = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\n[\x20-\x7e\n]{1,20000}\n-----END PGP PUBLIC KEY BLOCK-----\n?"
)
_PATHS: Final = re.compile(r"[\x21-\x7e]{1,256}")
"""printable and without blanks, as manifests' paths are: what a signer is shown is what counts"""
_HOST: Final = re.compile(r"[0-9A-Za-z.:\[\]_-]{1,253}")
_CIDR: Final = re.compile(r"[0-9A-Fa-f.:/]{1,64}")
_MODEL: Final = re.compile(rf"{ID.pattern}|{WORD.pattern}|\*")
_line: Final = matching(LINE, "policy.gitSigners")
_armour: Final = matching(ARMOUR, "policy.gitKeys")


@dataclass(frozen=True)
class Quorum:
    """`threshold` distinct people of `group`."""

    group: str
    threshold: int


@dataclass(frozen=True)
class PathRule:
    """Approvals of `quorum` are needed for manifests that match `paths`, for leaves from `stage` on."""

    paths: str
    quorum: Quorum
    stage: int

    def covers(self, path: str, stage: int) -> bool:
        return stage >= self.stage and glob(self.paths, path)


@dataclass(frozen=True)
class StorageHost:
    """An address that images may come from. `cidr` is needed for private ranges only."""

    scheme: str
    host: str
    port: int
    cidr: str | None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The decoded policy target; every key vetted, every reference resolved."""

    repo_id: str
    people: dict[str, tuple[SSlibKey, ...]]
    groups: dict[str, tuple[str, ...]]
    approval_rules: tuple[PathRule, ...]
    release_signers: dict[str, Quorum]
    order_keys: dict[str, SSlibKey]
    algorithms: tuple[str, ...]
    floors: dict[str, int]
    withdrawn: frozenset[str]
    guard_rails: frozenset[str]
    storage: tuple[StorageHost, ...]
    git_verify: str
    git_signers: tuple[str, ...]
    """lines of an SSH `allowed_signers` file"""
    git_keys: tuple[str, ...]
    """armoured OpenPGP public keys"""
    revoked: frozenset[str]
    """digests of the public keys (DER, SubjectPublicKeyInfo) whose certificates count no more, on either side of TLS"""
    device_cas: frozenset[str]
    """digests of the public keys of the device CAs: whose word it is that a certificate is a device's"""
    max_approval_days: int

    @classmethod
    def parse(cls, raw: bytes) -> Policy:
        """Read the policy target.

        Raises:
            Refusal: `E_POLICY_INVALID` for anything malformed, `E_KEY_*` for keys that cannot be used.
        """
        try:
            return _policy(canonical.decode(raw, what="policy"))
        except Refusal as error:
            if error.code.startswith("E_KEY"):
                raise
            raise Refusal("E_POLICY_INVALID", error.message) from error

    def quorums(self, path: str, stage: int) -> tuple[Quorum, ...]:
        """Return all quorums that must hold for a manifest path and stage; empty means nobody may approve it."""
        return tuple(rule.quorum for rule in self.approval_rules if rule.covers(path, stage))

    def release_quorum(self, model: str) -> Quorum | None:
        """Return who may release firmware for `model`; the entry `*` speaks for models without one of their own."""
        return self.release_signers.get(model) or self.release_signers.get("*")

    def person(self, keyid: str) -> str | None:
        """Return who holds the key with this recomputed id."""
        return next((name for name, keys in self.people.items() if any(key.keyid == keyid for key in keys)), None)


@lru_cache(maxsize=2048)
def glob(pattern: str, path: str) -> bool:
    """Say whether `pattern` matches all of `path`: `*` within one segment, `**` across segments, all else literally.

    `rollouts/prod-*/**` matches every file at any depth below folders such as `rollouts/prod-eu`.
    """
    tokens = re.findall(r"\*\*|[\s\S]", pattern)
    # All places in the pattern at once, not a regular expression: that one backtracks for ever on many stars.
    reached = _past_stars({0}, tokens)
    for char in path:
        inside = {at for at in reached if at < len(tokens)}
        stay = {at for at in inside if tokens[at] == "**" or (tokens[at] == "*" and char != "/")}
        reached = _past_stars(stay | {at + 1 for at in inside if tokens[at] == char}, tokens)
    return len(tokens) in reached


def _past_stars(reached: set[int], tokens: list[str]) -> set[int]:
    """Add the places behind stars, which may match nothing."""
    found = set(reached)
    for at in range(len(tokens)):
        if at in found and tokens[at] in ("*", "**"):
            found.add(at + 1)
    return found


def _policy(value: object) -> Policy:
    top = Fields(value, "policy")
    top.integer("schema", 1, 1)
    algorithms = top.items("algorithms", _WORD, limit=8)
    if not algorithms or not set(algorithms) <= set(SCHEMES):
        raise Refusal("E_KEY_ALG", "policy.algorithms may only list " + ", ".join(SCHEMES))

    def key(item: object) -> SSlibKey:
        return load_key(item, schemes=algorithms)

    people = _named("people", WORD, top.mapping("people", lambda item: _keys(item, key), limit=1000))
    groups = top.mapping("groups", lambda item: Fields({"g": item}, "groups").items("g", _WORD, limit=1000), limit=200)
    policy = Policy(
        repo_id=top.text("repoId", ID),
        people=people,
        groups=_named("groups", WORD, groups),
        approval_rules=top.items("approvalRules", lambda item: _rule(item, people, groups), limit=500),
        release_signers=_named(
            "releaseSigners",
            _MODEL,
            top.mapping(
                "releaseSigners", lambda item: _quorum(Fields(item, "releaseSigners"), people, groups), limit=1000
            ),
        ),
        order_keys=distinct(top.items("orderKeys", key, limit=16), "policy.orderKeys"),
        algorithms=algorithms,
        floors=_named("floors", _MODEL, top.mapping("floors", integer, limit=1000)),
        withdrawn=frozenset(top.digests("withdrawn", limit=10000)),
        guard_rails=frozenset(top.digests("guardRails", limit=1000)),
        storage=top.items("storage", _storage, limit=100),
        git_verify=top.choice("gitVerify", GIT_VERIFY),
        # policies of the first releases say nothing of these four
        git_signers=top.items("gitSigners", _line, limit=1000) if "gitSigners" in top else (),
        git_keys=top.items("gitKeys", _armour, limit=200) if "gitKeys" in top else (),
        revoked=frozenset(top.digests("revoked", limit=10000) if "revoked" in top else ()),
        device_cas=frozenset(top.digests("deviceCas", limit=16) if "deviceCas" in top else ()),
        max_approval_days=top.integer("maxApprovalDays", 1, 3650),
    )
    top.done()
    _check_people(policy)
    return policy


def _named(what: str, form: re.Pattern[str], found: dict[str, T]) -> dict[str, T]:
    """Return `found`, whose names people read before they sign: none may look like another, or steer a terminal."""
    for name in found:
        if not form.fullmatch(name):
            raise Refusal("E_SCHEMA", f"policy.{what} has a name of the wrong form: {name[:40]!a}")
    return found


def _keys(item: object, key: Any) -> tuple[SSlibKey, ...]:
    fields = Fields(item, "policy.people")
    keys: tuple[SSlibKey, ...] = fields.items("keys", key, limit=8)
    fields.done()
    return keys


def _quorum(fields: Fields, people: dict[str, Any], groups: dict[str, tuple[str, ...]]) -> Quorum:
    group, threshold = fields.text("group", WORD), fields.integer("threshold", 1, 1000)
    fields.done()
    members = groups.get(group)
    if members is None or not set(members) <= set(people):
        raise fields.refuse("group", f"{group} is not a group of known people")
    if len(set(members)) != len(members) or threshold > sum(1 for name in members if people[name]):
        raise fields.refuse("threshold", f"of {group} is larger than its number of people with keys")
    return Quorum(group, threshold)


def _rule(item: object, people: dict[str, Any], groups: dict[str, tuple[str, ...]]) -> PathRule:
    fields = Fields(item, "policy.approvalRules")
    paths, stage = fields.text("paths", _PATHS), fields.integer("stage", 1, MAX_STAGE)
    return PathRule(paths, _quorum(fields, people, groups), stage)


def _storage(item: object) -> StorageHost:
    fields = Fields(item, "policy.storage")
    host = StorageHost(
        scheme=fields.choice("scheme", ("https",)),
        host=fields.text("host", _HOST),
        port=fields.integer("port", 1, 65535),
        cidr=fields.maybe_text("cidr", _CIDR),
    )
    fields.done()
    return host


def _check_people(policy: Policy) -> None:
    distinct((key for keys in policy.people.values() for key in keys), "policy.people")
    shared = set(policy.order_keys) & {key.keyid for keys in policy.people.values() for key in keys}
    if shared:
        raise Refusal("E_KEY_DUPLICATE", "an order key is also a person's key: the reconciler must not approve")
    if not policy.order_keys:
        raise Refusal("E_POLICY_INVALID", "policy.orderKeys is empty: no order could ever be given")
