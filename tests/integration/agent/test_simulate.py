"""Dense simulation over real TLS: what is printed, and devices that are put away between two visits."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwctl.fleet.certificates import device_name
from fwctl_agent.protocol.statements import InstallOrder
from tests.support.agents import Running, Yard, outcome_of, simulator, until
from tests.support.signing import REPO, image_of

IMAGE = image_of("firmware 2.5.0", 100_000)
DENSE = ("--memory", "--shared-verification")
DEVICE = "d0001"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    yard = Yard(tmp_path_factory.mktemp("dense"))
    for number in range(3):
        yard.enroll(f"d000{number}")
    return yard


@pytest.fixture
def dense(yard: Yard) -> Iterator[Running]:
    with simulator(yard.folder / "enrolled", 3, *DENSE) as running:
        yield running


def told(yard: Yard, running: Running, device: str = DEVICE) -> dict[str, object]:
    """Return what the device says over a connection of its own, without its uptime."""
    with yard.client(device, running.address) as client:
        document: dict[str, object] = client.device()
        return document | {"vitals": None}


def install(yard: Yard, running: Running, device: str) -> InstallOrder:
    """Install with a connection per request."""
    request, order, _ = yard.fleet.install_request(device, IMAGE)
    with yard.client(device, running.address) as client:
        assert client.put(order, request)[0] == 202
    with yard.client(device, running.address) as client:
        assert client.push(order, IMAGE)[1]["state"] == "trial"
    return order


def confirm(yard: Yard, running: Running, device: str, order: InstallOrder) -> None:
    follow, request = yard.follow_up("confirm", order)
    with yard.client(device, running.address) as client:
        assert outcome_of(client.put(follow, request)[1]).result == "confirmed"


def test_the_start_names_every_shortcut(yard: Yard) -> None:
    expected = {
        (): "none",
        ("--memory",): "journal and slots in memory",
        DENSE: "journal and slots in memory, identical bytes verified once, devices at rest put away",
    }
    for options, shortcuts in expected.items():
        with simulator(yard.folder / "enrolled", 3, *options) as running:
            assert running.shortcuts == shortcuts


def test_a_device_that_was_put_away_goes_on_where_it_was(yard: Yard, dense: Running) -> None:
    before = told(yard, dense)
    assert told(yard, dense) == before
    orders = {device: install(yard, dense, device) for device in ("d0000", "d0001", "d0002")}
    for device, order in orders.items():
        confirm(yard, dense, device, order)
    after = told(yard, dense)
    assert after["running"]["version"] == "2.5.0"  # type: ignore[index]
    assert told(yard, dense) == after
    revert, request = yard.follow_up("revert", orders[DEVICE])
    with yard.client(DEVICE, dense.address) as client:
        assert outcome_of(client.put(revert, request)[1]).result == "reverted"
    assert told(yard, dense)["running"]["version"] == "1.0.0"  # type: ignore[index]
    assert told(yard, dense, "d0002")["running"]["version"] == "2.5.0"  # type: ignore[index]


def test_a_device_keeps_counting_its_uptime_while_it_is_put_away(yard: Yard, dense: Running) -> None:
    told(yard, dense)

    def uptime() -> int:
        with yard.client(DEVICE, dense.address) as client:
            return int(client.device()["vitals"]["uptime"])

    until(lambda: uptime() >= 2)


def test_cut_connections_leave_a_device_as_it_was(yard: Yard, dense: Running) -> None:
    request, order, _ = yard.fleet.install_request(DEVICE, IMAGE)
    body = request.to_bytes()
    context = yard.client_context()
    host, _, port = dense.address.rpartition(":")
    head = f"PUT /v1/orders/{order.id} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    whole = head + body
    for part in (b"", head[:20], head, whole[:-1], whole):
        raw = socket.create_connection((host, int(port)), timeout=20)
        with context.wrap_socket(raw, server_hostname=device_name(DEVICE, REPO)) as connection:
            connection.sendall(part)
        assert told(yard, dense)["running"]["version"] == "1.0.0"  # type: ignore[index]
    with yard.client(DEVICE, dense.address) as client:
        assert client.put(order, request)[0] == 202
        assert client.push(order, IMAGE)[1]["state"] == "trial"
    confirm(yard, dense, DEVICE, order)


def test_a_device_reboots_and_is_put_away_and_comes_back(yard: Yard) -> None:
    with simulator(yard.folder / "enrolled", 3, *DENSE, "--boot-delay", "0.5") as running:
        request, order, _ = yard.fleet.install_request(DEVICE, IMAGE)
        with yard.client(DEVICE, running.address) as client:
            client.put(order, request)
            assert client.push(order, IMAGE)[1]["resumeAfter"] == 1

        def state() -> object:
            try:
                return told(yard, running)["state"]
            except OSError:
                return None

        until(lambda: state() == "trial")
        confirm(yard, running, DEVICE, order)
        assert told(yard, running)["running"]["version"] == "2.5.0"  # type: ignore[index]


def test_a_folder_of_another_device_is_refused_and_named(yard: Yard, tmp_path: Path) -> None:
    folder = yard.enroll("d0009")
    settings = folder / "agent.toml"
    settings.write_text(settings.read_text().replace('id = "d0009"', 'id = "d0008"'))
    with simulator(yard.folder / "enrolled", 4, *DENSE) as running:
        with pytest.raises(OSError):
            told(yard, running, "d0009")
        assert told(yard, running)["id"] == DEVICE
        running.process.terminate()
        _, errors = running.process.communicate(timeout=10)
    assert f"{settings}: [device] id: is not the device of the folder, d0009." in errors
    assert "help: enroll the device again" in errors
