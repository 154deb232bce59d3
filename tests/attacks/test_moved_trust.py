"""After the owners have changed the trust: what was approved before stops counting where it must, at every door.

Version 4 of the policy raises the floor of the model, takes carol's key away, and withdraws a release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fwctl.trust.signing import sign_release
from fwctl_agent.protocol import canonical
from tests.attacks.forge import Forge
from tests.attacks.realm import Realm
from tests.attacks.test_orders import rollout
from tests.attacks.test_statements import held
from tests.support.world import MODEL, World

pytestmark = pytest.mark.e2e
FLOOR = 5


def moved(realm: Realm, **policy: Any) -> Forge:
    """Return the trust as it is now: two owners have signed it."""
    forge = realm.next(**policy)
    forge.policy["people"]["carol"]["keys"] = []
    return forge


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A fleet whose device knows version 4 already."""
    with World(tmp_path_factory.mktemp("moved")) as world:
        realm = Realm(world).build()
        realm.run_agent()
        status, reply = realm.put_trust(moved(realm, floors={MODEL: FLOOR}).files())
        assert (status, reply["policy"]) == (200, realm.base + 1), reply
        yield realm


def _sent(realm: Realm, **release: Any) -> tuple[Any, Any]:
    """Return an order for a release, approved and released by two who still count, with today's trust."""
    order, request = rollout(realm, replace(realm.prepared.plan.release, **release))
    return order, replace(request, trust=moved(realm, floors={MODEL: FLOOR}).files())


@pytest.mark.parametrize("security", [0, 1, FLOOR - 1])
def test_a22_agent_an_approved_release_below_the_floor(later: Realm, security: int) -> None:
    order, request = _sent(later, security_version=security)
    message = later.refused(request, "E_ROLLBACK_FLOOR", order=order.id)
    assert str(FLOOR) in message


def test_a22_agent_a_withdrawn_release(own: Realm) -> None:
    order, request = rollout(own)
    forge = moved(own, withdrawn=[own.prepared.plan.release.digest])
    assert own.put_trust(forge.files())[0] == 200
    own.refused(replace(request, trust=forge.files()), "E_WITHDRAWN", order=order.id)


def test_a22_agent_the_floor_cannot_be_taken_back(later: Realm) -> None:
    """With the older policy, which had no floor, the release would pass; it is older than what is trusted."""
    order, request = _sent(later, security_version=1)
    later.refused(replace(request, trust=later.forge().files()), "E_META_ROLLBACK", order=order.id)
    without = moved(later).version(later.base + 1)
    without.version(later.base, "policy")
    later.refused(replace(request, trust=without.files()), "E_META_ROLLBACK", order=order.id)


def test_a24_agent_approvals_of_a_revoked_key(later: Realm) -> None:
    order, request = _sent(later, security_version=FLOOR)
    mandate = later.mandate
    approvals = (request.approvals[0], later.approval("carol", mandate=mandate))
    message = later.refused(replace(request, approvals=approvals), "E_SIG_THRESHOLD", order=order.id)
    assert "1 of 2 approvals by owners: alice" in message


def test_a24_agent_a_release_that_a_revoked_key_signed(later: Realm) -> None:
    order, request = _sent(later, security_version=FLOOR)
    release = replace(later.prepared.plan.release, security_version=FLOOR)
    releases = (request.releases[0], sign_release(release, later.signer("carol")))
    later.refused(replace(request, releases=releases), "E_SIG_THRESHOLD", order=order.id)


def test_a24_agent_two_who_count_still_do(own: Realm) -> None:
    """Nothing but the revoked key was wrong: alice and bob are enough, after the change as before it."""
    forge = moved(own)
    assert own.put_trust(forge.files())[0] == 200
    order, request = rollout(own)
    status, reply = own.send(replace(request, trust=forge.files()), order.id)
    assert (status, reply["state"]) == (202, "accepted"), reply


def test_a24_cli_reconciler_approvals_of_a_revoked_key(later: Realm) -> None:
    """They were enough; then carol's key goes. Nobody's signature is left over from before."""
    try:
        later.write_approvals([later.approval("alice"), later.approval("carol")])
        later.commit("Two approve")
        assert later.state().rollouts["dev/sensors"].approved_stage == 1
        later.write_trust(moved(later))
        later.commit("Carol's key is revoked")
        assert "1 of 2 approvals by owners: alice" in held(later, "E_SIG_THRESHOLD")
    finally:
        later.restore()


def test_a22_cli_reconciler_a_withdrawn_release(later: Realm) -> None:
    try:
        later.write_approvals(later.approvals())
        later.write_trust(moved(later, withdrawn=[later.prepared.plan.release.digest]))
        later.commit("Two approve, and it is withdrawn")
        error = later.cli_refuses("E_WITHDRAWN", "approve", "sensors", "--yes", "--as", "alice")
        assert error["place"] == "firmware/sensor-v1/2.5.0.yaml"
        held(later, "E_WITHDRAWN", state="held")
    finally:
        later.restore()


def test_a22_cli_reconciler_a_release_below_the_floor(later: Realm) -> None:
    """The floor is judged before anything is signed or sent, not only by the device."""
    try:
        later.write_approvals(later.approvals())
        later.write_trust(moved(later, floors={MODEL: FLOOR}))
        later.commit("Two approve what lies below the floor")
        error = later.cli_refuses("E_ROLLBACK_FLOOR", "approve", "sensors", "--yes", "--as", "alice")
        assert str(FLOOR) in error["message"]
        held(later, "E_ROLLBACK_FLOOR", state="held")
    finally:
        later.restore()


def test_a22_agent_one_who_releases_is_not_the_floor(later: Realm) -> None:
    """A statement with other bytes has another digest: what was approved cannot be told a higher version."""
    order, request = _sent(later, security_version=1)
    other = replace(later.prepared.plan.release, security_version=FLOOR)
    signed = tuple(sign_release(other, later.signer(name)) for name in ("alice", "bob"))
    later.refused(replace(request, releases=signed), "E_SIG_MISSING", order=order.id)
    assert canonical.digest(other.payload) != order.release
