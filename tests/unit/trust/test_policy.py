"""The policy target: every way of being wrong is refused on load."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from fwctl.trust.repository import development_policy, key_object
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.policy import Policy, Quorum, glob

ALICE, BOB, ORDER = (CryptoSigner.generate_ed25519().public_key for _ in range(3))


def sample() -> dict[str, Any]:
    policy = development_policy(repo_id="acme", people={"alice": ALICE, "bob": BOB}, order_key=ORDER)
    policy["storage"] = [{"scheme": "https", "host": "images.example.com", "port": 443, "cidr": None}]
    return policy


def parse(policy: object) -> Policy:
    return Policy.parse(json.dumps(policy).encode())


def refused(policy: object, code: str) -> None:
    with pytest.raises(Refusal) as found:
        parse(policy)
    assert found.value.code == code, found.value


def test_a_good_policy() -> None:
    policy = parse(sample())
    assert policy.quorums("rollouts/dev/a.yaml", 1) == (Quorum("owners", 1),)
    assert policy.quorums("rollouts/a.json", 1) == (Quorum("owners", 1),)
    assert policy.quorums("control/dev/a.yaml", 1) == ()
    assert policy.person(ALICE.keyid) == "alice"
    assert policy.person(ORDER.keyid) is None


@pytest.mark.parametrize("where", ["approvalRules", "releaseSigners"])
@pytest.mark.parametrize("threshold", [0, -1, "2", "1", True, False, None, [], 3, 2**53 - 1])
def test_a06_thresholds(where: str, threshold: Any) -> None:
    policy = sample()
    entry = policy[where][0] if where == "approvalRules" else policy[where]["*"]
    entry["threshold"] = threshold
    refused(policy, "E_POLICY_INVALID")


@pytest.mark.parametrize("text", ["2.0", "1e0", "NaN", '1,"threshold":1'])
def test_a06_thresholds_that_json_reads_in_two_ways(text: str) -> None:
    raw = json.dumps(sample()).replace('"threshold": 1', f'"threshold": {text}', 1)
    with pytest.raises(Refusal, match=r"^E_POLICY_INVALID: "):
        Policy.parse(raw.encode())


def test_a06_people_without_keys_do_not_count_towards_n() -> None:
    policy = sample()
    policy["people"]["bob"]["keys"] = []
    policy["approvalRules"][0]["threshold"] = 2
    refused(policy, "E_POLICY_INVALID")


def test_a03_key_of_two_people_or_twice_of_one() -> None:
    policy = sample()
    policy["people"]["bob"]["keys"] = [key_object(ALICE)]
    refused(policy, "E_KEY_DUPLICATE")
    policy = sample()
    policy["people"]["alice"]["keys"] *= 2
    refused(policy, "E_KEY_DUPLICATE")
    policy = sample()
    policy["orderKeys"] *= 2
    refused(policy, "E_KEY_DUPLICATE")


def test_the_reconciler_does_not_approve() -> None:
    policy = sample()
    policy["orderKeys"] = [key_object(ALICE)]
    refused(policy, "E_KEY_DUPLICATE")


def test_without_order_keys_no_order_could_be_given() -> None:
    refused(sample() | {"orderKeys": []}, "E_POLICY_INVALID")


@pytest.mark.parametrize("algorithms", [[], ["none"], ["rsassa-pss-sha256"], ["ed25519", "ed448"]])
def test_a10_algorithms(algorithms: list[str]) -> None:
    refused(sample() | {"algorithms": algorithms}, "E_KEY_ALG")


def test_a10_key_of_an_algorithm_that_the_policy_does_not_list() -> None:
    refused(sample() | {"algorithms": ["ecdsa-sha2-nistp256"]}, "E_KEY_ALG")


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown field": lambda p: p.update(bypass=True),
    "missing field": lambda p: p.pop("withdrawn"),
    "other schema": lambda p: p.update(schema=2),
    "schema true": lambda p: p.update(schema=True),
    "group of strangers": lambda p: p["groups"].update(owners=["alice", "mallory"]),
    "member twice": lambda p: p["groups"].update(owners=["alice", "alice"]),
    "rule of no group": lambda p: p["approvalRules"][0].update(group="nobody"),
    "stage 0": lambda p: p["approvalRules"][0].update(stage=0),
    "paths null": lambda p: p["approvalRules"][0].update(paths=None),
    "floor negative": lambda p: p.update(floors={"m": -1}),
    "floor true": lambda p: p.update(floors={"m": True}),
    "withdrawn no digest": lambda p: p.update(withdrawn=["sha256:xyz"]),
    "http storage": lambda p: p["storage"][0].update(scheme="http"),
    "port 0": lambda p: p["storage"][0].update(port=0),
    "git verify": lambda p: p.update(gitVerify="maybe"),
    "approval for ever": lambda p: p.update(maxApprovalDays=3651),
    "approval for no time": lambda p: p.update(maxApprovalDays=0),
    "people a list": lambda p: p.update(people=[]),
    "keys null": lambda p: p["people"]["alice"].update(keys=None),
    "person with more": lambda p: p["people"]["alice"].update(admin=True),
    "repo": lambda p: p.update(repoId="Acme"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_malformed_policies(name: str) -> None:
    policy = sample()
    CHANGES[name](policy)
    refused(policy, "E_POLICY_INVALID")


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 10_000, b'{"schema":1,"schema":1}'])
def test_junk(raw: bytes) -> None:
    with pytest.raises(Refusal, match=r"^E_POLICY_INVALID: "):
        Policy.parse(raw)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] * bool(here) + [place for name, item in inner for place in places(item, (*here, name))]


@pytest.mark.parametrize("junk", [None, True, -1, 2**53 - 1, "", "x", [], {}, [None], {"": {}}])
def test_junk_in_every_place_is_a_refusal_or_a_policy(junk: Any) -> None:
    for place in places(sample()):
        policy = sample()
        at: Any = policy
        for step in place[:-1]:
            at = at[step]
        at[place[-1]] = junk
        try:
            parse(policy)
        except Refusal as refusal:
            assert refusal.code.startswith(("E_POLICY_INVALID", "E_KEY_"))  # noqa: PT017


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("rollouts/**", ["rollouts/a", "rollouts/a/b", "rollouts/"], ["rollouts", "xrollouts/a", "a/rollouts/b"]),
        ("rollouts/*/x.yaml", ["rollouts/a/x.yaml", "rollouts//x.yaml"], ["rollouts/a/b/x.yaml", "rollouts/a/xxyaml"]),
        ("rollouts/prod-*/**", ["rollouts/prod-eu/a", "rollouts/prod-/a/b"], ["rollouts/prod-eu", "rollouts/dev/a"]),
        ("**/x", ["a/x", "a/b/x"], ["x", "a/xx"]),
        ("a.b", ["a.b"], ["axb", "a.b\n"]),
        ("[a]?", ["[a]?"], ["a", "ab"]),
        ("*", ["a", ""], ["a/b"]),
        ("**", ["", "a/b", "a\nb"], []),
        ("***b", ["b", "a/b"], ["a"]),
        ("", [""], ["a"]),
    ],
)
def test_globs(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not glob(pattern, path)] == []
    assert [path for path in no if glob(pattern, path)] == []


@given(st.text("ab/*", max_size=6), st.text("ab/", max_size=8))
def test_globs_mean_what_the_regular_expression_means(pattern: str, path: str) -> None:
    import re

    parts = re.split(r"(\*\*|\*)", pattern)
    meaning = "".join({"**": "(?s:.*)", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
    assert glob(pattern, path) == bool(re.fullmatch(meaning, path))


def test_no_pattern_takes_for_ever() -> None:
    start = time.monotonic()
    assert not glob("*a" * 120 + "b", "a" * 250)
    assert not glob("**a" * 80 + "b", "a/" * 120)
    assert time.monotonic() - start < 2
