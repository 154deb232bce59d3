"""Attacks with what was right once: the victim has run 2.5.0 since two approved it, and everything of that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fwctl.trust.signing import OrderSigner
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import InstallOrder
from tests.attacks.realm import IMAGE, VICTIM, Realm
from tests.attacks.test_images import follow, push
from tests.attacks.test_orders import mandate_of, rollout
from tests.support.agents import until
from tests.support.world import World

pytestmark = pytest.mark.e2e
EPOCH = 7


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Realm, InstallOrder]]:
    """A device that runs 2.5.0, confirmed under epoch 7."""
    with World(tmp_path_factory.mktemp("lived")) as world:
        realm = Realm(world).build()
        process = realm.run_agent()
        order = realm.install(epoch=EPOCH)
        assert realm.send(realm.request(order), order.id)[0] == 202
        push(realm, order, IMAGE)
        with realm.client() as client:
            until(lambda: client.device()["state"] == "trial")
        follow(realm, "confirm", order)
        with realm.client() as client:
            until(lambda: client.device()["running"]["version"] == "2.5.0")
            until(lambda: client.device()["state"] == "idle")
        yield realm, order
        process.stop()
        before = realm.disk()["slots/b.img"]
        realm.address = world.agent(VICTIM).address
        assert realm.said()["running"]["version"] == "2.5.0"
        assert realm.disk()["slots/b.img"] == before
        lower = realm.install(epoch=1, attempt=9)
        realm.refused(realm.request(lower), "E_ORDER_REPLAY", order=lower.id)  # marks outlive the power


Lived = tuple[Realm, InstallOrder]


@pytest.mark.parametrize("epoch", [1, EPOCH - 1])
def test_a21_agent_an_order_of_a_lower_epoch(lived: Lived, epoch: int) -> None:
    realm, _ = lived
    order = realm.install(epoch=epoch, attempt=2)
    assert "epoch" in realm.refused(realm.request(order), "E_ORDER_REPLAY", order=order.id)


@pytest.mark.parametrize("verb", ["revert", "confirm", "cancel"])
def test_a21_agent_a_follow_up_of_a_lower_epoch(lived: Lived, verb: Any) -> None:
    realm, installed = lived
    pen = OrderSigner(realm.order_key, EPOCH - 1)
    made = pen.follow_up(verb, installed, attempt=5, now=realm.now)
    realm.refused(OrderRequest(pen.sign(made), (), (), {}), "E_ORDER_REPLAY", order=made.id)


def test_a21_agent_the_same_order_again_answers_with_its_outcome(lived: Lived) -> None:
    """Whatever comes with it: nothing of it is read, nothing happens (I3)."""
    realm, installed = lived
    before = realm.disk()
    for request in (realm.request(installed), realm.request(approvals=[], releases=[], trust={}), b"junk"):
        status, reply = realm.send(request, installed.id)
        assert (status, reply["state"]) == (200, "confirmed"), reply
    assert realm.disk() == before


def test_a21_agent_approvals_older_than_those_of_what_runs(lived: Lived) -> None:
    """An earlier rollout, approved by the same two: its time is over."""
    realm, _ = lived
    at = realm.now - timedelta(minutes=1, seconds=1)
    order, request = rollout(realm, epoch=EPOCH, terms={"round": 3})
    approvals = tuple(realm.approval(name, mandate=mandate_of(request), approved_at=at) for name in ("alice", "bob"))
    message = realm.refused(replace(request, approvals=approvals), "E_ORDER_REPLAY", order=order.id)
    assert "older" in message


def test_a21_agent_one_old_approval_beside_a_new_one(lived: Lived) -> None:
    """The oldest that counts is what counts."""
    realm, _ = lived
    order, request = rollout(realm, epoch=EPOCH, terms={"round": 4})
    old = realm.approval("bob", mandate=mandate_of(request), approved_at=realm.now - timedelta(hours=9))
    realm.refused(replace(request, approvals=(request.approvals[0], old)), "E_ORDER_REPLAY", order=order.id)


def test_a21_agent_another_fleets_order_with_these_keys(lived: Lived) -> None:
    realm, _ = lived
    order, request = rollout(realm, epoch=EPOCH, terms={"repo_id": "other"})
    realm.refused(request, "E_APPROVAL_SCOPE", order=order.id)


def test_a21_agent_a_release_with_a_lower_counter(lived: Lived) -> None:
    """The same version, registered anew with an older counter: what was accepted since is newer."""
    realm, _ = lived
    counter = realm.prepared.plan.release.release_counter
    release = replace(realm.prepared.plan.release, release_counter=counter - 1)
    order, request = rollout(realm, release, epoch=EPOCH, terms={"round": 5})
    realm.refused(request, "E_ORDER_REPLAY", order=order.id)


def test_a21_reconciler_gives_no_order_twice(lived: Lived) -> None:
    """A pass with a ledger that knows nothing finds the device where it shall be: nothing is sent."""
    realm, _ = lived
    realm.write_approvals(realm.approvals())
    realm.commit("Two approve")
    before = realm.disk()["slots/b.img"]
    realm.world.reconciled()
    assert [row for row in realm.ledger_rows()["orders"] if "install" in row] == []
    assert realm.disk()["slots/b.img"] == before
