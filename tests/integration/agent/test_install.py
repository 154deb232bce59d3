"""Whole updates over real mutual TLS, to real agent processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.agents import FACTORY, Yard, agent, outcome_of, simulator, until
from tests.support.signing import image_of

IMAGE = image_of("firmware 2.5.0", 300_000)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def test_an_order_goes_from_bytes_to_confirmed_on_one_connection(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    request, order, release = yard.fleet.install_request("device-001", IMAGE)
    confirm, confirm_request = yard.follow_up("confirm", order)
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        document = client.device()
        assert (document["id"], document["state"], document["running"]["version"]) == ("device-001", "idle", "1.0.0")
        status, reply = client.put(order, request)
        assert (status, reply["state"], reply["image"]) == (202, "accepted", {"offset": 0})
        status, reply = client.push(order, IMAGE)
        assert (status, reply["state"], reply["resumeAfter"]) == (202, "trial", None)
        status, reply = client.put(confirm, confirm_request)
        assert (status, reply["state"]) == (200, "confirmed")
        assert outcome_of(reply).running.image == release.image
        assert outcome_of(client.poll(order)).result == "confirmed"
        assert client.device()["running"]["release"] == release.digest
        revert, revert_request = yard.follow_up("revert", order)
        status, reply = client.put(revert, revert_request)
        assert (status, outcome_of(reply).running.version) == (200, "1.0.0")
    assert (folder / "slots" / "b.img").read_bytes() == IMAGE
    assert (folder / "slots" / "a.img").read_bytes() == FACTORY
    assert (folder / "slots" / "current").readlink() == Path("a.img")
    listing = subprocess.run(
        [sys.executable, "-m", "fwctl_agent", "status", "--config", str(folder), "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(listing.stdout)["running"]["version"] == "1.0.0"


def test_an_upload_that_was_cut_goes_on_in_a_new_connection(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    with agent(folder) as running:
        with yard.client("device-001", running.address) as client:
            client.put(order, request)
            client.connection.putrequest("PUT", f"/v1/orders/{order.id}/image")
            client.connection.putheader("Content-Length", str(len(IMAGE)))
            client.connection.putheader("Content-Range", f"bytes 0-{len(IMAGE) - 1}/{len(IMAGE)}")
            client.connection.endheaders(IMAGE[:100_000])
        with yard.client("device-001", running.address) as client:
            until(lambda: client.poll(order, 0).offset == 100_000)
            status, reply = client.push(order, IMAGE[5:], first=5)
            assert (status, reply["image"]) == (416, {"offset": 100_000})
        with yard.client("device-001", running.address) as client:
            status, reply = client.push(order, IMAGE[100_000:], first=100_000)
            assert (status, reply["state"]) == (202, "trial")


def test_a_longer_image_ends_the_order_and_leaves_the_device_as_it_was(yard: Yard) -> None:
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    with agent(yard.enroll("device-001")) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        status, reply = client.ask("PUT", f"/v1/orders/{order.id}/image", IMAGE + b"!")
        assert (status, outcome_of(reply).code) == (200, "E_LENGTH")
        with yard.client("device-001", running.address) as again:
            assert again.device()["running"]["version"] == "1.0.0"


def test_the_trial_reverts_alone_when_a_probe_is_bad(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    settings = folder / "agent.toml"
    check = '[[probes.default.checks]]\nname = "app"\ntype = "file"\npath = "/nonexistent/x"\n[facts]'
    text = settings.read_text().replace("[facts]", check).replace("attempts = 3", "attempts = 1")
    settings.write_text(text)
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        client.push(order, IMAGE)
        outcome = outcome_of(client.poll(order))
        assert (outcome.result, outcome.klass, outcome.evidence[0].probe) == ("reverted", "health", "app")
        assert client.device()["spent"] == [{"mandate": order.mandate, "reason": "health"}]


def test_without_a_confirm_the_device_reverts_alone(yard: Yard) -> None:
    request, order, _ = yard.fleet.install_request("device-001", IMAGE, confirm_within=1)
    with agent(yard.enroll("device-001")) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        client.push(order, IMAGE)
        until(lambda: client.poll(order, 0).outcome is not None)
        assert outcome_of(client.poll(order)).klass == "unconfirmed"


def test_a_watch_that_fails_reverts_with_a_new_outcome(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    health = folder / "health"
    health.write_text("ok")
    check = f'[[probes.default.checks]]\nname = "app"\ntype = "file"\npath = "{health}"\n[facts]'
    settings = folder / "agent.toml"
    settings.write_text(settings.read_text().replace("[facts]", check).replace("interval = 2", "interval = 0.1"))
    request, order, _ = yard.fleet.install_request("device-001", IMAGE, watch=600)
    confirm, confirm_request = yard.follow_up("confirm", order)
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        client.push(order, IMAGE)
        assert outcome_of(client.put(confirm, confirm_request)[1]).result == "confirmed"
        assert client.device()["state"] == "confirmed"
        health.unlink()
        until(lambda: client.device()["running"]["version"] == "1.0.0")
        assert outcome_of(client.poll(order)).result == "reverted"


def test_a_reboot_is_announced_asked_for_and_survived(yard: Yard) -> None:
    folder = yard.enroll("device-001", reboot="exit", boot_seconds=4)
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    confirm, confirm_request = yard.follow_up("confirm", order)
    with agent(folder) as running:
        with yard.client("device-001", running.address) as client:
            client.put(order, request)
            status, reply = client.push(order, IMAGE)
            assert (status, reply["state"], reply["resumeAfter"]) == (202, "staged", 4)
        assert running.wait() == 75
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        until(lambda: client.poll(order, 1).state == "trial")
        assert outcome_of(client.put(confirm, confirm_request)[1]).running.version == "2.5.0"


def test_sigterm_ends_cleanly_even_with_an_open_connection(yard: Yard) -> None:
    with agent(yard.enroll("device-001")) as running, yard.client("device-001", running.address) as client:
        client.device()
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(8) == 0


def test_an_idle_agent_stays_small(yard: Yard) -> None:
    with agent(yard.enroll("device-001")) as running, yard.client("device-001", running.address) as client:
        client.device()
        lines = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
        resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    if "coverage" not in sys.modules:
        assert resident <= 55 * 1024


def test_the_simulator_serves_each_device_under_its_own_name_and_reboots_it(yard: Yard) -> None:
    for number in range(3):
        yard.enroll(f"device-00{number}")
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    confirm, confirm_request = yard.follow_up("confirm", order)
    with simulator(yard.folder / "enrolled", 3, "--boot-delay", "0.5", "--memory") as running:
        for number in range(3):
            address = running.address.replace("127.0.0.1", f"127.0.0.{number + 1}")
            with yard.client(f"device-00{number}", address) as client:
                assert client.device()["id"] == f"device-00{number}"
        with yard.client("device-001", running.address) as client:
            client.put(order, request)
            assert client.push(order, IMAGE)[1]["state"] == "staged"
        time.sleep(0.2)
        with pytest.raises(OSError, match=r".*"):
            yard.client("device-001", running.address).device()
        with yard.client("device-002", running.address) as other:
            assert other.device()["state"] == "idle"
        time.sleep(0.8)
        with yard.client("device-001", running.address) as client:
            assert outcome_of(client.put(confirm, confirm_request)[1]).running.version == "2.5.0"
    assert not (yard.folder / "enrolled" / "device-001" / "slots" / "b.img").exists()
