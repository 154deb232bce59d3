"""Distinct keys of distinct people, and the keys of machines apart from all of them (A03, A04)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.roles import PERSON
from tests.contract.tuf_history import Repo, key
from tests.support.signing import NOW


def refused(repo: Repo) -> Refusal:
    with pytest.raises(Refusal) as found:
        TrustedMetadata.bootstrap(repo.pinned).advance(repo.bundle(), now=NOW, fresh=True)
    return found.value


def held(person: Any) -> CryptoSigner:
    """Return a signer whose public key says who holds it."""
    signer = key()
    signer.public_key.unrecognized_fields[PERSON] = person
    return signer


@pytest.mark.parametrize("role", ["root", "targets", "policy"])
def test_a04_a_role_that_lists_one_person_twice(role: str) -> None:
    repo = Repo()
    both = {role: [held("alice"), held("alice")]}
    if role == "policy":
        repo.keys |= both
    else:
        repo.rotate(**both)
    error = refused(repo)
    assert (error.code, "alice twice" in error.message) == ("E_KEY_DUPLICATE", True)


def test_a04_a_person_by_the_metadata_and_by_the_policy() -> None:
    repo = Repo()
    repo.rotate(targets=[held("alice"), repo.person])
    assert refused(repo).code == "E_KEY_DUPLICATE"


def test_people_of_two_names_are_two() -> None:
    repo = Repo()
    repo.thresholds["targets"] = 2
    repo.rotate(targets=[held("alice"), held("bob")])
    trusted = TrustedMetadata.bootstrap(repo.pinned).advance(repo.bundle(), now=NOW, fresh=True)
    assert trusted.versions.root == 2


@pytest.mark.parametrize("person", [1, None, True, ["alice"], {}, "alice bob", "../alice", "a" * 100])
def test_a_holder_that_is_no_name(person: Any) -> None:
    repo = Repo()
    repo.rotate(root=[held(person)])
    assert refused(repo).code == "E_POLICY_INVALID"


@pytest.mark.parametrize("online", ["snapshot", "timestamp"])
@pytest.mark.parametrize("role", ["root", "targets", "policy"])
def test_a_freshness_key_that_signs_for_people(online: str, role: str) -> None:
    repo = Repo()
    if role == "policy":
        repo.keys["policy"] = repo.keys[online]
    else:
        repo.rotate(**{role: repo.keys[online]})
    assert refused(repo).code == "E_KEY_DUPLICATE"


@pytest.mark.parametrize("role", ["root", "targets", "policy", "snapshot", "timestamp"])
def test_an_order_key_that_is_a_key_of_a_role(role: str) -> None:
    repo = Repo()
    repo.order = repo.keys[role][0]
    assert refused(repo).code == "E_KEY_DUPLICATE"


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
def test_a_freshness_key_that_is_a_persons(role: str) -> None:
    repo = Repo()
    repo.person = repo.keys[role][0]
    assert refused(repo).code == "E_KEY_DUPLICATE"


def test_one_freshness_key_may_sign_snapshot_and_timestamp() -> None:
    repo = Repo()
    repo.rotate(snapshot=repo.keys["timestamp"])
    TrustedMetadata.bootstrap(repo.pinned).advance(repo.bundle(), now=NOW, fresh=True)


def test_the_name_of_a_holder_is_signed() -> None:
    repo = Repo()
    repo.rotate(root=[held("alice")])
    name = max(repo.roots)
    raw = json.loads(repo.roots[name])
    (keyid,) = raw["signed"]["roles"]["root"]["keyids"]
    raw["signed"]["keys"][keyid][PERSON] = "bob"
    repo.roots[name] = json.dumps(raw)
    assert refused(repo).code == "E_ROOT_CHAIN"
    assert isinstance(repo.keys["root"][0].public_key, SSlibKey)
