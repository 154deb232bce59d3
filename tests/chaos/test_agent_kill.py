"""`kill -9` of a real agent in the middle of an update: the next start goes on, and each byte is written once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.agents import Running, Yard, agent, outcome_of, until
from tests.support.signing import image_of

IMAGE = image_of("firmware 2.5.0", 300_000)


def kill(running: Running) -> None:
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait(10)


@pytest.mark.parametrize("state", ["accepted", "downloading", "trial", "confirmed"])
def test_the_update_goes_on_after_a_kill(tmp_path: Path, state: str) -> None:
    yard = Yard(tmp_path)
    folder = yard.enroll("device-001")
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    confirm, confirm_request = yard.follow_up("confirm", order)
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        if state == "downloading":
            client.connection.putrequest("PUT", f"/v1/orders/{order.id}/image")
            client.connection.putheader("Content-Length", str(len(IMAGE)))
            client.connection.endheaders(IMAGE[:200_000])
            with yard.client("device-001", running.address) as other:
                until(lambda: other.poll(order, 0).offset == 200_000)
        if state in ("trial", "confirmed"):
            client.push(order, IMAGE)
        if state == "confirmed":
            client.put(confirm, confirm_request)
        kill(running)
    before = (folder / "slots" / "b.img").stat().st_mtime_ns if state in ("trial", "confirmed") else 0
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        reply = client.poll(order)
        assert reply.state == ("accepted" if state == "accepted" else state)
        if reply.offset is not None:
            client.push(order, IMAGE[reply.offset :], first=reply.offset)
        status, answer = client.put(confirm, confirm_request)
        assert (status, outcome_of(answer).running.version) == (200, "2.5.0")
        assert client.device()["counter"] == 2
    assert (folder / "slots" / "b.img").read_bytes() == IMAGE
    if before:
        assert (folder / "slots" / "b.img").stat().st_mtime_ns == before, "it was flashed twice"


def test_killed_again_and_again_in_trial_it_falls_back(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    folder = yard.enroll("device-001")
    request, order, _ = yard.fleet.install_request("device-001", IMAGE)
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        client.put(order, request)
        client.push(order, IMAGE)
        kill(running)
    for _ in range(3):
        with agent(folder) as running:
            kill(running)
    with agent(folder) as running, yard.client("device-001", running.address) as client:
        outcome = outcome_of(client.poll(order))
        assert (outcome.result, outcome.code, outcome.running.version) == ("reverted", "E_BOOT", "1.0.0")
