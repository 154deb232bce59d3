"""What `trust lint` finds in a trust that verifies."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.trust.authority import Authority
from fwctl.trust.expiry import Thing, expiring
from fwctl.trust.lint import Case, LocalKey, least_people, lint
from fwctl_agent.trust.policy import Quorum
from tests.support.signing import NOW, Fleet

PROD, DEV = "rollouts/prod-eu/sensors.yaml", "rollouts/dev/sensors.yaml"
PEOPLE = ("alice", "bob", "carol", "dave")
GOOD: dict[str, Any] = {
    "groups": {"managers": ["alice", "bob"], "security": ["carol"], "engineers": ["dave"]},
    "approvalRules": [
        {"paths": "rollouts/**", "group": "managers", "threshold": 1, "stage": 1},
        {"paths": "rollouts/prod-*/**", "group": "managers", "threshold": 2, "stage": 1},
        {"paths": "rollouts/prod-*/**", "group": "security", "threshold": 1, "stage": 1},
    ],
    "releaseSigners": {"*": {"group": "engineers", "threshold": 1}},
}


def case(*, rollouts: Iterable[str] = (PROD, DEV), people: tuple[str, ...] = PEOPLE, **policy: Any) -> Case:
    one = Fleet(people={name: CryptoSigner.generate_ed25519() for name in people}, policy=GOOD | policy)
    return Case(Authority(one.trusted(), {}), dict.fromkeys(rollouts, "sensor-v1"))


def codes(one: Case) -> list[tuple[str, str]]:
    """Return code and place of what is found; that one person signs the trust of a test fleet is known."""
    return [(found.code, found.path) for found in lint(one) if found.code != "W_ONE_SIGNER"]


def rules(*given: tuple[str, str, int]) -> list[dict[str, Any]]:
    return [{"paths": paths, "group": group, "threshold": k, "stage": 1} for paths, group, k in given]


def test_nothing_is_found_where_duties_are_apart() -> None:
    assert codes(case()) == []


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ({"approvalRules": rules(("rollouts/prod-*/**", "managers", 2))}, [("E_NO_RULE", DEV), ("W_GROUP_UNUSED", "")]),
        (
            {"releaseSigners": {"gateway": {"group": "engineers", "threshold": 1}}},
            [("E_NO_RULE", DEV), ("E_NO_RULE", PROD)],
        ),
        ({"approvalRules": rules(("rollouts/**", "managers", 1))}, [("W_ONE_APPROVER", PROD), ("W_GROUP_UNUSED", "")]),
        (
            {"releaseSigners": {"*": {"group": "managers", "threshold": 1}}},
            [("W_SAME_PERSON", DEV), ("W_SAME_PERSON", PROD), ("W_GROUP_UNUSED", "")],
        ),
        (
            {"approvalRules": [*GOOD["approvalRules"], *rules(("rollout/prod/**", "managers", 2))]},
            [("W_RULE_UNUSED", "")],
        ),
        (
            {"approvalRules": [*GOOD["approvalRules"], *rules(("rollouts/live/**", "managers", 1))]},
            [("W_ONE_APPROVER", "")],
        ),
    ],
    ids=["uncovered", "unreleased", "one approver", "same person", "no such path", "one approver to come"],
)
def test_each_weakness_is_found_where_it_is(policy: dict[str, Any], found: list[tuple[str, str]]) -> None:
    where = [(code, path or "trust/policy/policy.json") for code, path in found]
    assert codes(case(**policy)) == sorted(where, key=lambda one: (one[1], one[0]))


def test_every_finding_has_a_remedy() -> None:
    for found in lint(case(approvalRules=rules(("rollout/x", "security", 1)))):
        assert found.remedy


def test_the_trust_of_one_person_is_told_once() -> None:
    alone: dict[str, Any] = {
        "groups": {"owners": ["alice"]},
        "approvalRules": rules(("rollouts/**", "owners", 1)),
        "releaseSigners": {"*": {"group": "owners", "threshold": 1}},
    }
    one = case(people=("alice",), **alone)
    keys = (LocalKey("alice", "a.pem", True, False), LocalKey("reconciler-order", "o.pem", True, False))
    found = lint(Case(one.authority, one.rollouts, keys))
    assert [finding.code for finding in found] == ["I_DEVELOPMENT"]


def test_keys_on_this_machine_are_looked_at() -> None:
    one = case()
    keys = (
        LocalKey("alice", "alice.pem", False, True),
        LocalKey("bob", "bob.pem", True, False),
        LocalKey("reconciler-order", "order.pem", True, False),
    )
    found = {(finding.code, finding.path) for finding in lint(Case(one.authority, one.rollouts, keys))}
    assert {
        ("E_KEY_OPEN", "alice.pem"),
        ("W_KEY_PLAIN", "bob.pem"),
        ("W_KEYS_TOGETHER", "order.pem"),
    } == {one for one in found if one[0] != "W_ONE_SIGNER"}


def test_what_has_ended_is_an_error_and_what_ends_soon_a_warning() -> None:
    one = case()
    things = [Thing("root", NOW - timedelta(days=1), "x"), Thing("policy", NOW + timedelta(days=9), "y")]
    found = lint(Case(one.authority, one.rollouts, (), expiring(things, NOW)))
    assert [finding.code for finding in found if finding.code != "W_ONE_SIGNER"] == ["E_ENDED", "W_ENDS_SOON"]


def test_one_person_in_two_groups_may_be_both_quorums() -> None:
    policy = case(groups={"a": ["alice", "bob"], "b": ["bob", "carol"], "c": ["dave"]}, **_unruled()).policy
    assert least_people(policy, [Quorum("a", 1), Quorum("b", 1)]) == 1
    assert least_people(policy, [Quorum("a", 1), Quorum("c", 1)]) == 2
    assert least_people(policy, [Quorum("a", 2), Quorum("b", 1)]) == 2


def _unruled() -> dict[str, Any]:
    return {"approvalRules": rules(("rollouts/**", "a", 1)), "releaseSigners": {"*": {"group": "c", "threshold": 1}}}
