"""Each obligation of the verifier, by the row of THREATS it closes. Every statement is really signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.trust.signing import sign_release
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Leaf, Lock, Proof
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import (
    APPROVAL,
    FOLLOW_UPS,
    ORDER,
    FollowVerb,
    InstallOrder,
    LateJoiners,
    Mandate,
    Release,
    RunningImage,
)
from fwctl_agent.protocol.versions import VersionRange
from fwctl_agent.trust.envelope import seal
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.verifier import (
    AcceptedFollowUp,
    AcceptedInstall,
    DeviceContext,
    TrustedTime,
    judge_follow_up,
    judge_install,
)
from tests.support.signing import ENV, HARDWARE, MODEL, NOW, REPO, Fleet, image_of

DEVICE = "device-001"
SECOND = timedelta(seconds=1)
FACTORY = RunningImage(None, canonical.digest(b"factory"), "1.0.0", None)
CONTEXT = DeviceContext(
    id=DEVICE,
    repo_id=REPO,
    model=MODEL,
    hardware=HARDWARE,
    env=ENV,
    enrolled_at=NOW - timedelta(days=30),
    running=FACTORY,
    floor=0,
    release_counters={},
    epochs={},
    spent=frozenset(),
    marks={},
    running_approved_at=None,
)
TIME = TrustedTime(NOW, suspect=False)


def owners(threshold: int, stage: int = 1) -> dict[str, Any]:
    return {"paths": "rollouts/**", "group": "owners", "threshold": threshold, "stage": stage}


class Case:
    """One install on one device; a test changes one thing and sees who refuses."""

    def __init__(self, **fleet: Any) -> None:
        self.fleet = Fleet(**fleet)
        self.context = CONTEXT
        self.time = TIME
        self.chain = [self.fleet.release(image_of("2.5.0"))]
        self.stage = 1
        self.changes: dict[str, Any] = {}
        self.terms: dict[str, Any] = {}
        self.lock: Lock | None = None
        self.approvals: list[dict[str, Any]] | None = None
        self.releases: list[dict[str, Any]] | None = None
        self.target: Release | None = None

    def policy(self, **changes: Any) -> Case:
        self.fleet.policy |= changes
        return self

    @property
    def release(self) -> Release:
        return self.target or self.chain[-1]

    def locked(self) -> Lock:
        leaf = Leaf(DEVICE, self.stage, tuple(one.digest for one in self.chain))
        others = (Leaf(f"device-{number:03}", 1, (self.chain[-1].digest,)) for number in (0, 2, 3, 4))
        return self.lock or Lock.of((leaf, *others))

    def mandate(self) -> Mandate:
        return self.fleet.mandate(self.locked(), **self.terms)

    def order(self) -> InstallOrder:
        order = self.fleet.install(DEVICE, self.release, self.locked(), self.mandate())
        return replace(order, **self.changes)

    def request(self) -> OrderRequest:
        approvals = [self.fleet.approval(self.mandate())] if self.approvals is None else self.approvals
        releases = self.fleet.signed_release(self.release) if self.releases is None else self.releases
        return self.fleet.request(self.order(), approvals=approvals, releases=releases, trust={})

    def trusted_policy(self) -> Policy:
        policy = self.fleet.trusted().policy
        assert policy is not None
        return policy

    def judge(self, request: OrderRequest | None = None) -> AcceptedInstall:
        request = request or self.request()
        return judge_install(request, context=self.context, policy=self.trusted_policy(), time=self.time)

    def refused(self, code: str, match: str | None = None, request: OrderRequest | None = None) -> Refusal:
        with pytest.raises(Refusal, match=match) as found:
            self.judge(request)
        assert found.value.code == code, found.value
        return found.value


def two() -> Case:
    people = {"alice": CryptoSigner.generate_ed25519(), "bob": CryptoSigner.generate_ed25519()}
    return Case(people=people)


def test_a_good_order_is_accepted_with_all_that_the_device_needs() -> None:
    case = Case()
    accepted = case.judge()
    assert accepted.release == case.release
    assert accepted.mandate == case.mandate()
    assert accepted.approvers == ("alice",)
    assert accepted.approved_at == NOW - timedelta(minutes=5)
    assert accepted.order_key == case.fleet.order.public_key.keyid


# --- 1: who gives the order, and to whom -----------------------------------------------------------------------


def test_a01_order_without_signature() -> None:
    case = Case()
    request = case.request()
    case.refused("E_SIG_MISSING", request=replace(request, order=request.order | {"signatures": []}))


def test_order_by_a_key_that_is_no_order_key() -> None:
    case = Case()
    order = seal(canonical.encode(case.order().to_wire()), ORDER, case.fleet.people["alice"])
    case.refused("E_SIG_THRESHOLD", "order key", replace(case.request(), order=order))


def test_order_that_names_the_key_id_of_another() -> None:
    case = Case()
    request = case.request()
    order = seal(canonical.encode(case.order().to_wire()), ORDER, CryptoSigner.generate_ed25519())
    order["signatures"][0]["keyid"] = case.fleet.order.public_key.keyid
    case.refused("E_SIG_THRESHOLD", request=replace(request, order=order))


def test_a09_approval_presented_as_order() -> None:
    case = Case()
    request = case.request()
    case.refused("E_SIG_TYPE", request=replace(request, order=request.approvals[0]))
    edited = request.approvals[0] | {"payloadType": ORDER}
    case.refused("E_SIG_THRESHOLD", request=replace(request, order=edited))


def test_a09_order_key_signs_approval_bytes_as_an_order() -> None:
    case = Case()
    approval = case.fleet.approval(case.mandate())
    payload = seal(b"{}", ORDER, case.fleet.order) | {"payload": approval["payload"]}
    case.refused("E_SIG_THRESHOLD", request=replace(case.request(), order=payload))


def test_a21_order_of_another_device() -> None:
    case = Case()
    case.changes = {"device": "device-002"}
    case.refused("E_ORDER_REPLAY", "is for device-002")


def test_order_id_that_is_not_the_digest_of_the_content() -> None:
    case = Case()
    wire = case.order().to_wire() | {"id": canonical.digest(b"other")}
    order = seal(canonical.encode(wire), ORDER, case.fleet.order)
    case.refused("E_SCHEMA", "digest", replace(case.request(), order=order))


def test_statement_that_is_not_in_canonical_form() -> None:
    case = Case()
    spaced = canonical.encode(case.order().to_wire()).replace(b'":', b'": ', 1)
    order = seal(spaced, ORDER, case.fleet.order)
    case.refused("E_SCHEMA", "canonical", replace(case.request(), order=order))


def test_a_follow_up_is_no_install_and_the_other_way_round() -> None:
    case = Case()
    case.refused("E_SCHEMA", "not an install", case.fleet.follow_up("confirm", case.order()))
    with pytest.raises(Refusal, match="judged as one"):
        judge_follow_up(case.request(), context=CONTEXT, policy=case.trusted_policy(), time=TIME, release=case.release)


# --- 2: life of the order ----------------------------------------------------------------------------------------


def test_a14_order_expired_by_a_second() -> None:
    case = Case()
    case.changes = {"issued_at": NOW - timedelta(hours=1), "expires": NOW}
    case.refused("E_EXPIRED", "the order expired")
    case.changes = {"issued_at": NOW - timedelta(hours=1), "expires": NOW + SECOND}
    case.judge()


def test_a14_order_valid_for_more_than_a_day() -> None:
    case = Case()
    case.changes = {"expires": NOW + timedelta(hours=24, seconds=1)}
    case.refused("E_EXPIRED", "24 hours")


def test_a46_order_from_the_future_unless_the_clock_is_only_a_lower_bound() -> None:
    case = Case()
    later = NOW + timedelta(days=9)
    case.changes = {"issued_at": later, "expires": later + timedelta(hours=1)}
    case.refused("E_CLOCK", "future")
    case.time = TrustedTime(NOW, suspect=True)
    case.judge()


# --- 3: epoch ------------------------------------------------------------------------------------------------------


def test_a21_epoch_below_the_highest_seen() -> None:
    case = Case(epoch=4)
    keyid = case.fleet.order.public_key.keyid
    case.context = replace(CONTEXT, epochs={keyid: 5})
    case.refused("E_ORDER_REPLAY", "epoch")
    case.context = replace(CONTEXT, epochs={keyid: 4, "another": 99})
    case.judge()


# --- 4: approvals ---------------------------------------------------------------------------------------------------


def test_a23_stolen_order_key_without_any_approval() -> None:
    case = Case()
    case.approvals = []
    case.refused("E_SIG_MISSING", "no approval")


def test_a02_k_minus_one_and_junk() -> None:
    case = two().policy(approvalRules=[owners(2)])
    good = case.fleet.approval(case.mandate())
    stranger = CryptoSigner.generate_ed25519()
    unknown = seal(b"{}", APPROVAL, stranger)
    garbage = good | {"signatures": [{"keyid": "x", "sig": "AAAA"}]}
    case.approvals = [good, unknown, garbage, {"nonsense": 1}]
    refusal = case.refused("E_SIG_THRESHOLD", "1 of 2 approvals by owners: alice")
    assert "ignored: unknown key" in refusal.message
    case.approvals.append(case.fleet.approval(case.mandate(), "bob"))
    assert case.judge().approvers == ("alice", "bob")


def test_a14_approval_expired_by_a_second() -> None:
    case = Case()
    case.approvals = [case.fleet.approval(case.mandate(), expires=NOW)]
    case.refused("E_EXPIRED")
    case.approvals = [case.fleet.approval(case.mandate(), expires=NOW + SECOND)]
    case.judge()


def test_a25_approval_of_a_changed_manifest_lock_plan_or_round() -> None:
    other = canonical.digest(b"one byte changed")
    for change in ({"manifest": other}, {"lock": other}, {"plan": other}, {"round": 2}, {"rollback": "forbidden"}):
        case = Case()
        case.approvals = [case.fleet.approval(replace(case.mandate(), **change))]
        case.refused("E_APPROVAL_STALE")


@pytest.mark.parametrize("change", [{"repo_id": "other"}, {"env": "prod"}])
def test_a26_mandate_of_another_repository_or_environment(change: dict[str, Any]) -> None:
    case = Case()
    case.terms = change
    case.refused("E_APPROVAL_SCOPE")


def test_a26_device_of_another_repository_than_the_policy() -> None:
    case = Case()
    case.terms = {"repo_id": "other"}
    case.context = replace(CONTEXT, repo_id="other")
    case.refused("E_APPROVAL_SCOPE")
    case.terms = {}
    case.refused("E_APPROVAL_SCOPE")


def test_no_rule_for_the_path_means_nobody_may_approve() -> None:
    case = Case().policy(approvalRules=[owners(1) | {"paths": "rollouts/prod/**"}])
    case.refused("E_NOT_APPROVED", "no approval rule")


def test_all_rules_that_match_must_hold() -> None:
    case = two().policy(approvalRules=[owners(1), owners(2) | {"paths": "rollouts/*/sensor-*.yaml"}])
    case.refused("E_SIG_THRESHOLD", "1 of 2")


def test_a23_leaf_of_a_later_stage_than_approved() -> None:
    case = Case()
    case.stage = 2
    case.refused("E_SIG_THRESHOLD", "0 of 1")
    case.approvals = [case.fleet.approval(case.mandate(), stage=2)]
    case.judge()


def test_a_rule_from_stage_two_on_asks_for_more_people_there() -> None:
    case = two().policy(approvalRules=[owners(1), owners(2, stage=2)])
    case.judge()
    case.stage = 2
    case.approvals = [case.fleet.approval(case.mandate(), stage=2)]
    case.refused("E_SIG_THRESHOLD", "1 of 2")


def test_a46_approval_dated_in_the_future() -> None:
    case = Case()
    later: dict[str, Any] = {"approved_at": NOW + timedelta(hours=1), "expires": NOW + timedelta(days=1)}
    case.approvals = [case.fleet.approval(case.mandate(), **later)]
    case.refused("E_EXPIRED", "future")
    case.time = TrustedTime(NOW, suspect=True)
    case.judge()


# --- 5: replay ------------------------------------------------------------------------------------------------------


def test_a21_spent_mandate_until_a_new_round() -> None:
    case = Case()
    case.context = replace(CONTEXT, spent=frozenset({case.mandate().id}))
    case.refused("E_ORDER_REPLAY", "taken back")
    case.terms = {"round": 2}
    case.judge()


def test_a21_approvals_older_than_those_of_the_running_firmware() -> None:
    case = Case()
    newer = NOW - timedelta(minutes=5) + SECOND
    running = RunningImage(canonical.digest(b"r"), canonical.digest(b"i"), "3.0.0", canonical.digest(b"m"))
    case.context = replace(CONTEXT, running=running, running_approved_at=newer)
    case.refused("E_ORDER_REPLAY", "older")
    case.context = replace(case.context, running_approved_at=newer - SECOND)
    case.judge()


def test_the_running_mandate_may_go_on_with_older_approvals() -> None:
    case = Case()
    running = replace(FACTORY, mandate=case.mandate().id)
    case.context = replace(CONTEXT, running=running, running_approved_at=NOW)
    case.judge()


def test_a21_the_oldest_counted_approval_decides() -> None:
    case = two().policy(approvalRules=[owners(2)])
    old = case.fleet.approval(case.mandate(), "bob", approved_at=NOW - timedelta(days=3))
    case.approvals = [case.fleet.approval(case.mandate()), old]
    assert case.judge().approved_at == NOW - timedelta(days=3)
    case.context = replace(CONTEXT, running_approved_at=NOW - timedelta(days=2))
    case.refused("E_ORDER_REPLAY", "older")


def test_an_approval_that_no_quorum_asks_for_does_not_date_the_set() -> None:
    case = two().policy(groups={"owners": ["alice"]})
    old = case.fleet.approval(case.mandate(), "bob", approved_at=NOW - timedelta(days=3))
    case.approvals = [case.fleet.approval(case.mandate()), old]
    accepted = case.judge()
    assert (accepted.approvers, accepted.approved_at) == (("alice",), NOW - timedelta(minutes=5))


# --- 6: release -----------------------------------------------------------------------------------------------------


def test_release_that_the_mandate_does_not_name() -> None:
    case = Case()
    case.terms = {"releases": (canonical.digest(b"other"),)}
    case.refused("E_NOT_APPROVED", "do not name")


def test_a01_release_without_signature() -> None:
    case = Case()
    signed = case.fleet.signed_release(case.release)[0]
    case.releases = [signed | {"signatures": []}]
    case.refused("E_SIG_MISSING")
    case.releases = []
    case.refused("E_SIG_MISSING")


def test_a02_release_with_too_few_signatures_says_whose() -> None:
    case = two().policy(releaseSigners={"*": {"group": "owners", "threshold": 2}})
    stranger = sign_release(case.release, CryptoSigner.generate_ed25519())
    case.releases = [*case.fleet.signed_release(case.release), stranger]
    refusal = case.refused("E_SIG_THRESHOLD", "1 of 2 signatures by owners: alice")
    assert "ignored: unknown key" in refusal.message
    case.releases = list(case.fleet.signed_release(case.release, ("alice", "bob")))
    case.judge()


def test_a22_withdrawn_release() -> None:
    case = Case()
    case.policy(withdrawn=[case.release.digest])
    case.refused("E_WITHDRAWN")


def test_model_that_nobody_may_release() -> None:
    case = Case().policy(releaseSigners={"gateway": {"group": "owners", "threshold": 1}})
    case.refused("E_SIG_THRESHOLD", "names nobody")


# --- 7: coverage ----------------------------------------------------------------------------------------------------


def with_proof(case: Case, change: Callable[[Proof], Proof]) -> None:
    case.changes = {"proof": change(case.order().proof)}


def test_a23_device_not_in_the_lock() -> None:
    case = Case()
    case.lock = Lock.of(leaf for leaf in case.locked().leaves if leaf.device != DEVICE)
    case.refused("E_NOT_APPROVED", "lock line is that of")
    case.changes = {"leaf": str(Leaf(DEVICE, 1, (case.release.digest,)))}
    case.refused("E_NOT_APPROVED", "proof")


def test_a23_wrong_proof() -> None:
    changes: tuple[Callable[[Proof], Proof], ...] = (
        lambda proof: replace(proof, index=proof.index + 1),
        lambda proof: replace(proof, index=99),
        lambda proof: replace(proof, hashes=proof.hashes[:-1]),
        lambda proof: replace(proof, hashes=(*proof.hashes, "0" * 64)),
        lambda proof: replace(proof, hashes=("0" * 64, *proof.hashes[1:])),
    )
    for change in changes:
        case = Case()
        with_proof(case, change)
        case.refused("E_NOT_APPROVED", "proof")


def test_a23_release_of_the_mandate_but_not_of_this_leaf() -> None:
    case = Case()
    stray = case.fleet.release(image_of("9.9.9"), "9.9.9")
    case.terms = {"releases": (case.release.digest, stray.digest)}
    case.target = stray
    case.refused("E_NOT_APPROVED", "other releases")


def test_a23_no_leaf_and_no_late_joiner_terms() -> None:
    case = Case()
    case.changes = {"leaf": "", "proof": Proof(0, ())}
    case.refused("E_NOT_APPROVED", "late-joiner")


def late(**context: Any) -> Case:
    case = Case()
    case.terms = {"late_joiners": LateJoiners(MODEL, ENV, 5)}
    case.changes = {"leaf": "", "proof": Proof(0, ())}
    case.context = replace(CONTEXT, enrolled_at=NOW, **context)
    return case


def test_late_joiner_enrolled_after_the_approval() -> None:
    case = late()
    case.judge()
    approved_at = NOW - timedelta(minutes=5)
    case.context = replace(case.context, enrolled_at=approved_at)
    case.refused("E_NOT_APPROVED", "late-joiner")
    case.context = replace(case.context, enrolled_at=approved_at + SECOND)
    case.judge()


def test_a_late_joiner_waits_for_the_last_stage() -> None:
    """Whoever has only the first stage approved cannot give it to devices that the lock does not name."""
    case = late()
    case.terms = {"late_joiners": LateJoiners(MODEL, ENV, 5, 2)}
    case.refused("E_SIG_THRESHOLD")
    assert LateJoiners(MODEL, ENV, 5).to_wire() == {"model": MODEL, "env": ENV, "max": 5}
    assert case.terms["late_joiners"].to_wire()["stage"] == 2


@pytest.mark.parametrize("terms", [LateJoiners("gateway-v1", ENV, 5), LateJoiners(MODEL, "prod", 5)])
def test_late_joiner_of_another_model_or_environment(terms: LateJoiners) -> None:
    case = late()
    case.terms = {"late_joiners": terms}
    case.refused("E_NOT_APPROVED", "late-joiner")


def test_a22_late_joiner_has_no_stops_below_the_floor() -> None:
    case = late().policy(floors={MODEL: 2})
    releases = [case.fleet.release(image_of(v), v, security_version=s) for v, s in (("2.4.0", 1), ("2.5.0", 2))]
    for chain in (releases, releases[::-1]):
        case.terms |= {"releases": tuple(release.digest for release in chain)}
        case.target = releases[0]
        case.refused("E_ROLLBACK_FLOOR")
        case.target = releases[1]
        case.judge()


def test_a21_late_joiner_never_goes_back_within_a_mandate() -> None:
    case = late()
    old, new = case.fleet.release(image_of("2.4.0"), "2.4.0"), case.release
    case.terms |= {"releases": (old.digest, new.digest)}
    running = RunningImage(new.digest, new.image, new.version, case.mandate().id)
    case.context = replace(case.context, running=running)
    case.target = old
    case.refused("E_ORDER_REPLAY", "late joiner")
    case.context = replace(case.context, running=replace(running, mandate=None))
    case.judge()


# --- 8: fit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"model": "gateway-v1"}, {"hardware": "rev-b"}])
def test_a20_image_for_other_hardware(change: dict[str, Any]) -> None:
    case = Case()
    case.context = replace(CONTEXT, **change)
    case.refused("E_HW_MISMATCH")


def test_precursor() -> None:
    case = Case()
    case.chain = [case.fleet.release(image_of("x"), requires_from=VersionRange("2.0.0", "2.5.0"))]
    case.refused("E_PRECURSOR", "1.0.0")
    case.context = replace(CONTEXT, running=replace(FACTORY, version="2.4.9"))
    case.judge()


def test_release_counter_never_falls() -> None:
    case = Case()
    case.context = replace(CONTEXT, release_counters={"2.5.0": 2, "9.0.0": 9})
    case.refused("E_ORDER_REPLAY", "newer release")
    case.context = replace(CONTEXT, release_counters={"2.5.0": 1})
    case.judge()


def stops(case: Case) -> Case:
    case.chain = [
        case.fleet.release(image_of("2.4.0"), "2.4.0", security_version=1),
        case.fleet.release(image_of("2.5.0"), "2.5.0", security_version=2),
    ]
    return case


def test_a_device_moves_only_rightward_along_its_chain() -> None:
    case = stops(Case())
    first, last = case.chain
    case.context = replace(CONTEXT, running=RunningImage(last.digest, last.image, "2.5.0", case.mandate().id))
    case.target = first
    case.refused("E_ORDER_REPLAY", "forward")
    case.context = replace(CONTEXT, running=RunningImage(first.digest, first.image, "2.4.0", case.mandate().id))
    case.target = last
    case.judge()


def test_rightward_may_be_an_older_version_when_the_chain_says_so() -> None:
    case = stops(Case())
    case.chain.reverse()
    newer, older = case.chain
    case.context = replace(CONTEXT, running=RunningImage(newer.digest, newer.image, "2.5.0", case.mandate().id))
    assert case.judge().release == older


def test_a22_policy_floor_spares_only_stops_on_the_way() -> None:
    case = stops(Case().policy(floors={MODEL: 2}))
    case.target = case.chain[0]
    case.judge()
    case.chain = case.chain[:1]
    case.refused("E_ROLLBACK_FLOOR")


def test_a22_a_release_twice_in_the_chain_is_no_stop_on_the_way() -> None:
    case = stops(Case().policy(floors={MODEL: 2}))
    case.chain = [case.chain[0], case.chain[0]]
    case.refused("E_LOCK_INVALID", "twice")


def test_a22_stored_floor_spares_nothing() -> None:
    case = stops(Case())
    case.target = case.chain[0]
    case.context = replace(CONTEXT, floor=2)
    case.refused("E_ROLLBACK_FLOOR")
    case.target = case.chain[1]
    case.judge()


# --- 9: attempts ----------------------------------------------------------------------------------------------------


def test_a21_attempt_that_is_over() -> None:
    case = Case()
    case.context = replace(CONTEXT, marks={(case.mandate().id, "install"): 1, (case.mandate().id, "confirm"): 7})
    case.refused("E_ORDER_REPLAY", "attempt 1")
    case.changes = {"attempt": 2}
    case.judge()


# --- the other verbs --------------------------------------------------------------------------------------------------


def judge_verb(case: Case, verb: FollowVerb, attempt: int = 1, **changes: Any) -> AcceptedFollowUp:
    request = case.fleet.follow_up(verb, case.order(), attempt)
    if changes:
        order = replace(judge_verb(case, verb, attempt).order, **changes)
        request = replace(request, order=case.fleet.sign_order(order))
    return judge_follow_up(
        request, context=case.context, policy=case.trusted_policy(), time=case.time, release=case.release
    )


def verb_refused(case: Case, verb: FollowVerb, code: str, **changes: Any) -> None:
    with pytest.raises(Refusal) as found:
        judge_verb(case, verb, **changes)
    assert found.value.code == code


@pytest.mark.parametrize("verb", FOLLOW_UPS)
def test_every_verb_is_accepted_and_names_its_install_order(verb: FollowVerb) -> None:
    case = Case()
    accepted = judge_verb(case, verb)
    assert accepted.order.refers_to == case.order().id
    assert accepted.order_key == case.fleet.order.public_key.keyid


@pytest.mark.parametrize("verb", FOLLOW_UPS)
def test_a21_every_verb_looks_at_device_key_epoch_and_attempt(verb: FollowVerb) -> None:
    case = Case()
    verb_refused(case, verb, "E_ORDER_REPLAY", device="device-002")
    case.context = replace(CONTEXT, epochs={case.fleet.order.public_key.keyid: 2})
    verb_refused(case, verb, "E_ORDER_REPLAY")
    case.context = replace(CONTEXT, marks={(case.mandate().id, verb): 1})
    verb_refused(case, verb, "E_ORDER_REPLAY")
    case.context = CONTEXT
    case.fleet.trusted()
    case.fleet.order = CryptoSigner.generate_ed25519()
    verb_refused(case, verb, "E_SIG_THRESHOLD")


@pytest.mark.parametrize("verb", ["confirm", "revert", "cancel"])
def test_nothing_that_happened_since_blocks_confirm_revert_or_cancel(verb: FollowVerb) -> None:
    case = Case()
    case.policy(withdrawn=[case.release.digest], floors={MODEL: 9})
    case.time = TrustedTime(NOW + timedelta(days=4000), suspect=False)
    case.context = replace(CONTEXT, floor=9, spent=frozenset({case.mandate().id}))
    judge_verb(case, verb)
    judge_verb(case, verb, issued_at=NOW, expires=NOW + timedelta(days=300))


def test_a14_activate_looks_at_expiry() -> None:
    case = Case()
    case.time = TrustedTime(NOW + timedelta(hours=12), suspect=False)
    verb_refused(case, "activate", "E_EXPIRED")


def test_a22_activate_looks_at_withdrawal_and_floors() -> None:
    case = Case()
    case.policy(withdrawn=[case.release.digest])
    verb_refused(case, "activate", "E_WITHDRAWN")
    case = Case().policy(floors={MODEL: 2})
    verb_refused(case, "activate", "E_ROLLBACK_FLOOR")
    case = Case()
    case.context = replace(CONTEXT, floor=2)
    verb_refused(case, "activate", "E_ROLLBACK_FLOOR")


def test_a21_activate_of_a_spent_mandate() -> None:
    case = Case()
    case.context = replace(CONTEXT, spent=frozenset({case.mandate().id}))
    verb_refused(case, "activate", "E_ORDER_REPLAY")
