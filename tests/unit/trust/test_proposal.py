"""A proposal becomes trust when every threshold holds, and not before; what counts for nothing is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.errors import TrustRefused
from fwctl.trust.proposal import PROPOSAL, Need, Proposal, new_trust
from fwctl.trust.repository import RolePlan, TrustPlan, development_policy
from fwctl.trust.standing import standing_trust
from tests.support.signing import NOW, REPO

PEOPLE = {name: CryptoSigner.generate_ed25519() for name in ("alice", "bob", "carol", "dave")}
ORDER, FRESHNESS = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()


def role(*names: str, threshold: int) -> RolePlan:
    return RolePlan({name: PEOPLE[name].public_key for name in names}, threshold)


def plan(**changes: Any) -> TrustPlan:
    publics = {name: signer.public_key for name, signer in PEOPLE.items() if name != "dave"}
    policy = development_policy(repo_id=REPO, people=publics, order_key=ORDER.public_key)
    return TrustPlan(
        root=role("alice", "bob", "carol", threshold=2),
        targets=role("alice", "bob", threshold=2),
        policy_role=role("bob", "carol", threshold=1),
        freshness=FRESHNESS.public_key,
        policy=policy | changes,
    )


def kept(files: dict[str, bytes], more: dict[str, bytes | None]) -> dict[str, bytes]:
    """Return the files after a commit."""
    return {path: data for path, data in {**files, **more}.items() if data is not None}


def opened(files: dict[str, bytes], pinned: str = "") -> Proposal:
    found = Proposal.read(files, pinned=pinned)
    assert found is not None
    return found


def test_a_first_trust_is_signed_by_people_on_different_machines() -> None:
    files = new_trust(plan(), now=NOW)
    assert opened(files).missing() == (
        Need("1.root.json", "root", 2, (), ("alice", "bob", "carol")),
        Need("targets.json", "targets", 2, (), ("alice", "bob")),
        Need("policy.json", "policy", 1, (), ("bob", "carol")),
    )
    files |= opened(files).sign(PEOPLE["alice"])
    files |= opened(files).sign(PEOPLE["carol"])
    assert opened(files).missing() == (Need("targets.json", "targets", 2, ("alice",), ("bob",)),)
    with pytest.raises(TrustRefused) as found:
        opened(files).assemble(now=NOW)
    assert found.value.code == "E_SIG_THRESHOLD"
    files |= opened(files).sign(PEOPLE["bob"])
    assert opened(files).missing() == ()
    files = kept(files, opened(files).assemble(now=NOW))
    assert not any(path.startswith(PROPOSAL) for path in files)
    trusted = standing_trust(files, files["trust/1.root.json"].decode())
    assert trusted.versions.root == trusted.versions.targets == trusted.versions.policy == 1


def test_a_signature_by_a_stranger_or_twice_adds_nothing() -> None:
    files = new_trust(plan(), now=NOW)
    assert opened(files).sign(PEOPLE["dave"]) == {}
    files |= opened(files).sign(PEOPLE["alice"])
    assert opened(files).sign(PEOPLE["alice"]) == {}


def test_a11_a_signature_that_was_touched_or_is_about_other_content_counts_for_nothing() -> None:
    files = new_trust(plan(), now=NOW)
    good = opened(files).sign(PEOPLE["alice"])
    path = next(path for path in good if "1.root" in path)
    other = new_trust(plan(maxApprovalDays=7), now=NOW.replace(year=2025))
    elsewhere = opened(other).sign(PEOPLE["alice"])[path]
    mine = json.loads(good[path])
    flipped = {**mine, "sig": ("1" if mine["sig"][0] == "0" else "0") + mine["sig"][1:]}
    as_bob = {**mine, "keyid": PEOPLE["bob"].public_key.keyid}
    as_dave = {**mine, "keyid": PEOPLE["dave"].public_key.keyid}
    bad = [elsewhere, b"", b"{}", b"\xff", b"[1]", *(json.dumps(one).encode() for one in (flipped, as_bob, as_dave))]
    for data in bad:
        proposal = opened(files | {path: data})
        assert proposal.missing()[0].signed == (), data
        assert [one.path for one in proposal.wasted()] == [path]
        # and the same person can sign over it
        assert opened(files | {path: data}).sign(PEOPLE["alice"])[path] == good[path]


def test_a_signature_file_of_another_name_or_twice_counts_once() -> None:
    files = new_trust(plan(), now=NOW)
    good = opened(files).sign(PEOPLE["alice"])
    path = next(path for path in good if "1.root" in path)
    copies = {
        path: good[path],
        path.replace(".alice.", ".bob."): good[path],
        path.replace(".alice.", ".x."): good[path],
    }
    need = opened(files | copies).needs()[0]
    assert (need.signed, need.holds, len(opened(files | copies).wasted())) == (("alice",), False, 2)
