"""The identities of devices, and of the controller, changed while rollouts run: passes with real agents."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from fwctl.fleet.certificates import Authorities, DeviceIssuer, key_digest, load_certificate, read_device_certificate
from fwctl.fleet.register import Register
from fwctl.rollouts.cohorts import by_lot
from fwctl_agent.cli import main as agent_main
from fwctl_agent.protocol.enrolment import CERTIFICATE
from tests.support.agents import Client
from tests.support.world import MODEL, REPO, Process, World, firmware, free_address, until

NAMES = [f"gate-{number:03}" for number in range(1, 5)]
FIRST, SECOND, THIRD, FOURTH = by_lot(NAMES, "sensors")
"""in the order in which a canary takes them"""
CANARY = "{type: Canary, initialPercentage: 50, increments: [100], soak: 1s}"
GATES = "gates: {minReached: {percent: 50}}"
ROLLOUT = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {{name: sensors}}
spec:
  firmware: {{model: {model}, version: "{version}"}}
  targets: {{all: true}}
  strategy: {strategy}
  {more}
"""


class Street:
    """Four real devices, and a rollout for all of them."""

    def __init__(self, world: World, names: list[str] | None = None) -> None:
        self.world = world
        self.names = names if names is not None else NAMES
        world.init(timeout="2s")
        self.agents: dict[str, Process] = {}
        for name in self.names:
            world.enroll(name, address=free_address())

    def wake(self, *names: str) -> None:
        for name in names or self.names:
            self.agents[name] = self.world.agent(name)

    def sleep(self, name: str) -> None:
        self.agents.pop(name).stop()

    def folder(self, name: str) -> Path:
        return self.world.folder / "devices" / name

    @property
    def pki(self) -> Authorities:
        return Authorities(self.world.keystore.pki)

    def certificate(self, name: str) -> Any:
        return read_device_certificate((self.folder(name) / CERTIFICATE).read_text())

    def release(self, version: str, *, strategy: str = CANARY, more: str = GATES) -> None:
        world, path = self.world, self.world.repo / "rollouts" / "dev" / "sensors.yaml"
        world.add_firmware(firmware(version), version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ROLLOUT.format(model=MODEL, version=version, strategy=strategy, more=more))
        world.fwctl("plan", "sensors", "--lock")
        world.commit(f"Release {version}")
        world.fwctl("approve", "sensors", "--yes")

    def age(self, name: str) -> None:
        """Let a device's certificate end yesterday."""
        issuer, old = DeviceIssuer.load(self.world.keystore, REPO), self.certificate(name)
        now = datetime.now(UTC) - timedelta(days=1827)
        ca: Any = FromLongAgo(issuer.ca)
        pem = DeviceIssuer(ca, issuer.key, REPO).certify(name, old.public_key, enrolled_at=old.enrolled_at, now=now)
        (self.folder(name) / CERTIFICATE).write_bytes(pem)

    def rotate(self, name: str) -> None:
        """Give a device a new key, as soon as no order is at work there."""

        def done() -> bool:
            ran = self.world.run("device", "rotate", name, "--format", "json")
            assert ran.code == 0 or "E_BUSY" in ran.out, ran.text
            return ran.code == 0

        until(done, what=f"{name} to change its key")

    def look_again(self) -> None:
        """Let devices that did not answer be looked for in the next pass, as an hour later."""
        self.world.forget_summaries()

    def says(self, name: str) -> tuple[str, str, str]:
        """Return what a person is told about a device by `status`, `explain` and `device show`."""
        status = self.world.fwctl("status", "sensors", "--format", "json").out
        (found,) = json.loads(status)["rollouts"]
        (line,) = [one["reason"] for one in found["devices"] if one["device"] == name]
        explained, shown = self.world.run("explain", name), self.world.fwctl("device", "show", name)
        return line, explained.out + explained.err, shown.out + shown.err

    def outcomes(self) -> dict[str, int]:
        found = dict.fromkeys(self.names, 0)
        with self.world.ledger() as ledger:
            for mandate in {order.mandate for order in ledger.orders()}:
                for outcome in ledger.outcomes(mandate):
                    found[outcome.device] += 1
        return found

    def proved(self, out: Path) -> None:
        """Let a third party judge what happened, with the root alone."""
        assert self.world.fwctl("events", "--verify").code == 0
        self.world.fwctl("audit", "export", "--rollout", "sensors", "--out", out)
        judged = self.world.run("audit", "verify", out, "--root", self.world.repo / "trust" / "1.root.json")
        assert judged.code == 0, judged.text


class FromLongAgo:
    """The device CA as it would be, had it been made many years ago."""

    def __init__(self, ca: Any) -> None:
        self._ca = ca
        self.not_valid_before_utc = ca.not_valid_before_utc - timedelta(days=9000)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ca, name)


class Thief:
    """Somebody with a controller's certificate and key, and a way to the devices."""

    def __init__(self, street: Street, stolen: dict[str, bytes], folder: Path) -> None:
        self._street = street
        self._files = [folder / name for name in stolen]
        for path in self._files:
            path.write_bytes(stolen[path.name])

    def at(self, device: str) -> Client:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._street.pki.device_ca)
        certificate, key = self._files
        context.load_cert_chain(certificate, key)
        return Client(device, self._street.agents[device].address, context)


@pytest.fixture
def street(world: World) -> Street:
    return Street(world)


@pytest.fixture
def house(world: World) -> Street:
    return Street(world, ["gate-001"])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stragglers are looked for in every pass: their hour is over."""
    monkeypatch.setattr("fwctl.rollouts.standing.STRAGGLER_RETRY", timedelta())


def test_a45_a_canary_goes_on_without_those_who_cannot_prove_who_they_are(street: Street, at_once: None) -> None:
    world = street.world
    street.age(FIRST)
    street.wake()
    world.fwctl("device", "revoke", THIRD, "--reason", "stolen")
    street.release("2.5.0")
    before = world.journal(THIRD)
    ran = world.once(duration=20)
    assert ran.code == 0, ran.text
    assert {name: world.standings()[name] for name in NAMES} == {
        FIRST: "straggler",
        SECOND: "reached",
        THIRD: "held",
        FOURTH: "reached",
    }
    line, explained, shown = street.says(FIRST)
    for text in (line, explained, shown):
        assert "E_CERT_EXPIRED" in text
    for text in (explained, shown):
        assert f"fwctl device renew {FIRST}" in text
    _, explained, shown = street.says(THIRD)
    for text in (explained, shown):
        assert "revoked: stolen" in text
    with world.ledger() as ledger:
        assert {order.device for order in ledger.orders()} == {SECOND, FOURTH}
        assert [row.device for row in ledger.quarantine()] == [THIRD], "nothing of theirs counted"
    assert world.journal(THIRD) == before
    world.fwctl("device", "renew", FIRST)
    street.look_again()
    ran = world.once(duration=20)
    assert (ran.code, world.standings()[FIRST]) == (0, "reached"), ran.text


def test_a_device_that_changed_its_key_between_two_passes_is_recognised(street: Street, tmp_path: Path) -> None:
    world = street.world
    street.wake()
    street.release("2.5.0")
    assert world.once(duration=20).code == 0
    before, old = street.outcomes(), street.certificate(FIRST).key
    street.rotate(FIRST)
    assert street.certificate(FIRST).key != old
    street.proved(tmp_path / "first")
    street.release("2.6.0")
    assert world.once(duration=20).code == 0
    assert set(world.standings().values()) == {"reached"}
    assert street.outcomes() == {name: 2 * count for name, count in before.items()}, "none was taken twice"
    told = json.loads(world.fwctl("device", "history", FIRST, "--format", "json").out)
    assert "2.5.0" in json.dumps(told)
    assert "2.6.0" in json.dumps(told)
    street.proved(tmp_path / "second")


def test_outcomes_signed_again_prove_the_past_to_a_new_ledger(house: Street, tmp_path: Path) -> None:
    world = house.world
    house.wake()
    house.release("2.5.0")
    assert world.once(duration=20).code == 0
    house.rotate("gate-001")
    for path in world.ledger_file.parent.glob(f"{world.ledger_file.name}*"):
        path.unlink()
    ran = world.once("--new-ledger", duration=20)
    assert ran.code == 0, ran.text
    assert world.standings() == {"gate-001": "reached"}
    assert house.outcomes() == dict.fromkeys(house.names, 0), "nothing was sent: there are no orders of ours"
    assert world.active_bytes("gate-001") == firmware("2.5.0")
    assert world.fwctl("events", "--verify").code == 0


def test_a_key_is_not_changed_while_an_order_runs(house: Street, tmp_path: Path, at_once: None) -> None:
    """Staged, in the trial, in the watch: the outcome is expected under the key that took the order."""
    world, (name,) = house.world, house.names
    file = house.folder(name) / "agent.toml"
    text = file.read_text().replace('reboot = "none"', 'reboot = "exit"').replace("seconds = 30 ", "seconds = 2 ")
    file.write_text(text)
    house.wake()
    house.release("2.5.0", strategy="{type: Direct, soak: 4s}", more="")
    process = house.agents[name]
    until(lambda: world.once(duration=2).code == 0 and not process.running, what="the restart into the new slot")
    assert process.wait() == 75, process.said()
    house.wake()  # it has started from the new slot, and waits for its confirm
    key = house.certificate(name).key
    assert world.journal(name)["state"] == "trial"
    busy = world.run("device", "rotate", name, "--format", "json")
    assert (busy.code, "E_BUSY" in busy.out) == (5, True), busy.text
    assert house.certificate(name).key == key
    world.fwctl("device", "renew", name)  # a renewal keeps the key, so it may come at any time
    assert house.certificate(name).key == key
    house.look_again()
    ran = world.once(duration=20)
    assert (ran.code, world.standings()) == (0, {name: "reached"}), (ran.text, world.fwctl("explain", name).out)
    house.rotate(name)
    assert house.certificate(name).key != key
    assert world.standings() == {name: "reached"}
    house.proved(tmp_path / "evidence")


def test_the_controller_gets_a_new_key_while_a_rollout_runs(street: Street, tmp_path: Path) -> None:
    world = street.world
    street.wake()
    street.release("2.5.0", strategy="{type: Canary, initialPercentage: 50, increments: [100], soak: 3s}")
    world.once(duration=1)
    old = key_digest(load_certificate(street.pki.controller).public_key())  # type: ignore[arg-type]  # ours: P-256
    stolen = {path.name: path.read_bytes() for path in (street.pki.controller, street.pki.controller_key)}
    world.fwctl("controller", "renew")
    ran = world.once(duration=20)
    assert (ran.code, set(world.standings().values())) == (0, {"reached"}), ran.text
    thief = Thief(street, stolen, tmp_path)
    with thief.at(FIRST) as held:
        assert held.device()["id"] == FIRST, "it was not revoked yet"
        world.fwctl("controller", "revoke", old, "--reason", "the laptop is gone")
        street.release("2.6.0")
        ran = world.once(duration=20)
        assert (ran.code, set(world.standings().values())) == (0, {"reached"}), ran.text
        with pytest.raises((OSError, ValueError, HTTPException)):
            held.device()
    for name in NAMES:
        with pytest.raises((OSError, HTTPException)), thief.at(name) as client:
            client.device()
    street.proved(tmp_path / "evidence")


def test_a_revoked_device_comes_back_with_a_new_key_under_its_name(house: Street, tmp_path: Path) -> None:
    world, (name,) = house.world, house.names
    house.wake()
    house.release("2.5.0", strategy="{type: Direct}", more="")
    assert world.once(duration=20).code == 0
    lost = house.certificate(name)
    world.fwctl("device", "revoke", name, "--reason", "the board was lost")
    house.sleep(name)
    fresh, request, bundle = tmp_path / "fresh", tmp_path / "request.csr", tmp_path / "bundle"
    asked = ["request", "--config", str(fresh), "--id", name, "--fleet", REPO, "--out", str(request)]
    assert agent_main(asked) == 0
    world.fwctl("device", "enroll", name, "--request", request, "--out", bundle)
    assert agent_main(["enroll", "--config", str(fresh), "--bundle", str(bundle)]) == 0
    house.folder(name).rename(tmp_path / "lost")
    fresh.rename(house.folder(name))
    house.wake()
    assert house.certificate(name).key != lost.key
    assert house.certificate(name).enrolled_at > lost.enrolled_at
    assert Register(house.pki.folder).read().superseded(name) == (lost.key,)
    house.release("2.6.0", strategy="{type: Direct}", more="")
    ran = world.once(duration=10)
    assert world.standings()[name] == "held", ran.text
    world.fwctl("quarantine", "release", name, "--reason", "a new board")
    ran = world.once(duration=20)
    assert (ran.code, world.standings()) == (0, {name: "reached"}), ran.text
    assert world.active_bytes(name) == firmware("2.6.0")
    house.proved(tmp_path / "evidence")
