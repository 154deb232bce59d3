"""`kill -9` of reconciler and agent in the middle of a rollout: the next pass ends it, nothing is written twice.

A moment is a state that the outside can see: the newest event in the ledger, the bytes that have arrived, the state in
the device's journal. The process is killed as soon as it is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fwctl.state import Ledger
from fwctl_agent.runtime.copies import TwoCopies
from fwctl_agent.runtime.fs import OsFs
from tests.support.disk_image import DiskImage
from tests.support.world import Process, World, firmware

FACTORY = b"factory image, unknown to the fleet\n"
IMAGE_BYTES = 3_000_000


def killed(victim: Process, moment: Callable[[], bool], *, seconds: float = 20) -> bool:
    """Kill a process when the moment has come; False if it ended before. `moment` may see half-written things."""
    end = time.monotonic() + seconds
    while victim.running and time.monotonic() < end:
        if moment():
            victim.kill()
            return True
    return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        world.init()
        yield world


def enroll_disk(world: World, name: str = "device-001") -> DiskImage:
    """Enrol a device that counts what is written to its slots."""
    disk = DiskImage(world.folder / f"{name}-disk", FACTORY)
    world.enroll(name, settings=disk.settings())
    return disk


def check_ledger(ledger: Ledger, *, devices: int) -> None:
    """One install per device and mandate, every one confirmed, in an unbroken chain (I3, I6)."""
    assert (ledger.integrity(), ledger.verify_chain()) == ((), None)
    mandate = next(iter(ledger.rollouts())).mandate
    orders = [order for order in ledger.orders(mandate=mandate) if order.verb == "install"]
    assert len({order.device for order in orders}) == len(orders) == devices, "somebody was ordered twice"
    assert {order.status for order in orders} == {"settled"}
    outcomes = list(ledger.outcomes(mandate))
    assert {outcome.result for outcome in outcomes} == {"confirmed"}
    assert len({outcome.device for outcome in outcomes}) == devices


def event(world: World, kind: str, verb: str = "install") -> Callable[[], bool]:
    """Return the moment at which the ledger has a new event of this kind."""

    def found() -> int:
        with world.ledger() as ledger:
            verbs = {order.id: order.verb for order in ledger.orders()}
            return sum(one.kind == kind and verbs.get(one.order, verb) == verb for one in ledger.events())

    before = found()
    return lambda: found() > before


def arrived(world: World, size: int) -> Callable[[], bool]:
    """Return the moment at which so many bytes of the new image have arrived at the agent."""
    file = world.folder / "devices" / "device-001" / "slots" / "incoming.img"
    file.unlink(missing_ok=True)
    return lambda: file.exists() and file.stat().st_size >= size


def test_a_reconciler_killed_anywhere_is_completed_by_the_next_pass(world: World) -> None:
    """THREATS R04 to R06: after each thing it writes down, and while the image leaves."""
    disk = enroll_disk(world)
    world.enroll_simulated(2)
    world.agent("device-001")
    world.simulator()
    moments: list[Callable[[], Callable[[], bool]]] = [
        lambda: event(world, "order.intended"),
        lambda: arrived(world, 1),
        lambda: arrived(world, 2_000_000),
        lambda: event(world, "order.intended", "confirm"),
        lambda: event(world, "outcome.received", "confirm"),
        lambda: event(world, "device.changed"),
    ]
    cut = 0
    for turn, moment in enumerate(moments, start=1):
        image = firmware(f"2.{turn}.0", IMAGE_BYTES)
        world.release(image, f"2.{turn}.0")
        come = moment()
        cut += killed(world.spawn("reconcile", "--once"), come)
        assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 3}, turn
        assert disk.content(len(image)) == image
        assert disk.writes() == (turn, turn), f"written more than once, moment {turn}"
        with world.ledger() as ledger:
            check_ledger(ledger, devices=3)
    assert cut >= len(moments) - 2, "hardly anything was cut short"


def journal(world: World, state: str) -> Callable[[], bool]:
    """Return the moment at which the device's journal says that its order is in this state."""
    fs = OsFs(world.folder / "devices" / "device-001")

    def job() -> dict[str, Any]:
        return (TwoCopies(fs, "state/journal").load() or {}).get("job") or {}

    before = job().get("order")
    return lambda: job().get("order") != before and job().get("state") == state


def written(disk: DiskImage) -> Callable[[], bool]:
    """Return the moment at which the installer has written all, which the journal does not say yet."""
    before = disk.writes()[1]
    return lambda: disk.writes()[1] > before


def test_an_agent_killed_anywhere_goes_on_where_it_was(world: World) -> None:
    """THREATS D01 to D11: in each state of its journal, while bytes arrive, and while they are written."""
    disk = enroll_disk(world)
    agent = world.agent("device-001")
    moments: list[Callable[[], Callable[[], bool]]] = [
        lambda: arrived(world, 1_000_000),
        lambda: journal(world, "verified"),
        lambda: written(disk),
        lambda: journal(world, "staged"),
        lambda: journal(world, "trial"),
    ]
    cut = 0
    for turn, moment in enumerate(moments, start=1):
        image = firmware(f"2.{turn}.0", IMAGE_BYTES)
        world.release(image, f"2.{turn}.0")
        before, come = disk.writes(), moment()
        running = world.spawn("reconcile", "--once", "--max-duration", 15)
        if killed(agent, lambda: come() or not running.running):  # noqa: B023
            cut += running.running
            agent = world.agent("device-001")
        running.wait()
        assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}, running.said()
        assert disk.content(len(image)) == image
        assert disk.writes()[1] == before[1] + 1, f"written more than once, moment {turn}"
        with world.ledger() as ledger:
            check_ledger(ledger, devices=1)
    assert cut >= len(moments) - 2
