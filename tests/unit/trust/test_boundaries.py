"""The edges of the verifier's checks, one by one: found by changing them and seeing no test fail."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey

from fwctl.trust.repository import key_object
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Leaf, Lock, Proof
from fwctl_agent.protocol.statements import APPROVAL, ORDER, Approval, LateJoiners, RunningImage
from fwctl_agent.trust.approvals import CLOCK_TOLERANCE, tally, verify_release
from fwctl_agent.trust.envelope import Sealed, seal
from fwctl_agent.trust.keys import load_key, vet
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.verifier import MAX_ORDER_LIFE, judge_follow_up, open_order
from tests.support.signing import ENV, MODEL, NOW, Fleet, image_of
from tests.unit.trust.test_policy import parse, refused, sample
from tests.unit.trust.test_verifier import CONTEXT, DEVICE, SECOND, TIME, Case, two


def code_of(action: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(Refusal) as found:
        action(*arguments, **options)
    return found.value.code


# --- orders ---------------------------------------------------------------------------------------------------------


def test_an_order_is_opened_by_an_order_key_of_the_policy_only() -> None:
    case = Case()
    order, policy = case.order(), case.trusted_policy()
    found, key = open_order(case.fleet.sign_order(order), policy)
    assert (found, key) == (order, case.fleet.order.public_key.keyid)
    by_alice = seal(canonical.encode(order.to_wire()), ORDER, case.fleet.people["alice"])
    assert code_of(open_order, by_alice, policy) == "E_SIG_THRESHOLD"
    assert code_of(open_order, by_alice | {"payloadType": APPROVAL}, policy) == "E_SIG_TYPE"


def test_what_is_accepted_is_what_was_sent() -> None:
    case = Case()
    assert case.judge().order == case.order()


def test_an_install_order_is_no_follow_up() -> None:
    case = Case()
    options: dict[str, Any] = {"context": CONTEXT, "policy": case.trusted_policy(), "time": TIME, "release": None}
    assert code_of(judge_follow_up, case.request(), **options) == "E_SCHEMA"


def test_an_order_may_live_for_exactly_a_day() -> None:
    case = Case()
    case.changes = {"issued_at": NOW, "expires": NOW + MAX_ORDER_LIFE}
    case.judge()
    case.changes = {"issued_at": NOW, "expires": NOW + MAX_ORDER_LIFE + SECOND}
    case.refused("E_EXPIRED")


def test_an_order_may_be_ahead_by_exactly_the_tolerance() -> None:
    case = Case()
    ahead = NOW + CLOCK_TOLERANCE
    case.changes = {"issued_at": ahead, "expires": ahead + timedelta(hours=1)}
    case.judge()
    case.changes = {"issued_at": ahead + SECOND, "expires": ahead + timedelta(hours=1)}
    case.refused("E_CLOCK")


def test_the_first_release_counter_and_security_version_are_zero() -> None:
    case = Case()
    case.chain = [case.fleet.release(image_of("2.5.0"), release_counter=0, security_version=0)]
    case.judge()


def test_a_stop_on_the_way_may_have_security_version_zero() -> None:
    case = Case()
    case.chain = [
        case.fleet.release(image_of("2.4.0"), "2.4.0", security_version=0),
        case.fleet.release(image_of("2.5.0"), "2.5.0"),
    ]
    case.target = case.chain[0]
    case.judge()


def test_what_runs_may_be_installed_again_by_its_own_mandate() -> None:
    case = Case()
    running = RunningImage(case.release.digest, case.release.image, case.release.version, case.mandate().id)
    case.context = replace(CONTEXT, running=running)
    case.judge()


def test_a_late_joiner_may_be_given_another_build_of_the_version_it_runs() -> None:
    case = Case()
    first, second = (case.fleet.release(image_of(text), "2.5.0", release_counter=n) for n, text in enumerate("ab"))
    terms = {"late_joiners": LateJoiners(MODEL, ENV, 5), "releases": (first.digest, second.digest)}
    case.terms, case.target = terms, second
    case.changes = {"leaf": "", "proof": Proof(0, ())}
    running = RunningImage(first.digest, first.image, first.version, case.mandate().id)
    case.context = replace(CONTEXT, enrolled_at=NOW, running=running)
    case.judge()


def test_approvals_that_are_refused_for_different_reasons_miss_the_threshold() -> None:
    case = two()
    mandate = case.mandate()
    expired = case.fleet.approval(mandate, "alice", expires=NOW - SECOND)
    stranger = seal(
        Sealed.open(case.fleet.approval(mandate), APPROVAL).payload, APPROVAL, CryptoSigner.generate_ed25519()
    )
    case.approvals = [expired]
    case.refused("E_EXPIRED")
    case.approvals = [expired, stranger]
    case.refused("E_SIG_THRESHOLD")


# --- approvals ------------------------------------------------------------------------------------------------------


def ignored(fleet: Fleet, envelope: dict[str, Any]) -> str:
    """Return the code by which an approval does not count."""
    mandate = fleet.mandate(fleet.lock(fleet.release(image_of("x")), [DEVICE]))
    policy = fleet.trusted().policy
    assert policy is not None
    found, first = tally([envelope], mandate=mandate.id, policy=policy, now=NOW)
    assert (found.mandate, found.votes, first) == (mandate.id, (), None)
    return found.ignored[0].code


def test_each_reason_not_to_count_has_its_code() -> None:
    fleet = two().fleet
    mandate = fleet.mandate(fleet.lock(fleet.release(image_of("x")), [DEVICE]))
    good = Approval(mandate, 1, NOW, NOW + timedelta(days=1), "alice", "yes")

    def signed(approval: Approval, by: CryptoSigner) -> dict[str, Any]:
        return seal(canonical.encode(approval.to_wire()), APPROVAL, by)

    alice, bob = fleet.people["alice"], fleet.people["bob"]
    assert ignored(fleet, signed(good, CryptoSigner.generate_ed25519())) == "E_SIG_THRESHOLD"
    assert ignored(fleet, signed(good, bob)) == "E_SIG_THRESHOLD"
    assert ignored(fleet, signed(replace(good, mandate=replace(mandate, round=2)), alice)) == "E_APPROVAL_STALE"
    assert ignored(fleet, signed(replace(good, expires=NOW), alice)) == "E_EXPIRED"
    later = NOW + CLOCK_TOLERANCE + SECOND
    assert ignored(fleet, signed(replace(good, approved_at=later, expires=later + SECOND), alice)) == "E_EXPIRED"
    assert ignored(fleet, signed(replace(good, expires=NOW + timedelta(days=90, seconds=1)), alice)) == "E_EXPIRED"
    assert ignored(fleet, {"payload": 1}) == "E_SCHEMA"


def test_of_two_approvals_of_one_moment_the_first_counts() -> None:
    fleet = two().fleet
    mandate = fleet.mandate(fleet.lock(fleet.release(image_of("x")), [DEVICE]))
    policy = fleet.trusted().policy
    assert policy is not None
    both = [fleet.approval(mandate, meaning=meaning) for meaning in ("one", "two")]
    found, _ = tally(both, mandate=mandate.id, policy=policy, now=NOW)
    assert [vote.approval.meaning for vote in found.votes] == ["one"]


def test_a_release_that_was_never_signed_has_its_code() -> None:
    fleet = Fleet()
    policy = fleet.trusted().policy
    assert policy is not None
    assert code_of(verify_release, [], digest=canonical.digest(b"x"), policy=policy) == "E_SIG_MISSING"


# --- envelopes ------------------------------------------------------------------------------------------------------


def test_a_signature_has_at_most_1024_characters() -> None:
    def envelope(size: int) -> dict[str, Any]:
        sig = base64.b64encode(b"s" * size).decode()
        return {"payload": "e30=", "payloadType": ORDER, "signatures": [{"keyid": "k", "sig": sig}]}

    assert Sealed.open(envelope(768), ORDER).signatures == (("k", b"s" * 768),)
    assert code_of(Sealed.open, envelope(769), ORDER) == "E_SCHEMA"


@pytest.mark.parametrize("text", ["e30", "e30=\n", "e31=", "e3 0=", "é30=", "e30==", "=e30"])
def test_base64_has_one_spelling(text: str) -> None:
    envelope = {"payload": text, "payloadType": ORDER, "signatures": [{"keyid": "k", "sig": "c2ln"}]}
    assert code_of(Sealed.open, envelope, ORDER) == "E_SCHEMA"


# --- metadata -------------------------------------------------------------------------------------------------------


def test_a_bundle_need_not_repeat_the_root_that_is_trusted() -> None:
    fleet = Fleet()
    pinned = TrustedMetadata.bootstrap(fleet.files()["1.root.json"])
    rootless = {name: text for name, text in fleet.bundle().items() if name != "1.root.json"}
    assert pinned.advance(rootless, now=NOW, fresh=True).versions.root == 1


@pytest.mark.parametrize("roots", [[], ["1.root.json", "2.root.json"]])
def test_stored_trust_has_one_root(roots: list[str]) -> None:
    fleet = Fleet()
    files = {name: text for name, text in fleet.bundle().items() if name != "1.root.json"}
    root = fleet.files()["1.root.json"]
    assert code_of(TrustedMetadata.restore, files | dict.fromkeys(roots, root)) == "E_SCHEMA"


# --- the policy -----------------------------------------------------------------------------------------------------


def test_lists_of_the_policy_end_at_their_limits() -> None:
    policy = sample()
    assert parse(policy | {"algorithms": ["ed25519", "ecdsa-sha2-nistp256"] * 4})
    refused(policy | {"algorithms": ["ed25519"] * 9}, "E_POLICY_INVALID")
    crowd: dict[str, Any] = {f"p{number}": {"keys": []} for number in range(1001 - len(policy["people"]))}
    refused(policy | {"people": policy["people"] | crowd}, "E_POLICY_INVALID")
    crowd.popitem()
    assert len(parse(policy | {"people": policy["people"] | crowd}).people) == 1000
    key = policy["people"]["alice"]["keys"][0]
    refused(policy | {"people": policy["people"] | {"carol": {"keys": [key] * 9}}}, "E_POLICY_INVALID")
    refused(policy | {"people": policy["people"] | {"carol": {"keys": [key] * 8}}}, "E_KEY_DUPLICATE")


@pytest.mark.parametrize(("port", "good"), [(0, False), (1, True), (65535, True), (65536, False)])
def test_ports_of_storage_hosts(port: int, good: bool) -> None:
    policy = sample()
    policy["storage"][0]["port"] = port
    if good:
        assert parse(policy).storage[0].port == port
    else:
        refused(policy, "E_POLICY_INVALID")


def test_a_rule_names_a_group_by_a_word() -> None:
    policy = sample()
    policy["groups"]["two words"] = policy["groups"]["owners"]
    policy["approvalRules"][0]["group"] = "two words"
    refused(policy, "E_POLICY_INVALID")


def test_a_policy_without_order_keys_has_its_code() -> None:
    refused(sample() | {"orderKeys": []}, "E_POLICY_INVALID")


def test_a_lock_of_one_line_is_proven_by_an_empty_proof() -> None:
    case = Case()
    case.lock = Lock.of([Leaf(DEVICE, 1, (case.release.digest,))])
    case.judge()
    case.changes = {"proof": Proof(0, ("00" * 32,))}
    case.refused("E_NOT_APPROVED")
    assert isinstance(case.trusted_policy(), Policy)


STORE = {"scheme": "https", "host": "images.example.com", "port": 443, "cidr": None}
RULE = {"paths": "rollouts/**", "group": "owners", "threshold": 1, "stage": 1}
ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize(
    ("name", "limit", "entry"),
    [
        ("approvalRules", 500, RULE),
        ("withdrawn", 10000, canonical.digest(b"x")),
        ("guardRails", 1000, canonical.digest(b"x")),
        ("revoked", 10000, canonical.digest(b"x")),
        ("storage", 100, STORE),
        ("gitSigners", 1000, "alice ssh-ed25519 AAAA"),
        ("gitKeys", 200, ARMOUR),
    ],
)
def test_lists_of_the_policy_are_read_to_their_limit(name: str, limit: int, entry: Any) -> None:
    assert parse(sample() | {name: [entry] * limit})
    refused(sample() | {name: [entry] * (limit + 1)}, "E_POLICY_INVALID")


@pytest.mark.parametrize(
    ("name", "limit", "entry"),
    [("groups", 200, []), ("releaseSigners", 1000, {"group": "owners", "threshold": 1}), ("floors", 1000, 1)],
)
def test_objects_of_the_policy_are_read_to_their_limit(name: str, limit: int, entry: Any) -> None:
    policy = sample()
    policy[name] |= {f"n{number}": entry for number in range(limit - len(policy[name]))}
    assert parse(policy)
    policy[name]["more"] = entry
    refused(policy, "E_POLICY_INVALID")


def test_groups_and_order_keys_are_read_to_their_limit() -> None:
    policy = sample()
    policy["groups"]["crowd"] = ["alice"] * 1000
    assert parse(policy)
    policy["groups"]["crowd"].append("alice")
    refused(policy, "E_POLICY_INVALID")
    keys = [key_object(CryptoSigner.generate_ed25519().public_key) for _ in range(17)]
    assert len(parse(sample() | {"orderKeys": keys[:16]}).order_keys) == 16
    refused(sample() | {"orderKeys": keys}, "E_POLICY_INVALID")


@pytest.mark.parametrize("public", ["zz", "00" * 31, "00" * 33, "", "é" * 64, "0" * 63])
def test_what_is_no_ed25519_key_has_its_code(public: str) -> None:
    value = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}
    assert code_of(load_key, value) == "E_KEY_ALG"


def test_an_ed25519_key_that_no_library_reads_has_its_code() -> None:
    key = SSlibKey("k", "ed25519", "ed25519", {"public": "00"})
    assert code_of(vet, key) == "E_KEY_ALG"
