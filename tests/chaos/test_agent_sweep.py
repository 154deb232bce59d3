"""Interrupt a good update at every single disk operation (MCUboot), and fail every one (SQLite)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import InstallOrder
from fwctl_agent.runtime.ports import InstallFailed
from tests.unit.agent.bench import DEVICE, FACTORY, IMAGE, Bench, PowerCut, disk_full, power_cut

LIMIT = 400


@pytest.fixture(scope="module")
def seed() -> Bench:
    return Bench()


def fresh(seed: Bench, **changes: object) -> Bench:
    return Bench(fleet=seed.fleet, signer=seed.signer, changes=dict(changes))


def sweep(seed: Bench, make_order: tuple[InstallOrder, OrderRequest], **changes: object) -> Iterator[tuple[int, Bench]]:
    """Yield a bench for operation 1, 2, 3 ... until a whole update needs fewer."""
    whole = fresh(seed, **changes)
    before = whole.disk.operations
    whole.strive(*make_order)
    assert whole.outcome(make_order[0].id).result == "confirmed"
    count = whole.disk.operations - before
    assert 30 < count < LIMIT
    for number in range(1, count + 1):
        bench = fresh(seed, **changes)
        yield bench.disk.operations + number, bench


@pytest.mark.parametrize("reboot", ["none", "exit"])
@pytest.mark.parametrize("loss", ["kill", "power", "torn"])
def test_an_update_survives_a_cut_at_every_operation(seed: Bench, loss: str, reboot: str) -> None:
    make = seed.install(watch=0)
    for number, bench in sweep(seed, make, reboot=reboot):
        bench.disk.trap = power_cut(number)
        highest = bench.device.record.counter
        with pytest.raises(PowerCut):
            bench.strive(*make)
        bench.disk.trap = lambda at, what: None
        counter = bench.device.record.counter
        if loss != "kill":
            bench.disk.cut_power(torn=loss == "torn")
            bench.clock.reboot()
        bench.power_on()
        bench.check_bootable()
        assert bench.device.record.counter >= highest
        assert bench.device.record.counter >= counter, "an outcome that was told was lost"
        bench.strive(*make)
        bench.check_bootable()
        assert bench.outcome(make[0].id).result == "confirmed", number
        assert bench.disk.read("slots/b.img") == IMAGE
        marks = [(mark.verb, mark.attempt) for mark in bench.device.record.marks]
        assert sorted(marks) == [("confirm", 1), ("install", 1)]


@pytest.mark.parametrize("forever", [False, True])
def test_an_update_survives_a_full_disk_at_every_operation(seed: Bench, forever: bool) -> None:
    make = seed.install(watch=0)
    for number, bench in sweep(seed, make):
        bench.disk.trap = disk_full(number, forever=forever)
        for _ in range(3):  # what the driver does: try again later
            try:
                bench.strive(*make)
            except (OSError, InstallFailed):
                bench.check_bootable()
            else:
                break
        bench.disk.trap = lambda at, what: None
        bench.check_bootable()
        bench.strive(*make)
        outcome = bench.outcome(make[0].id)
        assert (outcome.result, outcome.klass) in (("confirmed", None), ("failed", "install")), number
        if outcome.result == "failed":
            assert outcome.running.version == "1.0.0"
            assert bench.disk.read("slots/a.img") == FACTORY
            again = seed.install(attempt=2, watch=0)
            bench.strive(*again)
            assert bench.outcome(again[0].id).result == "confirmed"
        bench.check_bootable()


def test_a_revert_survives_a_cut_at_every_operation(seed: Bench) -> None:
    make = seed.install(watch=0)

    def to_confirmed() -> Bench:
        bench = fresh(seed)
        bench.strive(*make)
        return bench

    whole = to_confirmed()
    before = whole.disk.operations
    revert = whole.follow("revert", make[0])
    count = whole.disk.operations - before
    for number in range(1, count + 1):
        bench = to_confirmed()
        bench.disk.trap = power_cut(bench.disk.operations + number)
        with pytest.raises(PowerCut):
            bench.follow("revert", make[0])
        bench.disk.trap = lambda at, what: None
        bench.disk.cut_power(torn=True)
        bench.power_on()
        bench.check_bootable()
        bench.device.advance()
        if bench.device.reply(revert) is None:
            bench.follow("revert", make[0])
        assert bench.outcome(revert).result == "reverted"
        assert bench.outcome(make[0].id).result == "reverted"
        assert bench.device.record.image.running.version == "1.0.0"
        assert [spent.reason for spent in bench.device.record.spent] == ["ordered"]
        bench.check_bootable()
    assert whole.device.record.device == DEVICE
