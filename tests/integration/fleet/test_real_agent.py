"""The link against the real agent: one update, and what the device signs about it."""

from __future__ import annotations

import io
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from fwctl.fleet.interface import LinkError
from fwctl.fleet.link import Links
from fwctl.fleet.outcomes import verify_outcome
from fwctl_agent.protocol.messages import BusyReply, OrderReply, RefusedReply, TrustVersions
from fwctl_agent.trust.verifier import open_order
from tests.support.agents import Yard, agent, simulator
from tests.support.signing import REPO, image_of

IMAGE = image_of("firmware 2.5.0", 700_000)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


async def test_one_visit_installs_confirms_and_brings_the_proof(yard: Yard) -> None:
    request, order, release = yard.fleet.install_request("device-001", IMAGE)
    confirm = yard.fleet.follow_up("confirm", order)
    policy = yard.fleet.trusted().policy
    assert policy
    follow = open_order(confirm.order, policy)[0]
    with agent(yard.enroll("device-001")) as running:
        async with Links(yard.authorities, REPO).open("device-001", running.address) as link:
            assert (await link.device()).state == "idle"
            assert await link.order(order.id) is None
            accepted = await link.put_order(order.id, request.to_bytes())
            assert isinstance(accepted, OrderReply)
            assert accepted.offset == 0
            tried = await link.put_image(order.id, io.BytesIO(IMAGE), offset=accepted.offset, total=len(IMAGE))
            assert isinstance(tried, OrderReply)
            assert tried.state == "trial"
            confirmed = await link.put_order(follow.id, confirm.to_bytes())
            assert isinstance(confirmed, OrderReply)
            ended = await link.order(order.id, wait=5)
            document = await link.device()
            certificate = link.peer_certificate
    assert document.running.release == release.digest
    assert ended is not None
    assert ended.outcome is not None
    assert certificate is not None
    outcome = verify_outcome(ended.outcome, certificate, "device-001", REPO)
    assert (outcome.result, outcome.order, outcome.running.image) == ("confirmed", order.id, release.image)


async def test_the_device_says_no_in_ways_that_the_link_understands(yard: Yard) -> None:
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    second, later, _ = yard.fleet.install_request("device-001", IMAGE, attempt=2)
    for_another, wrong, _ = yard.fleet.install_request("device-002", IMAGE)
    unsigned = replace(request, approvals=())
    with agent(yard.enroll("device-001")) as running:
        async with Links(yard.authorities, REPO).open("device-001", running.address) as link:
            misled = await link.put_order(wrong.id, for_another.to_bytes())
            assert isinstance(misled, RefusedReply)
            assert (misled.klass, misled.code) == ("refused", "E_ORDER_REPLAY")
            missing = await link.put_order(order.id, unsigned.to_bytes())
            assert isinstance(missing, RefusedReply)
            assert missing.code == "E_SIG_MISSING"
            unknown = await link.put_image(order.id, io.BytesIO(IMAGE), offset=0, total=len(IMAGE))
            assert isinstance(unknown, RefusedReply)
            large = await link.put_order(order.id, b" " * (2 << 20))
            assert isinstance(large, RefusedReply)
            assert large.code == "E_LIMIT"
            assert isinstance(await link.put_order(order.id, request.to_bytes()), OrderReply)
            assert await link.put_order(later.id, second.to_bytes()) == BusyReply(order.id)
            elsewhere = await link.put_image(order.id, io.BytesIO(IMAGE), offset=9, total=len(IMAGE))
            assert isinstance(elsewhere, OrderReply)
            assert elsewhere.offset == 0


async def test_trust_alone_is_taken(yard: Yard) -> None:
    with agent(yard.enroll("device-001")) as running:
        async with Links(yard.authorities, REPO).open("device-001", running.address) as link:
            versions = await link.put_trust(yard.fleet.bundle())
            refused = await link.put_trust({"1.root.json": "junk"})
    assert isinstance(versions, TrustVersions)
    assert versions.timestamp == 1
    assert isinstance(refused, RefusedReply)


async def test_an_agent_of_another_fleet_refuses_our_certificate(tmp_path: Path) -> None:
    yard, stranger = Yard(tmp_path / "ours"), Yard(tmp_path / "theirs")
    folder = yard.enroll("device-001", controller_ca_pem=stranger.authorities.controller_ca.read_bytes())
    with agent(folder) as running:
        async with Links(yard.authorities, REPO).open("device-001", running.address) as link:
            with pytest.raises(LinkError) as caught:
                await link.device()
    assert (caught.value.code, caught.value.reached) == ("E_TLS", False)


async def test_simulated_devices_are_told_apart_by_name(yard: Yard) -> None:
    for number in range(3):
        yard.enroll(f"device-00{number}")
    links = Links(yard.authorities, REPO)
    with simulator(yard.folder / "enrolled", 3) as running:
        certificates = set()
        for number in range(3):
            async with links.open(f"device-00{number}", running.address) as link:
                assert (await link.device()).id == f"device-00{number}"
                certificates.add(ssl.PEM_cert_to_DER_cert(link.peer_certificate or ""))
    assert len(certificates) == 3
