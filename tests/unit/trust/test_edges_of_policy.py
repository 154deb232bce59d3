"""The edges of the policy's form that only a change of the verifier showed to be untested."""

from __future__ import annotations

import pytest

from fwctl_agent.protocol import canonical
from tests.unit.trust.test_policy import parse, refused, sample

LATER = {
    "gitSigners": ["alice ssh-ed25519 AAAA"],
    "gitKeys": ["-----BEGIN PGP PUBLIC KEY BLOCK-----\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"],
    "revoked": [canonical.digest(b"x")],
    "deviceCas": [canonical.digest(b"x")],
}


@pytest.mark.parametrize("name", LATER)
def test_a_policy_of_the_first_releases_says_nothing_of_what_came_later(name: str) -> None:
    policy = {key: value for key, value in (sample() | LATER).items() if key != name}
    found, whole = parse(policy), parse(sample() | LATER)
    fields = ("git_signers", "git_keys", "revoked", "device_cas")
    assert [len(getattr(found, field)) for field in fields].count(0) == 1
    assert all(getattr(whole, field) for field in fields)


def test_device_authorities_are_read_to_their_limit() -> None:
    names = [canonical.digest(f"{number}".encode()) for number in range(17)]
    assert parse(sample() | {"deviceCas": names[:16]}).device_cas == frozenset(names[:16])
    refused(sample() | {"deviceCas": names}, "E_POLICY_INVALID")


def test_an_approval_may_hold_from_one_day_to_ten_years() -> None:
    assert [parse(sample() | {"maxApprovalDays": days}).max_approval_days for days in (1, 3650)] == [1, 3650]
    for days in (0, 3651):
        refused(sample() | {"maxApprovalDays": days}, "E_POLICY_INVALID")


@pytest.mark.parametrize("paths", ["", "rollouts/\x1b[2J", "rollouts/ü", "a\nb", "rollouts/../x y"])
def test_paths_of_a_rule_are_written_plainly(paths: str) -> None:
    rule = {"paths": paths, "group": "owners", "threshold": 1, "stage": 1}
    refused(sample() | {"approvalRules": [rule]}, "E_POLICY_INVALID")


@pytest.mark.parametrize("part", [{"host": "a b"}, {"host": ""}, {"cidr": "x"}, {"cidr": "10.0.0.0/8 "}])
def test_a_storage_of_the_policy_is_written_plainly(part: dict[str, str]) -> None:
    (entry,) = sample()["storage"]
    refused(sample() | {"storage": [entry | part]}, "E_POLICY_INVALID")
