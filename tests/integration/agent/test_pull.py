"""A39, A40 at the door of a real agent: what an order may name, over mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fwctl_agent.protocol.statements import Pull
from tests.support.agents import Yard, agent, outcome_of
from tests.support.signing import Fleet, image_of
from tests.support.storage_server import Fault, StorageServer, always

IMAGE = image_of("firmware 2.5.0", 300_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StorageServer]:
    with StorageServer(tmp_path) as server:
        yield server


def yard_of(tmp_path: Path, server: StorageServer) -> tuple[Yard, Path]:
    """Return a fleet that lists the server, and the folder of a device that trusts its CA."""
    yard = Yard(tmp_path)
    yard.fleet = Fleet(now=yard.fleet.now, policy={"storage": [server.entry()]})
    folder = yard.enroll("device-001")
    with (folder / "agent.toml").open("a") as settings:
        settings.write(f'\n[download]\nca = "{server.ca}"\n')
    return yard, folder


def test_a39_an_agent_refuses_addresses_that_the_policy_does_not_list(tmp_path: Path, server: StorageServer) -> None:
    yard, folder = yard_of(tmp_path, server)
    good = server.add(IMAGE)
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        before = client.device()
        for url in (
            good.replace("127.0.0.1", "localhost"),
            good.replace("127.0.0.1", "0x7f.1"),
            good.replace("127.0.0.1", "2130706433"),
            good.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
            good.replace("https://", "https://images.example.com@"),
            good.replace("127.0.0.1", "127.0.0.1\\@evil.example"),
            "https://169.254.169.254/latest/meta-data/",
        ):
            request, order, _ = yard.fleet.install_request("device-001", IMAGE, delivery=Pull(url))
            status, reply = client.put(order, request)
            assert (status, reply["code"], reply["class"]) == (422, "E_URL", "refused"), url
        for url in ("file:///etc/passwd", "gopher://127.0.0.1/", "http://127.0.0.1/", "https://127.0.0.1/ x", ""):
            request, order, _ = yard.fleet.install_request("device-001", IMAGE, delivery=Pull(url))
            status, reply = client.put(order, request)
            assert (status, reply["code"]) == (422, "E_SCHEMA"), url
        after = client.device()
    assert {name: after[name] for name in before if name not in ("vitals", "trust", "highestTimestamp")} == {
        name: before[name] for name in before if name not in ("vitals", "trust", "highestTimestamp")
    }
    assert server.requests == []


def test_a40_an_agent_follows_no_redirect_and_names_the_storage(tmp_path: Path, server: StorageServer) -> None:
    yard, folder = yard_of(tmp_path, server)
    server.fault = always(Fault(status=302, headers=(("Location", f"{server.url}/elsewhere"),)))
    request, order, _ = yard.fleet.install_request(
        "device-001", IMAGE, delivery=Pull(server.add(IMAGE) + "?sig=canary")
    )
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        assert client.put(order, request)[0] in (200, 202)
        outcome = outcome_of(client.poll(order, wait=20))
        document = client.device()
    assert (outcome.result, outcome.klass, outcome.code) == ("failed", "download", "E_REDIRECT")
    assert f"127.0.0.1:{server.port}" in outcome.evidence[0].detail
    assert document["running"]["version"] == "1.0.0"
    assert len(server.requests) == 1


def test_a_file_that_is_no_ca_ends_the_order_and_not_the_agent(tmp_path: Path, server: StorageServer) -> None:
    yard, folder = yard_of(tmp_path, server)
    server.ca.write_text("nonsense")
    request, order, _ = yard.fleet.install_request("device-001", IMAGE, delivery=Pull(server.add(IMAGE)))
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        outcome = outcome_of(client.poll(order, wait=20))
    assert (outcome.klass, outcome.code) == ("download", "E_STORAGE_TLS")
    assert server.requests == []
