"""Devices that do not behave, in passes of the real reconciler: others are not held up, nothing false counts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.fleet.link import Links, Timeouts
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import InstallOrder, RunningImage
from tests.integration.fleet.devices import document, read_request, response
from tests.support.impostor import (
    Answer,
    Impostor,
    Speaks,
    Stream,
    always,
    context_of,
    device_key,
    outcome,
    refusal,
)
from tests.support.world import World, firmware, free_address

IMAGE = firmware("2.5.0")
FACTORY = RunningImage(None, canonical.digest(b"factory"), "0.0.0", None)


class Street:
    """A fleet of impostors and one honest device."""

    def __init__(self, world: World, stack: ExitStack) -> None:
        self.world = world
        self._stack = stack
        self.addresses: dict[str, str] = {}

    def house(self, name: str) -> Path:
        """Enrol a device that nobody serves yet."""
        self.addresses[name] = free_address()
        return self.world.enroll(name, address=self.addresses[name])

    def honest(self, name: str = "honest") -> None:
        self.house(name)
        self.world.agent(name)

    def impostor(self, name: str, handler: Stream, *, tls: bool = True, as_: str = "") -> Impostor:
        folder = self.world.folder / "devices" / name
        if not folder.exists():
            self.house(name)
        context = context_of(self.world.folder / "devices" / (as_ or name)) if tls else None
        return self._stack.enter_context(Impostor(self.addresses[name], handler, context))

    def speaker(self, name: str, answer: Answer, **claims: object) -> Impostor:
        return self.impostor(name, Speaks(name, answer, claims))


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    with ExitStack() as stack, World(tmp_path) as world:
        world.init(timeout="2s")
        yield Street(world, stack)


def reasons(world: World) -> dict[str, str]:
    """Return what was said first of each device that cannot be reached: later tries may find it busy with others."""
    with world.ledger() as ledger:
        away = {row.id for row in ledger.devices() if not row.reachable}
        told = [event for event in ledger.events() if event.kind == "device.unreachable" and event.device in away]
        return {event.device: event.reason for event in reversed(told)}


async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(response(200, document("cut-off").to_wire())[:300])
    await writer.drain()


async def plain_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(5)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10737418240\r\n\r\n")
    for _ in range(10 * 1024):
        writer.write(b"[" * (1 << 20))
        await writer.drain()


def test_nonsense_of_every_kind_holds_nobody_up_and_counts_for_nothing(street: Street) -> None:
    world = street.world
    street.honest()
    street.house("neighbour")
    street.house("nobody-home")
    street.house("other-id")
    servers = [
        street.impostor("garbage", always(b"\x00\xff\r\n\r\n" * 50)),
        street.impostor("not-json", always(response(200, b"<html>"))),
        street.impostor("ten-gigabytes", endless),
        street.impostor("cut-off", cut_off),
        street.impostor("plain-http", plain_http, tls=False),
    ]
    # A wrong name is told while hands are shaken: this one may never learn that somebody was there.
    street.impostor("other-name", Speaks("other-name", refusal("deferred", "E_X"), {}), as_="neighbour")
    world.release(IMAGE)
    (release,) = [line for line in world.fwctl("plan", "sensors").out.split() if line.startswith("sha256:")][:1]
    target = RunningImage(release, canonical.digest(IMAGE), "2.5.0", None)
    street.impostor("other-id", always(response(200, document("honest", running=target).to_wire())))
    ran = world.once(duration=8)
    assert ran.code == 0, ran.text
    assert "progressing" in ran.out
    assert "minReached: 1 of 10 reached" in ran.out, "a wave that reached too few holds, and says so"
    standings = world.standings()
    assert standings.pop("honest") == "reached"
    assert set(standings.values()) == {"straggler"}, standings
    assert all(server.connections for server in servers)
    said = reasons(world)
    codes = {name: reason.partition(":")[0] for name, reason in said.items()}
    assert codes == {
        "nobody-home": "E_UNREACHABLE",
        "neighbour": "E_UNREACHABLE",
        "garbage": "E_DEVICE_REPLY",
        "not-json": "E_DEVICE_REPLY",
        "ten-gigabytes": "E_DEVICE_REPLY",
        "cut-off": "E_UNREACHABLE",
        "plain-http": "E_TLS",
        "other-name": "E_TLS",
        "other-id": "E_REPORT",
    }
    assert "neighbour" in said["other-name"]
    assert "honest" in said["other-id"]
    assert world.active_bytes("honest") == IMAGE
    with world.ledger() as ledger:
        assert {order.device for order in ledger.orders()} == {"honest"}


def test_a_device_that_drips_is_given_up_in_time(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in response(200, document("dripping").to_wire()):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    # The limits of a production fleet would make the test wait for half a minute.
    limits = Timeouts(connect=1.0, read=1.0, write=1.0, call=1.5)
    monkeypatch.setattr("fwctl.reconcile.acting.Links", partial(Links, timeouts=limits))
    street.honest()
    street.impostor("dripping", drip)
    street.world.release(IMAGE)
    ran = street.world.once(duration=8)
    assert ran.code == 0, ran.text
    assert street.world.standings() == {"honest": "reached", "dripping": "straggler"}


def test_an_absent_device_becomes_a_straggler_and_catches_up_when_it_is_back(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = street.world
    street.honest()
    street.house("absent")
    world.release(IMAGE)
    first = world.once("--format", "json", duration=1)
    assert first.code == 0, first.text
    assert world.standings()["honest"] == "reached"
    assert world.standings()["absent"] in ("retry", "straggler")
    second = world.once(duration=8)
    assert (second.code, "1 reached, 1 straggler" in second.out) == (0, True), second.text
    assert world.active_bytes("honest") == IMAGE
    world.agent("absent")
    assert world.reconciled()["visits"] == 0, "a straggler is looked for now and then, not in every pass"
    # Its hour is over: the device would refuse orders of a clock that was really put forward.
    monkeypatch.setattr("fwctl.rollouts.standing.STRAGGLER_RETRY", timedelta())
    world.forget_summaries()  # a pass believes what the last one wrote down: its hour would not be over
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 2}
    assert world.active_bytes("absent") == IMAGE


def test_an_outcome_that_another_key_signed_counts_for_nothing(street: Street) -> None:
    world, forger = street.world, CryptoSigner.generate_ecdsa()

    def forged(order: InstallOrder) -> tuple[int, object]:
        running = RunningImage(order.release, canonical.digest(IMAGE), "2.5.0", order.mandate)
        return 200, outcome(order, forger, result="confirmed", running=running)

    forger_at = street.speaker("forged", forged)
    world.release(IMAGE)
    ran = world.once(duration=8)
    assert "E_REPORT: the outcome is not signed by the device's key" in ran.err, ran.text
    (device,) = world.status()["devices"]
    assert (device["state"], "unreachable (E_REPORT)" in device["reason"]) == ("failed", True), device
    asked = forger_at.connections
    assert asked == 3, "as often as the rollout says, and no more"
    world.once(duration=2)
    assert forger_at.connections == asked
    with world.ledger() as ledger:
        assert [row.running_version for row in ledger.devices()] == ["1.0.0"]
        (mandate,) = {order.mandate for order in ledger.orders()}
        assert list(ledger.outcomes(mandate)) == []


def test_confirmed_is_believed_only_of_the_image_that_was_ordered(street: Street) -> None:
    world, folder = street.world, street.house("liar")

    def lying(order: InstallOrder) -> tuple[int, object]:
        return 200, outcome(order, device_key(folder), result="confirmed", running=FACTORY)

    street.speaker("liar", lying)
    world.release(IMAGE)
    ran = world.once(duration=4)
    assert (ran.code, "rolled-back" in ran.out) == (1, True), ran.text
    (device,) = world.status()["devices"]
    assert (device["state"], "silent-revert" in device["reason"]) == ("untouched", True), device
    with world.ledger() as ledger:
        assert [row.running_image for row in ledger.devices()] != [canonical.digest(IMAGE)]


def test_a_refusal_holds_the_rollout_until_a_human_has_looked(street: Street) -> None:
    world = street.world
    refuser = street.speaker("picky", refusal("refused", "E_HW_MISMATCH"))
    world.release(IMAGE)
    ran = world.once()
    assert (ran.code, "held" in ran.out, "E_HW_MISMATCH" in ran.out) == (1, True, True), ran.text
    status = world.fwctl("status", "sensors").out
    assert "held" in status
    assert "picky refused: E_HW_MISMATCH" in status
    asked = refuser.connections
    again = world.once()
    assert (again.code, refuser.connections) == (1, asked), "I9: it stays so, and the device is left alone"


def test_not_now_is_no_failure_and_is_asked_again(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("fwctl.rollouts.decide", "fwctl.reconcile.account"):
        monkeypatch.setattr(f"{module}.DEFER_AGAIN", timedelta(seconds=2))
    world = street.world
    other = canonical.digest(b"another order")
    answers: dict[str, Answer] = {
        "busy": lambda order: (409, {"code": "E_BUSY", "running": other}),
        "deferring": refusal("deferred", "E_NOT_READY"),
        "forgetful": refusal("resync", "E_META_ROLLBACK"),
    }
    for name in answers:
        street.house(name)
    world.release(IMAGE)
    with ExitStack() as stack:
        for name, answer in answers.items():
            tls = context_of(world.folder / "devices" / name)
            stack.enter_context(Impostor(street.addresses[name], Speaks(name, answer, {}), tls))
        ran = world.once(duration=1)
        assert (ran.code, "progressing" in ran.out) == (0, True), ran.text
        assert world.standings() == {"busy": "in-flight", "deferring": "retry", "forgetful": "in-flight"}
    for name in answers:
        world.agent(name)
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 3}
    with world.ledger() as ledger:
        installs = [order for order in ledger.orders() if order.verb == "install"]
    assert [(order.attempt, order.failure_class) for order in installs] == [(1, "")] * 3


def test_an_image_that_is_not_stored_is_said_before_any_device_is_contacted(street: Street) -> None:
    world = street.world
    visited = street.speaker("device-001", refusal("refused", "E_HW_MISMATCH"))
    world.release(IMAGE)
    (image,) = world.images
    kept = image.read_bytes()
    image.unlink()
    ran = world.once()
    assert (ran.code, "E_STORAGE_MISSING" in ran.err) == (3, True), ran.text
    assert visited.connections == 0
    with world.ledger() as ledger:
        assert ledger.orders() == ()
    assert kept == IMAGE


def test_a_rollout_without_its_image_holds_up_no_other(street: Street) -> None:
    world = street.world
    for name, version in (("first", "2.4.0"), ("second", "2.5.0")):
        street.house(name)
        world.add_firmware(firmware(version), version)
        world.fwctl(
            "rollout", "create", name, "--firmware", f"sensor-v1@{version}", "--device", name, "--strategy", "Direct"
        )
        world.fwctl("plan", name, "--lock")
        world.commit()
        world.fwctl("approve", name, "--yes")
    world.agent("second")
    (missing,) = [path for path in world.images if path.read_bytes() == firmware("2.4.0")]
    missing.unlink()
    ran = world.once()
    assert (ran.code, "E_STORAGE_MISSING" in ran.err) == (3, True), ran.text
    assert world.active_bytes("second") == IMAGE


def test_a_rotten_image_bricks_nobody_and_the_order_goes_on_once_it_is_mended(street: Street) -> None:
    world = street.world
    street.honest("device-001")
    world.release(IMAGE)
    (image,) = world.images
    image.write_bytes(IMAGE[:-1] + b"!")
    ran = world.once()
    assert (ran.code, "E_HASH" in ran.err) == (5, True), ran.text
    assert world.journal("device-001")["running"]["version"] == "0.0.0"
    with world.ledger() as ledger:
        (order,) = ledger.orders()
        assert order.status != "settled"
    image.write_bytes(IMAGE)
    assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
    assert world.active_bytes("device-001") == IMAGE
    with world.ledger() as ledger:
        assert {one.id for one in ledger.orders() if one.verb == "install"} == {order.id}


def test_a_port_where_nobody_ever_answers_is_bounded(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """THREATS R19: the handshake hangs; the honest device does not wait for it."""
    limits = Timeouts(connect=1.0, read=1.0, write=1.0, call=1.5)
    monkeypatch.setattr("fwctl.reconcile.acting.Links", partial(Links, timeouts=limits))
    street.honest()
    street.house("black-hole")
    host, _, port = street.addresses["black-hole"].rpartition(":")
    with socket.create_server((host, int(port))):
        street.world.release(IMAGE)
        ran = street.world.once(duration=8)
    assert ran.code == 0, ran.text
    assert street.world.standings() == {"honest": "reached", "black-hole": "straggler"}
