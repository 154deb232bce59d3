"""Who signs a change of trust is told all of it: no field changes without a line, and no line can be forged."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey

from fwctl.trust.changes import Change
from fwctl.trust.difference import difference
from fwctl.trust.draft import Draft
from fwctl.trust.proposal import Proposal, new_trust
from fwctl.trust.repository import RolePlan, TrustPlan, development_policy, held_by, key_object
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.policy import Policy
from tests.support.changing import Realm
from tests.support.signing import NOW, REPO

KEYS = tuple(CryptoSigner.generate_ed25519() for _ in range(6))
ALICE, BOB, ORDER, FRESHNESS, SPARE, OTHER = KEYS
DIGESTS = [f"sha256:{digit * 64}" for digit in "abc"]
NAMES = st.sampled_from(["alice", "bob"])
ARMOURS = [
    f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n" for body in ("mQEN", "mQIN")
]
QUORUM = st.sampled_from(
    [{"group": "owners", "threshold": 1}, {"group": "owners", "threshold": 2}, {"group": "few", "threshold": 1}]
)
RULE = st.tuples(QUORUM, st.sampled_from(["rollouts/**", "rollouts/prod/**"]), st.integers(1, 3)).map(
    lambda parts: {**parts[0], "paths": parts[1], "stage": parts[2]}
)
HOST = st.sampled_from(
    [
        {"scheme": "https", "host": host, "port": port, "cidr": cidr}
        for host in ("a.example.org", "b.example.org")
        for port in (443, 8443)
        for cidr in (None, "10.0.0.0/8")
    ]
)


def _objects(*signers: CryptoSigner) -> list[dict[str, Any]]:
    return [key_object(signer.public_key) for signer in signers]


HELD = {
    "alice": st.sampled_from([_objects(ALICE), _objects(ALICE, SPARE), _objects(SPARE, ALICE), _objects(SPARE)]),
    "bob": st.sampled_from([_objects(BOB), _objects(BOB, OTHER)]),
}
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "maxApprovalDays": st.integers(1, 3650),
    "gitVerify": st.sampled_from(["off", "head", "strict"]),
    "algorithms": st.sampled_from(
        [["ed25519"], ["ed25519", "ecdsa-sha2-nistp256"], ["ecdsa-sha2-nistp256", "ed25519"]]
    ),
    "floors": st.dictionaries(st.sampled_from(["sensor-v1", "pump"]), st.integers(0, 5)),
    "orderKeys": st.sampled_from([_objects(ORDER), _objects(OTHER), _objects(ORDER, OTHER), _objects(OTHER, ORDER)]),
    "groups": st.fixed_dictionaries(
        {"owners": st.permutations(["alice", "bob"]), "few": st.sampled_from([["alice"], ["bob"]])},
        optional={"spare": st.lists(NAMES, max_size=3)},
    ),
    "people": st.fixed_dictionaries(HELD, optional={"carol": st.sampled_from([_objects(OTHER), []])}).map(
        lambda people: {name: {"keys": keys} for name, keys in people.items()}
    ),
    "approvalRules": st.lists(RULE, max_size=3),
    "releaseSigners": st.dictionaries(st.sampled_from(["*", "pump"]), QUORUM, min_size=1),
    "storage": st.lists(HOST, max_size=2),
    "gitSigners": st.lists(st.sampled_from(["alice ssh-ed25519 AAAA", "bob ssh-ed25519 BBBB"]), max_size=3),
    "gitKeys": st.lists(st.sampled_from(ARMOURS), max_size=3),
    **{name: st.lists(st.sampled_from(DIGESTS), max_size=3) for name in ("withdrawn", "revoked", "deviceCas")},
    "guardRails": st.lists(st.sampled_from(DIGESTS), max_size=3),
}


def base() -> dict[str, Any]:
    people = {"alice": ALICE.public_key, "bob": BOB.public_key}
    policy = development_policy(repo_id=REPO, people=people, order_key=ORDER.public_key)
    return {**policy, "groups": {"owners": ["alice", "bob"], "few": ["alice"]}, "deviceCas": []}


def realm(policy: dict[str, Any]) -> Realm:
    role = RolePlan({"alice": held_by(ALICE.public_key, "alice")}, 1)
    found = Realm({}, NOW)
    found.commit(new_trust(TrustPlan(role, role, role, FRESHNESS.public_key, policy), now=NOW))
    found.sign(ALICE)
    found.complete()
    return found


STANDING = realm(base())


def told(*changes: Change) -> list[str]:
    """Return what is told of a change, but for the lines about versions, which are always there."""
    trusted = STANDING.trusted
    draft = Draft.of(None, trusted)
    for change in changes:
        change(draft)
    proposal = Proposal(trusted, draft.files(trusted, NOW), {}, STANDING.files, STANDING.pinned)
    proposal.judge()
    return [line for line in difference(proposal) if ": version " not in line]


def test_every_field_of_a_policy_is_varied_here() -> None:
    """A new field of the policy needs words, and a place in this test."""
    assert FIELDS.keys() | {"schema", "repoId"} == base().keys()


@pytest.mark.parametrize("name", FIELDS)
def test_a27_no_field_changes_without_a_line(name: str) -> None:
    @given(FIELDS[name])
    def run(value: Any) -> None:
        wanted = {**base(), name: value}
        try:
            Policy.parse(json.dumps(wanted).encode())
        except Refusal:
            return
        if wanted == base():
            return
        lines = told(lambda draft: draft.policy.update(copy.deepcopy(wanted)))
        assert lines, (name, value)

    run()


@pytest.mark.parametrize("armour", [0, 1])
def test_a27_keys_of_commits_are_told_apart(armour: int) -> None:
    """All armoured keys begin with the same line."""
    (line,) = told(lambda draft: draft.policy.update(gitKeys=[ARMOURS[armour]]))
    (other,) = told(lambda draft: draft.policy.update(gitKeys=[ARMOURS[1 - armour]]))
    assert line != other


BAD_NAMES = [
    "alice\n  policy: version 2, until 2026-01-01",
    "alice\x1b[2K",
    "al\u0456ce",
    "alice\u202e",
    "ali ce",
    "",
    "../alice",
    "a" * 65,
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("field", ["people", "groups", "releaseSigners", "floors"])
def test_a38_names_that_could_forge_a_line_are_refused(field: str, name: str) -> None:
    policy = base()
    values = {"people": {"keys": []}, "groups": [], "releaseSigners": {"group": "owners", "threshold": 1}, "floors": 1}
    policy[field] = {**policy[field], name: values[field]}
    with pytest.raises(Refusal) as found:
        Policy.parse(json.dumps(policy).encode())
    assert found.value.code == "E_POLICY_INVALID"
    assert found.value.message.isascii()
    assert found.value.message.isprintable()


@pytest.mark.parametrize("text", ["rollouts/**\n", "rollouts/\u202e**", "rollouts/ **", "rollouts/\x1b[1m**", ""])
def test_a38_paths_that_could_forge_a_line_are_refused(text: str) -> None:
    policy = base()
    policy["approvalRules"][0]["paths"] = text
    with pytest.raises(Refusal, match=r"^E_POLICY_INVALID: "):
        Policy.parse(json.dumps(policy).encode())


@pytest.mark.parametrize("field", ["host", "cidr"])
@pytest.mark.parametrize("text", ["a\x1b[2K", "a\nstorage host: - b", "\u0430.example.org", "", "a b"])
def test_a38_hosts_that_could_forge_a_line_are_refused(field: str, text: str) -> None:
    policy = base()
    policy["storage"] = [{"scheme": "https", "host": "a.example.org", "port": 443, "cidr": None, field: text}]
    with pytest.raises(Refusal, match=r"^E_POLICY_INVALID: "):
        Policy.parse(json.dumps(policy).encode())


def _put_key(draft: Draft, role: str, key: SSlibKey) -> None:
    draft.root.add_key(key, role)


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
def test_a27_a_freshness_key_for_one_of_the_two_roles_is_told(role: str) -> None:
    assert told(lambda draft: _put_key(draft, role, held_by(SPARE.public_key, "")))


def _spare(draft: Draft) -> None:
    draft.root.keys["f" * 64] = held_by(OTHER.public_key, "carol")


@pytest.mark.parametrize(
    "change",
    [
        _spare,
        lambda draft: setattr(draft.root, "consistent_snapshot", True),
        lambda draft: draft.root.unrecognized_fields.update(note="x"),
        lambda draft: draft.root.roles["root"].unrecognized_fields.update(note="x"),
        lambda draft: draft.root.keys[ALICE.public_key.keyid].unrecognized_fields.update(note="x"),
        lambda draft: draft.targets.unrecognized_fields.update(note="x"),
        lambda draft: draft.targets.delegations.roles["policy"].unrecognized_fields.update(note="x"),
    ],
)
def test_a27_what_means_nothing_is_told_too(change: Change) -> None:
    (line,) = told(change)
    assert line.endswith(": fields change that mean nothing to fwctl")


def test_a27_a_renewal_tells_nothing_but_its_versions() -> None:
    assert told(lambda draft: draft.renewed.update(("root", "targets", "policy"))) == []


def test_a27_two_keys_under_one_name_are_two() -> None:
    """What nobody holds by name is named after its key, never after another."""
    lines = told(lambda draft: _put_key(draft, "root", held_by(OTHER.public_key, "")))
    assert any(OTHER.public_key.keyid[:12] in line for line in lines)
    assert any("needs 1 of 1 -> 1 of 2 people" in line for line in lines)


def test_a03_a_key_id_that_means_another_key_is_refused() -> None:
    """The proposal would say that alice has signed for the old root, when mallory has under her key's id."""

    def change(draft: Draft) -> None:
        keyid = ALICE.public_key.keyid
        draft.root.keys[keyid] = SSlibKey(keyid, "ed25519", "ed25519", dict(OTHER.public_key.keyval))

    with pytest.raises(Refusal, match=r"^E_KEY_DUPLICATE: .*would be that of another key"):
        told(change)
