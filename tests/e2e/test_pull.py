"""Devices that fetch for themselves: real agents, a real reconciler, a real HTTPS server; a token that nobody shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwctl_agent.runtime.intake import CHECKPOINT
from tests.support.people import change_policy
from tests.support.storage_server import Fault, StorageServer, always, in_turn
from tests.support.world import Ran, World, firmware, next_host, until

pytestmark = pytest.mark.e2e

CANARY = "canary-5f1d2c3b4a"


class Fetching:
    """A fleet whose devices pull from a server that needs a token in the query."""

    def __init__(self, world: World, server: StorageServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.server = server
        token = world.folder / "token"
        token.write_text(f"sig={CANARY}\n")
        token.chmod(0o600)
        monkeypatch.setenv("FWCTL_STORAGE_QUERY_FILE", str(token))
        monkeypatch.setenv("FWCTL_STORAGE_CA", str(server.ca))

    def init(self, delivery: str = "pull", **settings: object) -> None:
        self.world.init(**settings)  # type: ignore[arg-type]
        file = self.world.repo / "fleet.yaml"
        storage = f'storage: {{type: https, url: "{self.server.url}"}}\n  delivery: {delivery}'
        file.write_text(re.sub(r"storage: \{.*\}", storage, file.read_text()))

    def trust(self) -> None:
        """Have the policy list the server."""
        policy = json.loads((self.world.repo / "trust" / "policy" / "policy.json").read_text())
        policy["storage"] = [self.server.entry()]
        edited = self.world.folder / "policy.json"
        edited.write_text(json.dumps(policy))
        self.world.fwctl("trust", "policy", edited)

    def enroll(self, *names: str) -> None:
        for name in names:
            folder = self.world.enroll(name)
            with (folder / "agent.toml").open("a") as settings:
                settings.write(f'\n[download]\nca = "{self.server.ca}"\n')

    def simulate(self, count: int) -> None:
        folder = self.world.enroll_simulated(count)
        for settings in folder.glob("*/agent.toml"):
            settings.write_text(settings.read_text() + f'\n[download]\nca = "{self.server.ca}"\n')

    def release(self, image: bytes, version: str = "2.5.0") -> None:
        self.server.add(image)
        self.world.release(image, version)

    def assert_no_secret(self) -> None:
        """Nothing that anybody prints, keeps or commits holds the token: only the devices' own journals may."""
        world, seen = self.world, 0
        allowed = {world.folder / "token"}
        for path in world.folder.rglob("*"):
            if path.is_file() and path not in allowed and "journal" not in path.name:
                seen += 1
                assert CANARY.encode() not in path.read_bytes(), path
            elif path.is_file() and CANARY.encode() in path.read_bytes():
                assert path == world.folder / "token" or path.stat().st_mode & 0o077 == 0
        assert seen > 20
        for command in ("status", "events", "device list", "report sensors", "doctor", "rollout list"):
            for format_ in ("text", "json"):
                assert CANARY not in world.run(*command.split(), "--format", format_).text


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetching]:
    with World(tmp_path) as world, StorageServer(tmp_path, host=next_host()) as server:
        yield Fetching(world, server, monkeypatch)


def test_a_rollout_by_pull_reaches_real_and_simulated_devices_and_shows_no_token(fleet: Fetching) -> None:
    world, image = fleet.world, firmware("pulled")
    fleet.init()
    fleet.trust()
    fleet.enroll("gateway-1", "gateway-2")
    fleet.simulate(6)
    fleet.release(image)
    for name in ("gateway-1", "gateway-2"):
        world.agent(name)
    world.simulator("--memory")
    before, faults = len(fleet.server.ranges), in_turn(Fault(status=503), Fault(reset_at=50_000))
    fleet.server.fault = lambda number: faults(number - before)
    world.reconciled()
    assert set(world.standings().values()) == {"reached"}
    assert world.active_bytes("gateway-1") == world.active_bytes("gateway-2") == image
    assert sorted(fleet.server.ranges[before:]) == [""] * 9 + ["bytes=50000-"]
    assert any(one.target.endswith(f"?sig={CANARY}") for one in fleet.server.requests)
    fleet.assert_no_secret()


def test_d01_an_agent_that_is_killed_while_it_downloads_goes_on_by_range(fleet: Fetching) -> None:
    world, image = fleet.world, firmware("large", 3 * CHECKPOINT)
    fleet.init()
    fleet.trust()
    fleet.enroll("gateway-1")
    fleet.release(image)
    agent = world.agent("gateway-1")
    before = len(fleet.server.ranges)
    fleet.server.fault = lambda number: Fault(rate=8 << 20) if number == before else Fault()
    reconciler = world.spawn("reconcile", "--once", "--max-duration", 60)
    slot = world.folder / "devices" / "gateway-1" / "slots" / "b.img"
    until(lambda: slot.exists() and slot.stat().st_size > CHECKPOINT + (CHECKPOINT >> 1), what="half of it")
    with world.client("gateway-1", agent.address) as client:
        assert client.device()["state"] == "downloading"  # it answers meanwhile
    agent.kill()
    agent.listening()
    assert reconciler.wait(60) == 0, reconciler.said()
    if set(world.standings().values()) != {"reached"}:
        world.once(duration=30)
    assert set(world.standings().values()) == {"reached"}
    assert world.active_bytes("gateway-1") == image
    first, again = fleet.server.ranges[before:]
    assert first == ""
    assert int(again.removeprefix("bytes=").rstrip("-")) >= CHECKPOINT
    fleet.assert_no_secret()


def test_r18_a_broken_storage_stops_the_rollout_and_no_device_is_blamed(fleet: Fetching) -> None:
    world, image = fleet.world, firmware("pulled")
    fleet.init(attempts=2)
    fleet.trust()
    fleet.simulate(12)
    fleet.release(image)
    world.simulator("--memory")
    before = len(fleet.server.ranges)
    fleet.server.fault = always(Fault(wrong=True))
    ran = world.once()
    assert ran.code == 5, ran.text
    assert "E_HASH" in ran.err
    assert fleet.server.host in ran.text
    with world.ledger() as ledger:
        assert {row.running_version for row in ledger.devices()} == {"0.0.0"}
        assert not list(ledger.quarantine())
        failed = [order for order in ledger.orders() if order.failure_class]
        assert {order.failure_class for order in failed} == {"download"}
    assert len(fleet.server.ranges) - before <= 12
    fleet.server.fault = in_turn()
    world.once(duration=30)
    assert set(world.standings().values()) == {"reached"}
    fleet.assert_no_secret()


def test_a27_a_storage_that_only_the_commit_names_is_refused_at_every_door(fleet: Fetching) -> None:
    world, image = fleet.world, firmware("pulled")
    world.init()
    fleet.enroll("gateway-1")
    world.release(image)
    world.agent("gateway-1")
    file = world.repo / "fleet.yaml"
    storage = f'storage: {{type: https, url: "{fleet.server.url}"}}\n  delivery: pull'
    file.write_text(re.sub(r"storage: \{.*\}", storage, file.read_text()))
    # The copy that lies in the commit is no policy: only what is signed is.
    policy = world.repo / "trust" / "policy" / "policy.json"
    signed = policy.read_text()
    assert "E_URL" in world.run("validate").text
    ran = world.run("firmware", "add", world.folder / "2.5.0.bin", "--model", "sensor-v1", "--version", "2.5.0")
    assert (ran.code, "E_URL" in ran.err) == (4, True), ran.text
    world.commit("Storage elsewhere")
    ran = world.once()
    assert (ran.code, "E_URL" in ran.err) == (4, True), ran.text
    edited = json.loads(signed) | {"storage": [fleet.server.entry()]}
    policy.write_text(json.dumps(edited))
    world.commit("Policy by hand")
    assert world.run("validate").code != 0
    assert world.once().code == 4
    assert fleet.server.requests == []
    assert world.journal("gateway-1")["running"]["version"] == "0.0.0"


def test_what_is_pushed_may_come_from_a_storage_behind_https(fleet: Fetching) -> None:
    world, image = fleet.world, firmware("pushed")
    fleet.init(delivery="push")
    fleet.trust()
    fleet.enroll("gateway-1", "gateway-2")
    ran = _add(world, image)
    assert (ran.code, "E_STORAGE_MISSING" in ran.err, "Upload" in ran.err) == (3, True, True), ran.text
    fleet.release(image)
    for name in ("gateway-1", "gateway-2"):
        world.agent(name)
    before = len(fleet.server.ranges)
    world.reconciled()
    assert set(world.standings().values()) == {"reached"}
    assert len(fleet.server.ranges) == before + 1
    fleet.assert_no_secret()


def _add(world: World, image: bytes) -> Ran:
    file = world.folder / "2.5.0.bin"
    file.write_bytes(image)
    return world.run("firmware", "add", file, "--model", "sensor-v1", "--version", "2.5.0")


@pytest.mark.parametrize("lost", ["host", "token"])
def test_a39_without_its_storage_a_fleet_takes_back_what_it_installed(
    fleet: Fetching, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No image is needed for that: neither a host that is struck off the list nor a lost token may be in the way."""
    world, asked = fleet.world, fleet.server.requests
    fleet.init()
    fleet.trust()
    fleet.enroll("gateway-1")
    fleet.release(firmware("pulled"))
    world.agent("gateway-1")
    world.reconciled()
    assert set(world.standings().values()) == {"reached"}
    if lost == "host":
        change_policy(world, lambda policy: policy.update(storage=[]))
    else:
        monkeypatch.setenv("FWCTL_STORAGE_QUERY_FILE", str(world.folder / "nowhere"))
    before = len(asked)
    world.fwctl("rollback", "sensors", "--reason", "the storage is not ours any more", "--confirm", "sensors")
    world.commit("Roll back")
    ran = world.once()
    assert (ran.code, "rolled-back" in ran.out) == (1, True), ran.text
    with world.ledger() as ledger:
        assert [row.running_version for row in ledger.stream_devices()] == ["0.0.0"]
    assert len(asked) == before
    fleet.assert_no_secret()
