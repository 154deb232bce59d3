"""Readiness, facts and numeric probes of a real agent process, and a watch that outlives it. Real TLS."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.agents import Yard, agent, outcome_of, until
from tests.support.signing import image_of

IMAGE = image_of("firmware 2.5.0", 50_000)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def configured(folder: Path, text: str) -> Path:
    settings = folder / "agent.toml"
    settings.write_text(
        settings.read_text().replace("[facts] ", f"{text}\n[facts] ").replace("interval = 2", "interval = 0.1")
    )
    return folder


def thermometer(folder: Path) -> Path:
    """Give the device a numeric probe, read from the file that is returned."""
    value = folder / "temperature"
    value.write_text("61\n")
    check = f'[[probes.default.checks]]\nname = "temperature"\ntype = "command"\nargv = ["/bin/cat", "{value}"]'
    configured(folder, check)
    return value


def test_an_install_waits_until_the_device_is_ready(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    busy = folder / "busy"
    busy.write_text("in use until noon\nand more\n")
    configured(folder, f'[readiness]\ncommand = ["/bin/sh", "-c", "! cat {busy}"]')
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        message = "this device is not ready: in use until noon"
        refusal = {"class": "deferred", "code": "E_DEFERRED", "message": message}
        assert client.put(order, request) == (422, refusal)
        document = client.device()
        assert (document["state"], document["marks"], document["counter"]) == ("idle", [], 0)
        busy.unlink()
        assert client.put(order, request)[0] == 202


def test_facts_from_a_program_stand_in_the_document(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    facts = folder / "facts.json"
    facts.write_text('{"battery": 80, "docked": true}')
    configured(folder, f'[facts_command]\nargv = ["/bin/cat", "{facts}"]\nevery = 0.1')
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        assert client.device()["facts"] == {"battery": 80, "docked": True}
        facts.write_text('{"battery": 12}')
        until(lambda: client.device()["facts"] == {"battery": 12})
        facts.write_text('{"battery": 12.5}')
        until(lambda: client.device()["facts"] == {})


def test_a_measured_value_above_its_ordered_limit_ends_the_trial(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    thermometer(folder)
    request, order, _ = yard.fleet.install_request("device-001", IMAGE, limits=(("temperature", 60),))
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        client.push(order, IMAGE)
        outcome = outcome_of(client.poll(order))
        assert (outcome.result, outcome.klass) == ("reverted", "health")
        assert [(found.probe, found.value, found.detail) for found in outcome.evidence] == [
            ("temperature", 61, "61 is above the limit 60")
        ]
        assert client.device()["vitals"]["temperature"] == 61


def test_a_watch_survives_a_kill_and_still_reverts_at_a_limit(yard: Yard) -> None:
    folder = yard.enroll("device-001")
    value = thermometer(folder)
    request, order, _ = yard.fleet.install_request("device-001", IMAGE, limits=(("temperature", 80),), watch=600)
    confirm, confirm_request = yard.follow_up("confirm", order)
    with agent(folder) as running:
        with yard.client("device-001", running.address) as client:
            client.put(order, request)
            client.push(order, IMAGE)
            first = outcome_of(client.put(confirm, confirm_request)[1])
            assert first.result == "confirmed"
            value.write_text("75\n")
            until(lambda: client.device()["vitals"]["temperature"] == 75)
        running.process.send_signal(signal.SIGKILL)
        running.wait()
    value.write_text("95\n")
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        until(lambda: client.device()["running"]["version"] == "1.0.0")
        document = client.device()
        last = outcome_of({"outcome": document["outcomes"][-1]})
        assert (last.order, last.result, last.klass) == (order.id, "reverted", "health")
        assert last.counter > first.counter
        assert (last.evidence[0].value, document["vitals"]["temperature"]) == (95, 95)
        assert document["spent"] == [{"mandate": order.mandate, "reason": "watch"}]
