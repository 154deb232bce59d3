"""A device that slept through changes of the trust walks to the newest in one bundle, over real TLS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.trust import changes
from fwctl.trust.authority import Authority
from fwctl_agent.trust.metadata import MAX_ROTATIONS
from tests.support.agents import Client, Yard, agent
from tests.support.changing import Realm
from tests.support.signing import image_of

IMAGE = image_of("firmware 2.5.0", 20_000)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def key() -> CryptoSigner:
    return CryptoSigner.generate_ed25519()


def put(client: Client, bundle: Mapping[str, str]) -> tuple[int, Any]:
    return client.ask("PUT", "/v1/trust", json.dumps(dict(bundle)).encode())


def sleep_through(yard: Yard) -> tuple[Realm, CryptoSigner]:
    """Rotate five times: other owners of root, targets and policy, then another freshness and another order key."""
    alice, bob, freshness, order = yard.fleet.people["alice"], key(), key(), key()
    realm = Realm.of(yard.fleet.files(), yard.fleet.now)
    roles = ("root", "targets", "policy")
    realm.change(changes.add_key("bob", bob.public_key, groups=("owners",), roles=roles), [alice, bob])
    realm.change(changes.set_threshold("root", 2), [alice, bob])
    realm.change(changes.set_freshness(freshness.public_key), [alice, bob])
    realm.change(changes.all_of(changes.set_threshold("root", 1), changes.revoke("alice")), [alice, bob])
    realm.change(changes.set_order_key(order.public_key), [bob])
    realm.change(changes.renew(("root",)), [bob])
    assert realm.trusted.versions.root == 6
    yard.fleet.people["bob"], yard.fleet.order, yard.fleet.freshness = bob, order, freshness
    return realm, freshness


def authority(realm: Realm) -> Authority:
    return Authority.verify(realm.files, pinned=realm.pinned, now=realm.now)


def test_a_device_that_slept_through_five_rotations_wakes_in_one_bundle(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    old = yard.fleet.bundle()
    realm, freshness = sleep_through(yard)
    fresh = {
        name: text for name, text in realm.bundle(freshness).items() if name in ("timestamp.json", "snapshot.json")
    }
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        assert put(client, old)[0] == 200
        assert client.device()["trust"]["root"] == 1
        status, reply = put(client, authority(realm).bundle(1) | fresh)
        assert (status, reply["root"]) == (200, 6), reply
        # what was trusted before the rotation is refused now
        status, reply = put(client, old)
        assert status == 422, reply
        assert client.device()["trust"]["root"] == 6
        # an order by the new order key, approved by the new owner, over the new freshness, is carried out
        release = yard.fleet.release(IMAGE)
        lock = yard.fleet.lock(release, ["device-000", "device-001"])
        mandate = yard.fleet.mandate(lock)
        order = yard.fleet.install("device-001", release, lock, mandate)
        request = yard.fleet.request(
            order,
            approvals=[yard.fleet.approval(mandate, by="bob")],
            releases=yard.fleet.signed_release(release, by=("bob",)),
            trust=realm.bundle(freshness, 2),
        )
        assert client.put(order, request)[0] == 202
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        assert client.device()["trust"]["root"] == 6


def test_a24_a_device_refuses_an_approval_of_somebody_revoked(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    alice, bob = yard.fleet.people["alice"], key()
    realm = Realm.of(yard.fleet.files(), yard.fleet.now)
    roles = ("root", "targets", "policy")
    realm.change(changes.add_key("bob", bob.public_key, groups=("owners",), roles=roles), [alice, bob])
    realm.change(changes.revoke("alice"), [alice, bob])
    request = yard.fleet.request(
        order, approvals=request.approvals, releases=request.releases, trust=realm.bundle(yard.fleet.freshness)
    )
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        status, reply = client.put(order, request)
        assert (status, reply["code"]) == (422, "E_SIG_THRESHOLD"), reply
        assert client.device()["state"] == "idle"


def test_a18_a_device_does_not_walk_over_a_gap_or_beyond_the_cap(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    realm, freshness = sleep_through(yard)
    whole = realm.bundle(freshness)
    gap = {name: text for name, text in whole.items() if name != "4.root.json"}
    far = whole | {f"{MAX_ROTATIONS + 2}.root.json": whole["6.root.json"]}
    renamed = {name: text for name, text in whole.items() if name != "6.root.json"}
    renamed["6.root.json"] = whole["5.root.json"]
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        for bundle in (gap, far, renamed):
            status, reply = put(client, bundle)
            assert (status, reply["code"]) == (422, "E_ROOT_CHAIN"), reply
            assert client.device()["trust"]["root"] == 1
        assert put(client, whole)[0] == 200


def test_a_proposal_in_the_bundle_is_nothing_to_a_device(yard: Yard) -> None:
    """Who can commit can propose; a device never reads it, and the reconciler does not send it."""
    realm, freshness = sleep_through(yard)
    realm.propose(changes.renew(("root", "targets", "policy")))
    assert not any("proposal" in name for name in authority(realm).bundle(0))
    assert realm.bundle(freshness).keys() == {*authority(realm).bundle(0), "timestamp.json", "snapshot.json"}
