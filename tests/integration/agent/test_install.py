"""A whole update over real mutual TLS, to a real agent process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.agents import FACTORY, Yard, agent, outcome_of, simulator
from tests.support.signing import image_of

IMAGE = image_of("firmware 2.5.0", 300_000)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def test_a_device_describes_itself(yard: Yard) -> None:
    with agent(yard.enroll("device-001")) as running:
        document = yard.client("device-001", running.address).device()
    assert (document["id"], document["state"], document["running"]["version"]) == ("device-001", "idle", "1.0.0")
    assert [slot["state"] for slot in document["slots"]] == ["verified", "empty"]


def test_an_order_goes_from_bytes_to_confirmed_on_one_connection(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    request, order, release = yard.fleet.install_request("device-001", IMAGE)
    with agent(folder) as running:
        client = yard.client("device-001", running.address)
        status, reply = client.put(order, request)
        assert (status, reply["state"], reply["image"]) == (202, "accepted", {"offset": 0})
        status, reply = client.push(order, IMAGE)
        assert (status, reply["state"], reply["resumeAfter"]) == (202, "trial", None)
        confirm = yard.fleet.follow_up("confirm", order)
        from fwctl_agent.trust.verifier import open_order

        policy = yard.fleet.trusted().policy
        assert policy
        follow, _ = open_order(confirm.order, policy)
        status, reply = client.put(follow, confirm)
        assert (status, reply["state"]) == (200, "confirmed")
        assert outcome_of(reply).running.image == release.image
        assert outcome_of(client.poll(order)).result == "confirmed"
        assert client.device()["running"]["release"] == release.digest
    assert (folder / "slots" / "b.img").read_bytes() == IMAGE
    assert (folder / "slots" / "a.img").read_bytes() == FACTORY
    assert (folder / "slots" / "current").readlink() == Path("b.img")


def test_the_simulator_serves_each_device_under_its_own_name(yard: Yard) -> None:
    for number in range(3):
        yard.enroll(f"device-00{number}")
    with simulator(yard.folder / "enrolled", 3) as running:
        for number in range(3):
            client = yard.client(f"device-00{number}", running.address.replace("127.0.0.1", f"127.0.0.{number + 1}"))
            assert client.device()["id"] == f"device-00{number}"
