"""Attacks on what the reconciler believes: outcomes that are forged, replayed or another's, documents that lie.

The device is an impostor with the victim's own certificate and key: nobody can lie better.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import TrustVersions
from fwctl_agent.protocol.statements import InstallOrder, RunningImage
from tests.support.impostor import Answer, Impostor, Speaks, context_of, device_key, outcome, refusal
from tests.support.world import World, firmware, free_address

pytestmark = pytest.mark.e2e
IMAGE = firmware("2.5.0", 20_000)
OLD = canonical.digest(b"factory")
LIAR, NEIGHBOUR = "device-001", "device-002"


class Town:
    """One liar, and a neighbour whose key he has stolen too."""

    def __init__(self, world: World, stack: ExitStack) -> None:
        self.world, self._stack = world, stack
        world.init(timeout="2s", attempts=1)
        self.address = free_address()
        self.folder = world.enroll(LIAR, address=self.address)
        self.neighbour = world.enroll(NEIGHBOUR)
        world.add_firmware(IMAGE, "2.5.0")
        command = ("rollout", "create", "sensors", "--firmware", "sensor-v1@2.5.0", "--device", LIAR)
        world.fwctl(*command, "--strategy", "Direct")
        world.fwctl("plan", "sensors", "--lock")
        world.commit("Release")
        world.fwctl("approve", "sensors", "--yes")

    def lies(self, answer: Answer, **claims: Any) -> Impostor:
        return self._stack.enter_context(Impostor(self.address, Speaks(LIAR, answer, claims), context_of(self.folder)))

    def not_believed(self, answer: Answer, **claims: Any) -> str:
        """Run a pass: the device does not count as reached, and no outcome is kept as proof of it."""
        server = self.lies(answer, **claims)
        ran = self.world.once(duration=4)
        assert server.connections
        state = self.world.status()
        assert state["counts"].get("reached", 0) == 0, ran.text
        assert state["state"] != "complete"
        with self.world.ledger() as ledger:
            assert all(row.running_image != canonical.digest(IMAGE) for row in ledger.devices() if row.id == LIAR)
        return ran.out + ran.err


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack, World(tmp_path) as world:
        yield Town(world, stack)


def target(order: InstallOrder) -> RunningImage:
    return RunningImage(order.release, canonical.digest(IMAGE), "2.5.0", order.mandate)


def signed(key: Callable[[Town], Any], **changes: Any) -> Callable[[Town], Answer]:
    """Confirmed, running what was ordered; signed by that key, with changes."""
    return lambda town: (
        lambda order: (
            200,
            outcome(order, key(town), result="confirmed", running=target(order), **changes),
        )
    )


def own(town: Town) -> CryptoSigner:
    return device_key(town.folder)


def _running(running: Callable[[InstallOrder], RunningImage]) -> Callable[[Town], Answer]:
    return lambda town: lambda order: (200, outcome(order, own(town), result="confirmed", running=running(order)))


def _edited(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Callable[[Town], Answer]:
    """Signed well, and the envelope edited afterwards."""

    def made(town: Town) -> Answer:
        def answer(order: InstallOrder) -> tuple[int, Any]:
            reply = outcome(order, own(town), result="confirmed", running=target(order))
            return 200, reply | {"outcome": dict(change(reply["outcome"]))}

        return answer

    return made


FORGED: dict[str, Callable[[Town], Answer]] = {
    "by-a-stranger": signed(lambda town: CryptoSigner.generate_ecdsa()),
    "by-the-neighbour": signed(lambda town: device_key(town.neighbour)),
    "by-the-order-key": signed(lambda town: town.world.keystore.signer("reconciler-order")),
    "by-an-approver": signed(lambda town: town.world.keystore.signer("alice")),
    "about-the-neighbour": signed(own, device=NEIGHBOUR),
    "of-another-fleet": signed(own, repoId="other"),
    "of-another-mandate": signed(own, mandate=canonical.digest(b"other")),
    "unsigned": _edited(lambda envelope: envelope | {"signatures": []}),
    "of-another-type": _edited(lambda envelope: envelope | {"payloadType": "application/vnd.fwctl.order.v1+json"}),
    "counter-0": signed(own, counter=0),
    "counter-text": signed(own, counter="1"),
    "unknown-field": signed(own, trustMe=True),
    "class-made-up": signed(own, **{"class": "perfect"}),
}


@pytest.mark.parametrize("forgery", FORGED.values(), ids=FORGED)
def test_a47_reconciler_an_outcome_that_the_device_did_not_sign_so(
    town: Town, forgery: Callable[[Town], Answer]
) -> None:
    assert "E_REPORT" in town.not_believed(forgery(town))
    with town.world.ledger() as ledger:
        (mandate,) = {order.mandate for order in ledger.orders()}
        assert list(ledger.outcomes(mandate)) == []


OTHERWISE: dict[str, Callable[[Town], Answer]] = {
    "factory": _running(lambda order: RunningImage(None, OLD, "1.0.0", None)),
    "old-image-under-the-new-name": _running(lambda order: RunningImage(order.release, OLD, "2.5.0", order.mandate)),
    "new-image-under-an-old-name": _running(
        lambda order: RunningImage(canonical.digest(b"old"), OLD, "2.4.0", order.mandate)
    ),
}


@pytest.mark.parametrize("lie", OTHERWISE.values(), ids=OTHERWISE)
def test_a47_reconciler_healthy_with_another_image_is_no_success(town: Town, lie: Callable[[Town], Answer]) -> None:
    town.not_believed(lie(town))


def test_a47_reconciler_a_document_with_the_old_image_under_the_new_name(town: Town) -> None:
    """No outcome at all: it merely says that it runs the release, and names another image."""
    release = next(word for word in town.world.fwctl("plan", "sensors").out.split() if word.startswith("sha256:"))
    lie = RunningImage(release, OLD, "2.5.0", None)
    town.not_believed(refusal("deferred", "E_DEFERRED"), running=lie)


HUGE = 2**52
LIES: dict[str, dict[str, Any]] = {
    "trust": {"trust": TrustVersions(HUGE, HUGE, HUGE, HUGE, HUGE)},
    "timestamp-made-up": {"trust": TrustVersions(1, 1, 1, HUGE, HUGE), "highest_timestamp": '{"signed": {}}'},
    "orders-made-up": {"highest_orders": ({"payload": "", "payloadType": "x", "signatures": []},)},
    "counter": {"counter": HUGE},
    "floor": {"floor": HUGE},
}


@pytest.mark.parametrize("claims", LIES.values(), ids=LIES)
def test_a47_reconciler_a_number_that_is_merely_claimed_moves_nothing(town: Town, claims: dict[str, Any]) -> None:
    """Neither the epoch nor the version of the timestamp follows a device's word (CONTRACTS)."""
    town.not_believed(refusal("deferred", "E_DEFERRED"), **claims)
    with contextlib.closing(sqlite3.connect(town.world.ledger_file)) as ledger:
        ((version,),) = ledger.execute("SELECT value FROM meta WHERE key = 'timestamp_version'").fetchall()
    assert int(version) <= 2
    ran = town.world.once("--format", "json", duration=1)
    assert json.loads(ran.out)["epoch"] <= 3, "each pass is one epoch, and no device adds to it"
