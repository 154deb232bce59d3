"""Which code metadata is refused with: whoever reads it must know what is wrong. Found by changing the verifier."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.roles import PERSON
from tests.contract.tuf_history import Repo, edit, key
from tests.support.signing import NOW

REPO = Repo()
TIMESTAMP_KEY = json.loads(REPO.pinned)["signed"]["roles"]["timestamp"]["keyids"][0]


def refused(repo: Repo, state: TrustedMetadata | None = None, *, fresh: bool = True) -> str:
    start = state or TrustedMetadata.bootstrap(repo.pinned)
    with pytest.raises(Refusal) as found:
        start.advance(repo.bundle(), now=NOW, fresh=fresh)
    return found.value.code


def bootstrap(**change: Any) -> str:
    """Return the code of a root whose role or key of the timestamp is another one."""

    def apply(root: dict[str, Any]) -> None:
        root["roles"]["timestamp"] |= change.get("role", {})
        root["keys"][TIMESTAMP_KEY] |= change.get("key", {})

    with pytest.raises(Refusal) as found:
        TrustedMetadata.bootstrap(edit(REPO.pinned, apply, REPO.keys["root"]))
    return found.value.code


@pytest.mark.parametrize("fresh", [True, False], ids=["device", "reviewer"])
@pytest.mark.parametrize("role", ["targets", "policy"])
def test_a15_two_contents_of_one_version(role: str, fresh: bool) -> None:
    repo = Repo()
    known = TrustedMetadata.bootstrap(repo.pinned).advance(repo.bundle(), now=NOW, fresh=fresh)
    repo.expires[role] = NOW + timedelta(days=2)
    assert refused(repo, known, fresh=fresh) == "E_META_ROLLBACK"
    repo.versions[role] += 1
    repo.versions["snapshot"] += 1
    repo.versions["timestamp"] += 1
    after = known.advance(repo.bundle(), now=NOW, fresh=fresh)
    assert after.versions.targets + after.versions.policy == 3


@pytest.mark.parametrize("threshold", [0, -1, "2", True, None, 2])
def test_a06_a_threshold_that_cannot_be(threshold: Any) -> None:
    assert bootstrap(role={"threshold": threshold}) == "E_POLICY_INVALID"


def test_a_role_that_lists_an_unknown_key() -> None:
    assert bootstrap(role={"keyids": ["0" * 64]}) == "E_POLICY_INVALID"


@pytest.mark.parametrize(
    ("keytype", "scheme"), [("sigstore-oidc", "Fulcio"), ("sphincs", "sphincs-shake-128s"), ("x", "none"), ("x", 1)]
)
def test_a10_a_key_of_another_kind(keytype: str, scheme: Any) -> None:
    keyval = {"identity": "alice@example.com", "issuer": "https://login.example.com", "public": "00"}
    assert bootstrap(key={"keytype": keytype, "scheme": scheme, "keyval": keyval}) == "E_KEY_ALG"


def test_a04_somebody_twice_with_another_person_between() -> None:
    """By what the metadata says of the first key, and by what the policy says of the third."""
    repo = Repo()
    first, second = key(), key()
    first.public_key.unrecognized_fields[PERSON] = "alice"
    second.public_key.unrecognized_fields[PERSON] = "bob"
    repo.rotate(targets=[first, second, repo.person])
    assert refused(repo) == "E_KEY_DUPLICATE"
