"""Attacks on the trust files themselves: roles, thresholds, versions, keys, chains of roots.

At the agent's door they come by `PUT /v1/trust` and with an order; at the doors of the command line and of the
reconciler they stand in a commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import MAX_ROTATIONS, TrustedMetadata
from tests.attacks.forge import POLICY_FILE, Forge, key_value, text_of, when
from tests.attacks.realm import Realm, whole_now

pytestmark = pytest.mark.e2e

Attack = Callable[[Realm, Forge], None]
"""makes one thing wrong in a set of files that would be accepted"""
Cases = dict[str, tuple[Attack, str]]


def cases(found: Cases) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("attack", "code"), found.values(), ids=found)


def at_the_agent(realm: Realm, attack: Attack, code: str) -> None:
    forge = realm.next()
    attack(realm, forge)
    realm.trust_refused(forge.files(), code)


def in_a_commit(realm: Realm, attack: Attack, code: str) -> None:
    """The command line refuses it, and so does a pass: both with exit code 4."""
    forge = realm.next()
    attack(realm, forge)
    try:
        realm.write_trust(forge)
        realm.commit()
        error = realm.cli_refuses(code, "trust", "status")
        assert error["place"].startswith("trust/")
        realm.reconciler_refuses(code, exit_code=4)
    finally:
        realm.restore()


def test_what_the_attacks_start_from_is_good(realm: Realm) -> None:
    """Without an attack, the same files are taken over: in this process, for the agent's trust must not move."""
    start = TrustedMetadata.bootstrap(realm.forge().files()["1.root.json"])
    held = start.advance(realm.forge().files(), now=whole_now(), fresh=True)
    after = held.advance(realm.next().files(), now=whole_now(), fresh=True)
    assert after.versions.to_wire() == {"root": 1, "targets": 4, "policy": 4, "snapshot": 4, "timestamp": 4}
    realm.write_trust(realm.next())
    realm.commit()
    realm.world.fwctl("trust", "status")
    realm.restore()


# --- A03: one key, counted twice ---


def _second_root(realm: Realm, forge: Forge) -> dict[str, Any]:
    """Return a copy of the root as version 2, to be changed."""
    copied: dict[str, Any] = json.loads(json.dumps(forge.signed["root"]))
    return copied | {"version": 2}


def _root_with(change: Callable[[Realm, dict[str, Any]], None]) -> Attack:
    def attack(realm: Realm, forge: Forge) -> None:
        signed = _second_root(realm, forge)
        change(realm, signed)
        forge.chain[2] = forge.rooted(signed, forge.by["root"])

    return attack


def _targets_with(change: Callable[[Realm, dict[str, Any]], None]) -> Attack:
    return lambda realm, forge: change(realm, forge.signed["targets"]["delegations"])


def _policy_with(change: Callable[[Realm, dict[str, Any]], None]) -> Attack:
    return lambda realm, forge: change(realm, forge.policy)


def _twice_in(role: str) -> Attack:
    def change(realm: Realm, signed: dict[str, Any]) -> None:
        first = signed["roles"][role]["keyids"][0]
        signed["keys"]["00" * 32] = signed["keys"][first]
        signed["roles"][role] = {"keyids": [first, "00" * 32], "threshold": 2}

    return _root_with(change)


def _twice_in_the_delegation(realm: Realm, delegations: dict[str, Any]) -> None:
    first = delegations["roles"][0]["keyids"][0]
    delegations["keys"]["00" * 32] = delegations["keys"][first]
    delegations["roles"][0] |= {"keyids": [first, "00" * 32], "threshold": 2}


def _key_of(realm: Realm, name: str) -> dict[str, Any]:
    return key_value(realm.signer(name).public_key)


def _two_spellings(realm: Realm, policy: dict[str, Any]) -> None:
    """One P-256 key, as an uncompressed and as a compressed point."""
    signer = CryptoSigner.generate_ecdsa()
    value = key_value(signer.public_key)
    policy["people"]["dave"] = {"keys": [value]}
    spaced = value | {"keyval": {"public": value["keyval"]["public"].replace("\n", "\r\n")}}
    policy["people"]["erin"] = {"keys": [spaced]}


TWICE: Cases = {
    **{f"root-{role}": (_twice_in(role), "E_KEY_DUPLICATE") for role in ("root", "targets", "snapshot", "timestamp")},
    "delegation": (_targets_with(_twice_in_the_delegation), "E_KEY_DUPLICATE"),
    "two-people": (
        _policy_with(lambda realm, policy: policy["people"]["bob"].update(keys=[_key_of(realm, "alice")])),
        "E_KEY_DUPLICATE",
    ),
    "one-person": (
        _policy_with(lambda realm, policy: policy["people"]["bob"].update(keys=[_key_of(realm, "bob")] * 2)),
        "E_KEY_DUPLICATE",
    ),
    "order-keys": (
        _policy_with(lambda realm, policy: policy.update(orderKeys=policy["orderKeys"] * 2)),
        "E_KEY_DUPLICATE",
    ),
    "reconciler-is-a-person": (
        _policy_with(lambda realm, policy: policy["people"]["bob"].update(keys=[_key_of(realm, "order")])),
        "E_KEY_DUPLICATE",
    ),
    "two-spellings": (_policy_with(_two_spellings), "E_KEY_DUPLICATE"),
}


@cases(TWICE)
def test_a03_agent_one_key_never_counts_twice(realm: Realm, attack: Attack, code: str) -> None:
    at_the_agent(realm, attack, code)


@cases(TWICE)
def test_a03_cli_reconciler_one_key_never_counts_twice(realm: Realm, attack: Attack, code: str) -> None:
    in_a_commit(realm, attack, code)


# --- A06: thresholds ---

THRESHOLDS: dict[str, Any] = {
    "0": 0,
    "minus-1": -1,
    "text": "2",
    "empty-text": "",
    "true": True,
    "false": False,
    "null": None,
    "list": [2],
    "object": {},
    "above-n": 4,
    "2-to-53": 2**53,
    "10-to-30": 10**30,
}


def _threshold(place: str, value: Any) -> Attack:
    def root(role: str) -> Attack:
        return _root_with(lambda _, signed: signed["roles"][role].update(threshold=value))

    places: dict[str, Attack] = {
        "approval-rule": _policy_with(lambda _, policy: policy["approvalRules"][0].update(threshold=value)),
        "release-signers": _policy_with(lambda _, policy: policy["releaseSigners"]["*"].update(threshold=value)),
        "delegation": _targets_with(lambda _, found: found["roles"][0].update(threshold=value)),
        **{role: root(role) for role in ("root", "targets", "snapshot", "timestamp")},
    }
    return places[place]


def _as_text(place: str, text: str) -> Attack:
    """A number that some readers take for 2: signed as 2, written otherwise."""

    def attack(realm: Realm, forge: Forge) -> None:
        if place == "policy":
            spelled = text_of(forge.policy).replace('"threshold": 2', f'"threshold": {text}')
            forge.replaced[POLICY_FILE] = spelled
            from fwctl_agent.protocol import canonical

            promised = {"sha256": canonical.digest(spelled.encode()).removeprefix("sha256:")}
            forge.signed["policy"]["targets"] = {POLICY_FILE: {"length": len(spelled.encode()), "hashes": promised}}
        elif place == "root":
            whole = forge.rooted(_second_root(realm, forge), forge.by["root"])
            forge.chain[2] = whole.replace('"threshold": 2', f'"threshold": {text}')
        else:
            whole = forge.files()["targets.json"]
            forge.replaced["targets.json"] = whole.replace('"threshold": 2', f'"threshold": {text}')

    return attack


PLACES = ("approval-rule", "release-signers", "delegation", "root", "targets", "snapshot", "timestamp")
WRONG: Cases = {
    f"{place}-{name}": (
        _threshold(place, value),
        # TUF metadata with numbers that large is not JSON that both sides read alike
        "E_SCHEMA" if "-to-" in name and not place.startswith(("approval", "release")) else "E_POLICY_INVALID",
    )
    for place in PLACES
    for name, value in THRESHOLDS.items()
}
SPELLED: Cases = {
    f"{place}-{text}": (_as_text(place, text), "E_POLICY_INVALID" if place == "policy" else "E_SCHEMA")
    for place in ("policy", "root", "targets")
    for text in ("2.0", "2e0", "2.00000000000000000001", '2, "threshold": 1', "NaN", "02")
}
FEW: Cases = {
    name: case
    for name, case in (WRONG | SPELLED).items()
    if name.startswith("approval-rule") or name.endswith(("delegation-true", "root-0", "targets-above-n", "-2.0"))
}


@cases(WRONG | SPELLED)
def test_a06_agent_a_threshold_that_is_none(realm: Realm, attack: Attack, code: str) -> None:
    at_the_agent(realm, attack, code)


@cases(FEW)
def test_a06_cli_reconciler_a_threshold_that_is_none(realm: Realm, attack: Attack, code: str) -> None:
    in_a_commit(realm, attack, code)


# --- A10: keys that are none ---


def _pem(key: Any) -> str:
    text: str = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return text


_RSA = _pem(rsa_key(65537, 1024))
_P = 2**255 - 19


def _point(y: int, sign: int = 0) -> dict[str, Any]:
    public = (y | sign << 255).to_bytes(32, "little").hex()
    return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}


KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "scheme-none": ({"keytype": "ed25519", "scheme": "none", "keyval": {"public": "ab" * 32}}, "E_KEY_ALG"),
    "keytype-unknown": ({"keytype": "quantum", "scheme": "quantum", "keyval": {"public": "ab" * 32}}, "E_KEY_ALG"),
    "rsa-1024-pkcs1": ({"keytype": "rsa", "scheme": "rsa-pkcs1v15-sha256", "keyval": {"public": _RSA}}, "E_KEY_ALG"),
    "rsa-1024-pss": ({"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": _RSA}}, "E_KEY_ALG"),
    "p-384": (
        {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp384", "keyval": {"public": _pem(ec_key(SECP384R1()))}},
        "E_KEY_ALG",
    ),
    "p-384-as-p-256": (
        {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": _pem(ec_key(SECP384R1()))}},
        "E_KEY_ALG",
    ),
    "ed25519-as-ecdsa": (
        {"keytype": "ed25519", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": "ab"}},
        "E_KEY_ALG",
    ),
    "short": ({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "ab" * 31}}, "E_KEY_ALG"),
    "empty": ({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": ""}}, "E_KEY_ALG"),
    **{f"small-order-{y}-{sign}": (_point(y, sign), "E_KEY_WEAK") for y in (0, 1) for sign in (0, 1)},
    **{f"small-order-minus-1-{sign}": (_point(_P - 1, sign), "E_KEY_WEAK") for sign in (0, 1)},
    **{f"not-reduced-{more}": (_point(_P + more), "E_KEY_WEAK") for more in (0, 1)},
    **{
        f"order-8-{text[:4]}": ({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": text}}, "E_KEY_WEAK")
        for text in (
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        )
    },
}


def _key_in(place: str, value: dict[str, Any]) -> Attack:
    def in_root(realm: Realm, signed: dict[str, Any]) -> None:
        signed["keys"]["00" * 32] = value
        signed["roles"]["root"]["keyids"].append("00" * 32)

    def in_delegation(realm: Realm, found: dict[str, Any]) -> None:
        found["keys"]["00" * 32] = value
        found["roles"][0]["keyids"].append("00" * 32)

    return {
        "person": _policy_with(lambda _, policy: policy["people"].update(dave={"keys": [value]})),
        "order-key": _policy_with(lambda _, policy: policy["orderKeys"].append(value)),
        "root": _root_with(in_root),
        "delegation": _targets_with(in_delegation),
    }[place]


BAD_KEYS: Cases = {
    f"{place}-{name}": (_key_in(place, value), code)
    for place in ("person", "order-key", "root", "delegation")
    for name, (value, code) in KEYS.items()
} | {
    "policy-allows-only-p256": (
        _policy_with(lambda _, policy: policy.update(algorithms=["ecdsa-sha2-nistp256"])),
        "E_KEY_ALG",
    ),
    **{
        f"policy-allows-{name or 'nothing'}": (
            _policy_with(lambda _, policy, name=name: policy.update(algorithms=[name] if name else [])),  # type: ignore[misc]
            "E_KEY_ALG",
        )
        for name in ("", "none", "rsassa-pss-sha256", "rsa-pkcs1v15-sha256")
    },
}
FEW_KEYS: Cases = {
    name: case
    for name, case in BAD_KEYS.items()
    if name in ("policy-allows-none", "person-rsa-1024-pkcs1", "order-key-small-order-1-0", "root-scheme-none")
}


@cases(BAD_KEYS)
def test_a10_agent_a_key_that_is_none(realm: Realm, attack: Attack, code: str) -> None:
    at_the_agent(realm, attack, code)


@cases(FEW_KEYS)
def test_a10_cli_reconciler_a_key_that_is_none(realm: Realm, attack: Attack, code: str) -> None:
    in_a_commit(realm, attack, code)


# --- A14: what has ended ---


def _ended(role: str, seconds: int = 1) -> Attack:
    def attack(realm: Realm, forge: Forge) -> None:
        end = when(whole_now() - timedelta(seconds=seconds))
        if role == "root":
            forge.chain[2] = forge.rooted(_second_root(realm, forge) | {"expires": end}, forge.by["root"])
        else:
            forge.signed[role]["expires"] = end

    return attack


COMMITTED = ("root", "targets", "policy")
ENDED: Cases = {
    f"{role}-{seconds}s": (_ended(role, seconds), "E_EXPIRED")
    for role in (*COMMITTED, "snapshot", "timestamp")
    for seconds in (1, 40 * 365 * 86400)
}


@cases(ENDED)
def test_a14_agent_metadata_that_has_expired(realm: Realm, attack: Attack, code: str) -> None:
    at_the_agent(realm, attack, code)


@cases({name: case for name, case in ENDED.items() if name.startswith(COMMITTED) and name.endswith("-1s")})
def test_a14_cli_reconciler_metadata_that_has_expired(realm: Realm, attack: Attack, code: str) -> None:
    in_a_commit(realm, attack, code)


# --- A15, A16: versions ---


def _versions(**of: int) -> Attack:
    def attack(realm: Realm, forge: Forge) -> None:
        for role, version in of.items():
            forge.version(version, role)

    return attack


def _removed(name: str) -> Attack:
    return lambda realm, forge: forge.signed["snapshot"]["meta"].pop(name) and None


def _same_version(realm: Realm, forge: Forge) -> None:
    forge.version(realm.base)
    forge.signed["timestamp"]["expires"] = when(realm.now + timedelta(days=200))


BACK: Cases = {
    **{
        "-".join(roles): (_versions(**dict.fromkeys(roles, 2)), "E_META_ROLLBACK")
        for roles in (
            ("timestamp",),
            ("snapshot",),
            ("targets",),
            ("policy",),
            ("targets", "policy"),
            ("snapshot", "timestamp"),
            ("targets", "policy", "snapshot", "timestamp"),
        )
    },
    "two-of-one-version": (_same_version, "E_META_ROLLBACK"),
    "targets-removed": (_removed("targets.json"), "E_META_ROLLBACK"),
    "policy-removed": (_removed("policy.json"), "E_META_ROLLBACK"),
}


@cases(BACK)
def test_a15_agent_versions_never_go_back(realm: Realm, attack: Attack, code: str) -> None:
    at_the_agent(realm, attack, code)


@pytest.mark.parametrize("roles", [("targets",), ("policy",), ("targets", "policy")], ids="-".join)
def test_a15_reconciler_versions_never_go_back_behind_what_was_applied(realm: Realm, roles: tuple[str, ...]) -> None:
    realm.commit("As it was")
    realm.world.once(duration=5)  # nobody has approved anything: it only says which commit it has seen
    forge = realm.forge()
    _versions(**dict.fromkeys(roles, 2))(realm, forge)
    realm.write_trust(forge)
    realm.commit()
    realm.reconciler_refuses("E_META_ROLLBACK", exit_code=4)
    realm.restore()


def _promise(role: str, of: str, **info: Any) -> Attack:
    return lambda realm, forge: forge.signed[role]["meta"][of].update(info)


def _missing(name: str) -> Attack:
    return lambda realm, forge: forge.dropped.add(name)


MIXED: Cases = {
    **{
        f"{role}-says-{of}-{version}": (_promise(role, of, version=version), "E_META_MISMATCH")
        for role, of in (("snapshot", "targets.json"), ("snapshot", "policy.json"), ("timestamp", "snapshot.json"))
        for version in (5, 2**31)
    },
    **{
        f"{role}-other-{kind}": (_promise(role, of, **info), "E_META_MISMATCH")
        for role, of in (("snapshot", "targets.json"), ("snapshot", "policy.json"), ("timestamp", "snapshot.json"))
        for kind, info in (("length", {"length": 7}), ("hash", {"hashes": {"sha256": "ab" * 32}}))
    },
    "policy-of-another-repository": (
        _policy_with(lambda _, policy: policy.update(repoId="other")),
        "E_META_MISMATCH",
    ),
    **{f"no-{name}": (_missing(name), "E_META_MISMATCH") for name in ("targets.json", "policy.json", POLICY_FILE)},
    **{f"no-{name}": (_missing(name), "E_META_MISMATCH") for name in ("snapshot.json", "timestamp.json")},
}


@cases(MIXED)
def test_a16_agent_files_that_do_not_belong_together(realm: Realm, attack: Attack, code: str) -> None:
    at_the_agent(realm, attack, code)


@cases({name: MIXED[name] for name in ("no-targets.json", "no-policy.json", f"no-{POLICY_FILE}")})
def test_a16_cli_reconciler_files_that_do_not_belong_together(realm: Realm, attack: Attack, code: str) -> None:
    in_a_commit(realm, attack, code)


# --- A18: chains of roots ---


def _chain(*links: Callable[[Realm, dict[str, Any]], tuple[dict[str, Any], list[str]]]) -> Attack:
    """Each link says what its root is, after the one before, and who signs it."""

    def attack(realm: Realm, forge: Forge) -> None:
        signed = forge.signed["root"]
        for number, link in enumerate(links, start=2):
            copied: dict[str, Any] = json.loads(json.dumps(signed))
            signed, names = link(realm, copied | {"version": number})
            forge.chain[number] = forge.rooted(signed, [realm.signer(name) for name in names])

    return attack


def _held_by(realm: Realm, signed: dict[str, Any], *names: str) -> dict[str, Any]:
    """Give the role root to these people."""
    keys = [realm.signer(name).public_key for name in names]
    signed["keys"] |= {key.keyid: key_value(key) for key in keys}
    signed["roles"]["root"] = {"keyids": [key.keyid for key in keys], "threshold": 2}
    return signed


def _unchanged(*names: str, **changes: Any) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    return lambda realm, signed: (signed | changes, list(names))


def _handed_to(holders: tuple[str, ...], *names: str) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    return lambda realm, signed: (_held_by(realm, signed, *holders), list(names))


def _gap(realm: Realm, forge: Forge) -> None:
    forge.chain[3] = forge.rooted(_second_root(realm, forge) | {"version": 3}, forge.by["root"])


def _too_many(realm: Realm, forge: Forge) -> None:
    _chain(*[_unchanged("alice", "bob")] * (MAX_ROTATIONS + 1))(realm, forge)


def _targets_as_root(realm: Realm, forge: Forge) -> None:
    forge.chain[2] = forge.files()["targets.json"]


NEW = ("mallory", "alice-2")
CHAINS: Cases = {
    "new-keys-only": (_chain(_handed_to(NEW, *NEW)), "E_ROOT_CHAIN"),
    "old-keys-only": (_chain(_handed_to(NEW, "alice", "bob")), "E_ROOT_CHAIN"),
    "one-old-key": (_chain(_handed_to((*NEW, "alice"), *NEW, "alice")), "E_ROOT_CHAIN"),
    "unsigned": (_chain(_unchanged()), "E_ROOT_CHAIN"),
    "by-a-stranger": (_chain(_unchanged("mallory", "alice")), "E_ROOT_CHAIN"),
    "by-the-reconciler": (_chain(_unchanged("order", "alice")), "E_ROOT_CHAIN"),
    "one-signature-twice": (_chain(_unchanged("alice", "alice")), "E_SCHEMA"),
    "gap": (_gap, "E_ROOT_CHAIN"),
    "version-skipped-inside": (_chain(_unchanged("alice", "bob", version=3)), "E_ROOT_CHAIN"),
    "version-stands-still": (_chain(_unchanged("alice", "bob", version=1)), "E_ROOT_CHAIN"),
    "revoked-key-signs-the-next": (
        _chain(_handed_to(("alice", "carol", "mallory"), "alice", "bob", "carol"), _unchanged("alice", "bob")),
        "E_ROOT_CHAIN",
    ),
    "257-rotations": (_too_many, "E_ROOT_CHAIN"),
    "targets-as-root": (_targets_as_root, "E_SIG_TYPE"),
}


@cases(CHAINS)
def test_a18_agent_a_chain_of_roots_that_breaks(realm: Realm, attack: Attack, code: str) -> None:
    at_the_agent(realm, attack, code)


@cases(CHAINS)
def test_a18_cli_reconciler_a_chain_of_roots_that_breaks(realm: Realm, attack: Attack, code: str) -> None:
    in_a_commit(realm, attack, code)


def test_a18_256_rotations_at_once_are_walked(realm: Realm) -> None:
    """The cap is where it is said to be: in this process, for the agent's trust must not move."""
    forge = realm.next()
    _chain(*[_unchanged("alice", "bob")] * MAX_ROTATIONS)(realm, forge)
    start = TrustedMetadata.bootstrap(forge.files()["1.root.json"])
    assert start.advance(forge.files(), now=whole_now(), fresh=True).versions.root == MAX_ROTATIONS + 1


# --- A27: who says who may say so ---


def _unsigned(change: Callable[[Realm, dict[str, Any]], None]) -> Attack:
    """Change the policy's file and leave what was signed as it was."""

    def attack(realm: Realm, forge: Forge) -> None:
        forge.pinned_policy = json.loads(json.dumps(forge.policy))
        change(realm, forge.policy)

    return attack


def _signed_by(role: str, *names: str) -> Attack:
    def attack(realm: Realm, forge: Forge) -> None:
        forge.policy["people"]["mallory"] = {"keys": [_key_of(realm, "mallory")]}
        forge.policy["groups"]["owners"].append("mallory")
        forge.by[role] = [realm.signer(name) for name in names]

    return attack


def _delegated_to_himself(realm: Realm, forge: Forge) -> None:
    key = realm.signer("mallory").public_key
    found = forge.signed["targets"]["delegations"]
    found["keys"][key.keyid] = key_value(key)
    found["roles"][0] |= {"keyids": [key.keyid], "threshold": 1}
    forge.by["targets"] = [realm.signer("mallory"), realm.signer("alice")]
    forge.by["policy"] = [realm.signer("mallory")]


UNTRUSTED: Cases = {
    "approver-added": (
        _unsigned(lambda realm, policy: policy["people"].update(mallory={"keys": [_key_of(realm, "mallory")]})),
        "E_POLICY_UNTRUSTED",
    ),
    "key-of-bob-replaced": (
        _unsigned(lambda realm, policy: policy["people"]["bob"].update(keys=[_key_of(realm, "mallory")])),
        "E_POLICY_UNTRUSTED",
    ),
    "threshold-1": (
        _unsigned(lambda _, policy: policy["approvalRules"][0].update(threshold=1)),
        "E_POLICY_UNTRUSTED",
    ),
    "order-key-added": (
        _unsigned(lambda realm, policy: policy["orderKeys"].append(_key_of(realm, "mallory"))),
        "E_POLICY_UNTRUSTED",
    ),
    "longer-approvals": (_unsigned(lambda _, policy: policy.update(maxApprovalDays=3650)), "E_POLICY_UNTRUSTED"),
    "one-blank": (
        lambda realm, forge: forge.replaced.update({POLICY_FILE: text_of(forge.policy) + " "}),
        "E_POLICY_UNTRUSTED",
    ),
    "policy-by-himself": (_signed_by("policy", "mallory"), "E_SIG_THRESHOLD"),
    "policy-by-one-owner": (_signed_by("policy", "alice", "mallory"), "E_SIG_THRESHOLD"),
    "policy-by-the-reconciler": (_signed_by("policy", "alice", "order"), "E_SIG_THRESHOLD"),
    "policy-by-the-second-key-of-one": (_signed_by("policy", "alice", "alice-2"), "E_SIG_THRESHOLD"),
    "policy-unsigned": (_signed_by("policy"), "E_SIG_MISSING"),
    "targets-by-one-owner": (_signed_by("targets", "alice", "mallory"), "E_SIG_THRESHOLD"),
    "delegated-to-himself": (_delegated_to_himself, "E_SIG_THRESHOLD"),
}


@cases(UNTRUSTED)
def test_a27_agent_a_policy_that_nobody_signed(realm: Realm, attack: Attack, code: str) -> None:
    at_the_agent(realm, attack, code)


@cases(UNTRUSTED)
def test_a27_cli_reconciler_a_policy_that_nobody_signed(realm: Realm, attack: Attack, code: str) -> None:
    in_a_commit(realm, attack, code)


def test_a18_the_pinned_root_itself_must_be_sound(realm: Realm) -> None:
    """The root that a device or a person starts from is looked at as every other one is."""
    forge = realm.forge()
    forge.signed["root"]["roles"]["root"]["threshold"] = True
    with pytest.raises(Refusal) as found:
        TrustedMetadata.bootstrap(forge.files()["1.root.json"])
    assert found.value.code == "E_POLICY_INVALID"
