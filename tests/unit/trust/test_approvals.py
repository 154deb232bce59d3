"""Who counts: people and key material, for exactly this mandate, while it is valid."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import APPROVAL, Approval, Mandate
from fwctl_agent.trust.approvals import CLOCK_TOLERANCE, Tally, tally, verify_release
from fwctl_agent.trust.envelope import seal
from fwctl_agent.trust.policy import Policy, Quorum
from tests.support.signing import NOW, Fleet, image_of

SECOND = timedelta(seconds=1)
PATH = "rollouts/dev/sensor-2.5.0.yaml"


def fleet(*, threshold: int = 2, **policy: Any) -> Fleet:
    people = {name: CryptoSigner.generate_ed25519() for name in ("alice", "bob", "carol")}
    rules = [{"paths": "rollouts/**", "group": "owners", "threshold": threshold, "stage": 1}]
    return Fleet(people=people, policy={"approvalRules": rules} | policy)


def policy_of(one: Fleet) -> Policy:
    policy = one.trusted().policy
    assert policy is not None
    return policy


def mandate_of(one: Fleet) -> Mandate:
    return one.mandate(one.lock(one.release(image_of("x")), ["device-001"]))


def judged(one: Fleet, *envelopes: dict[str, Any], now: datetime = NOW) -> Tally:
    return tally(envelopes, mandate=mandate_of(one).id, policy=policy_of(one), now=now)[0]


def test_two_people_are_two() -> None:
    one = fleet()
    found = judged(one, *(one.approval(mandate_of(one), by) for by in ("bob", "alice")))
    assert [vote.person for vote in found.approved(policy_of(one), PATH, 1)] == ["alice", "bob"]
    assert found.missing(policy_of(one), PATH, 1) == ()


def test_a04_one_person_with_two_keys_is_one() -> None:
    one = fleet()
    second = CryptoSigner.generate_ed25519()
    extra = {"keytype": "ed25519", "scheme": "ed25519", "keyval": dict(second.public_key.keyval)}
    one.policy["people"]["alice"]["keys"].append(extra)
    approval = Approval(mandate_of(one), 1, NOW, NOW + timedelta(days=1), "alice", "yes")
    other = seal(canonical.encode(approval.to_wire()), APPROVAL, second)
    found = judged(one, one.approval(mandate_of(one)), other)
    assert found.missing(policy_of(one), PATH, 1) == ((Quorum("owners", 2), ("bob", "carol")),)
    with pytest.raises(Refusal, match=r"^E_SIG_THRESHOLD: 1 of 2 approvals by owners: alice"):
        found.approved(policy_of(one), PATH, 1)


def test_a04_one_approval_sent_twice_is_one() -> None:
    one = fleet()
    approval = one.approval(mandate_of(one))
    with pytest.raises(Refusal, match="1 of 2"):
        judged(one, approval, approval).approved(policy_of(one), PATH, 1)


def test_a24_key_revoked_after_approving() -> None:
    one = fleet()
    approvals = [one.approval(mandate_of(one), by) for by in ("alice", "bob")]
    judged(one, *approvals).approved(policy_of(one), PATH, 1)
    later = Fleet(people=dict(one.people), order=one.order, policy=one.policy)
    later.policy["people"]["bob"]["keys"] = []
    with pytest.raises(Refusal, match=r"^E_SIG_THRESHOLD: ") as found:
        judged(later, *approvals).approved(policy_of(later), PATH, 1)
    assert "not signed by a key of anybody" in found.value.message


def test_nobody_signs_for_another() -> None:
    one = fleet()
    approval = Approval(mandate_of(one), 1, NOW, NOW + timedelta(days=1), "bob", "yes")
    forged = seal(canonical.encode(approval.to_wire()), APPROVAL, one.people["alice"])
    found = judged(one, forged)
    assert found.votes == ()
    assert "says bob, but is signed by alice" in found.ignored[0].why


@pytest.mark.parametrize("change", ["manifest", "lock", "lock_root", "plan"])
def test_a25_every_part_of_the_mandate_binds(change: str) -> None:
    one = fleet(threshold=1)
    other = replace(mandate_of(one), **{change: canonical.digest(b"other")})  # type: ignore[arg-type]
    found = judged(one, one.approval(other))
    assert [ignored.code for ignored in found.ignored] == ["E_APPROVAL_STALE"]
    assert found.ignored[0].who == "alice"
    with pytest.raises(Refusal, match=r"^E_APPROVAL_STALE: "):
        found.approved(policy_of(one), PATH, 1)


@pytest.mark.parametrize("change", [{"env": "prod"}, {"name": "other"}, {"repo_id": "other"}, {"round": 2}])
def test_a26_approvals_do_not_transfer(change: dict[str, Any]) -> None:
    one = fleet(threshold=1)
    found = judged(one, one.approval(replace(mandate_of(one), **change)))
    assert [ignored.code for ignored in found.ignored] == ["E_APPROVAL_STALE"]


def test_a14_validity() -> None:
    one = fleet(threshold=1)

    def counts(now: datetime, **changes: Any) -> bool:
        return bool(judged(one, one.approval(mandate_of(one), **changes), now=now).votes)

    end = NOW + timedelta(days=1)
    assert counts(end - SECOND, expires=end)
    assert not counts(end, expires=end)
    assert counts(NOW, approved_at=NOW + CLOCK_TOLERANCE)
    assert not counts(NOW, approved_at=NOW + CLOCK_TOLERANCE + SECOND)
    longest = timedelta(days=90)
    assert counts(NOW, approved_at=NOW, expires=NOW + longest)
    assert not counts(NOW, approved_at=NOW, expires=NOW + longest + SECOND)


def test_stages_count_upwards_and_the_best_vote_of_a_person_is_taken() -> None:
    one = fleet(threshold=1)
    mandate = mandate_of(one)
    votes = [one.approval(mandate, stage=stage, approved_at=NOW - timedelta(hours=stage)) for stage in (1, 3, 2)]
    found = judged(one, *votes)
    assert [vote.approval.stage for vote in found.approved(policy_of(one), PATH, 3)] == [3]
    with pytest.raises(Refusal, match=r"^E_SIG_THRESHOLD: "):
        found.approved(policy_of(one), PATH, 4)


def test_a_renewal_replaces_the_older_approval() -> None:
    one = fleet(threshold=1)
    mandate = mandate_of(one)
    times = [NOW - timedelta(days=days) for days in (3, 1, 2)]
    found = judged(one, *(one.approval(mandate, approved_at=at) for at in times))
    assert [vote.approval.approved_at for vote in found.votes] == [times[1]]


@pytest.mark.parametrize("envelope", [{}, {"payload": 1}, {"payload": "", "payloadType": APPROVAL, "signatures": []}])
def test_junk_is_ignored_with_a_reason(envelope: dict[str, Any]) -> None:
    one = fleet(threshold=1)
    found = judged(one, envelope, one.approval(mandate_of(one)))
    assert len(found.ignored) == 1
    assert found.ignored[0].who == "unreadable"
    found.approved(policy_of(one), PATH, 1)


def test_a01_no_approvals_at_all() -> None:
    one = fleet()
    with pytest.raises(Refusal, match=r"^E_SIG_MISSING: 0 of 2 approvals by owners: nobody"):
        judged(one).approved(policy_of(one), PATH, 1)


def test_a09_release_signed_by_an_approver_is_no_approval() -> None:
    one = fleet(threshold=1)
    release = one.signed_release(one.release(image_of("x")))[0]
    assert [ignored.code for ignored in judged(one, release).ignored] == ["E_SIG_TYPE"]


def test_release_statements_of_one_signer_each_count_together() -> None:
    one = fleet(releaseSigners={"*": {"group": "owners", "threshold": 3}})
    release = one.release(image_of("x"))
    envelopes = one.signed_release(release, ("alice", "bob", "carol"))
    assert verify_release(envelopes, digest=release.digest, policy=policy_of(one)) == (release, set(one.people))
    with pytest.raises(Refusal, match="2 of 3 signatures by owners: alice, carol"):
        verify_release([envelopes[0], envelopes[2]], digest=release.digest, policy=policy_of(one))


def test_a_model_of_its_own_quorum_is_not_spoken_for_by_the_star() -> None:
    one = fleet(
        groups={"owners": ["alice", "bob", "carol"], "few": ["bob"]},
        releaseSigners={"*": {"group": "owners", "threshold": 1}, "sensor-v1": {"group": "few", "threshold": 1}},
    )
    release = one.release(image_of("x"))
    with pytest.raises(Refusal, match="0 of 1 signatures by few"):
        verify_release(one.signed_release(release), digest=release.digest, policy=policy_of(one))
    other = replace(release, model="gateway-v1")
    assert verify_release(one.signed_release(other), digest=other.digest, policy=policy_of(one))[1] == {"alice"}
