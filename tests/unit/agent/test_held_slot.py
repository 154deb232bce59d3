"""A slot that is staged and held: what may happen to it until it is activated, and what activation proves again."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from datetime import timedelta

import pytest

from fwctl.trust.signing import OrderSigner
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.statements import InstallOrder
from fwctl_agent.runtime import steps
from fwctl_agent.runtime.device import Busy
from fwctl_agent.runtime.document import document
from tests.support.signing import NOW, Fleet, image_of
from tests.unit.agent.bench import DEVICE, FACTORY, IMAGE, Bench, Disk, PowerCut, power_cut

OTHER = image_of("firmware 2.6.0", 3500)


class RottenDisk(Disk):
    """A disk on which one file cannot be read any more."""

    rotten = ""

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        if path == self.rotten:
            raise OSError(errno.EIO, "Input/output error")
        yield from super().chunks(path, size)


@pytest.fixture
def bench() -> Bench:
    return Bench(disk=RottenDisk())


def held(bench: Bench, **changes: object) -> InstallOrder:
    order = bench.to_trial(activation="hold", **changes)  # type: ignore[arg-type]
    assert told(bench) == ("staged", "1.0.0")
    return order


def told(bench: Bench) -> tuple[str, str]:
    found = document(bench.device, uptime=1)
    return found.state, found.running.version


def moved(bench: Bench, **policy: object) -> None:
    """Let the fleet decide on another policy, as a later version of its trust."""
    old = bench.fleet
    bench.fleet = Fleet(old.people, old.order, old.freshness, old.now, old.epoch, dict(old.policy) | policy, version=2)
    bench.fleet.files()["1.root.json"] = old.files()["1.root.json"]


@pytest.mark.parametrize("how", ["rotten", "changed", "short", "gone"])
def test_a42_a_held_slot_that_rotted_fails_its_order_and_nothing_flips(bench: Bench, how: str) -> None:
    order, disk = held(bench), bench.disk
    assert isinstance(disk, RottenDisk)
    match how:
        case "rotten":
            disk.rotten = "slots/b.img"
        case "changed":
            disk.put("slots/b.img", IMAGE[:-1] + b"!")
        case "short":
            disk.put("slots/b.img", IMAGE[:-1])
        case _:
            del disk.names["slots/b.img"], disk.durable["slots/b.img"]
    activate = bench.follow("activate", order)
    code = "E_IO" if how == "rotten" else "E_HASH"
    for one in (order.id, activate):
        outcome = bench.outcome(one)
        assert (outcome.result, outcome.klass, outcome.code) == ("failed", "install", code)
    assert told(bench) == ("idle", "1.0.0")
    assert bench.device.record.current == "a"
    assert [slot.state for slot in document(bench.device, uptime=1).slots] == ["verified", "empty"]
    bench.check_bootable()
    disk.rotten = ""
    again = bench.to_confirmed(attempt=2)
    assert bench.outcome(again.id).result == "confirmed", "the slot is written anew"


def test_a_held_slot_outlasts_any_number_of_starts(bench: Bench) -> None:
    order = held(bench)
    for _ in range(40):
        bench.disk.cut_power(torn=True)
        bench.clock.reboot()
        bench.power_on()
        assert bench.device.advance() == steps.AwaitOrder()
    assert bench.outcome(order.id).result == "staged"
    bench.follow("activate", order)
    assert told(bench)[0] == "trial"


def test_a_device_that_slept_for_weeks_takes_a_fresh_activation_only(bench: Bench) -> None:
    order = held(bench)
    stale = bench.fleet.follow_up("activate", order)
    bench.clock.pass_time(40 * 86400)
    bench.power_on()
    with pytest.raises(Refusal) as caught:
        bench.device.put_order("sha256:" + "0" * 64, stale)
    assert caught.value.code in ("E_EXPIRED", "E_META_EXPIRED")
    assert told(bench) == ("staged", "1.0.0")
    bench.fleet.now = NOW + timedelta(days=40)  # the approvals have ended meanwhile; activate does not ask for them
    activate = OrderSigner(bench.fleet.order, bench.fleet.epoch).follow_up(
        "activate", order, attempt=1, now=bench.fleet.now
    )
    bench.device.put_order(activate.id, bench.fleet.request(activate, trust=bench.fleet.bundle(2)))
    bench.device.advance()
    assert told(bench)[0] == "trial"


@pytest.mark.parametrize(("policy", "code"), [("withdrawn", "E_WITHDRAWN"), ("floors", "E_ROLLBACK_FLOOR")])
def test_a22_activation_is_judged_by_the_policy_of_today(bench: Bench, policy: str, code: str) -> None:
    order = held(bench)
    moved(bench, **({"withdrawn": [order.release]} if policy == "withdrawn" else {"floors": {"sensor-v1": 2}}))
    with pytest.raises(Refusal) as caught:
        bench.follow("activate", order)
    assert (caught.value.code, caught.value.klass) == (code, "refused")
    assert bench.device.advance() == steps.AwaitOrder()
    assert told(bench) == ("staged", "1.0.0")
    assert bench.disk.read("slots/a.img") == FACTORY


def test_cancel_frees_a_held_slot_and_spends_nothing(bench: Bench) -> None:
    order = held(bench)
    cancel = bench.follow("cancel", order)
    assert bench.outcome(cancel).result == bench.outcome(order.id).result == "cancelled"
    assert (told(bench), bench.device.record.spent) == (("idle", "1.0.0"), ())
    with pytest.raises(Refusal, match="E_REFERS_TO"):
        bench.follow("activate", order)
    again = bench.accept(attempt=2, activation="hold")
    bench.device.advance()
    assert bench.outcome(again.id).result == "staged", "the bytes are still there and are not sent twice"


def test_nothing_but_its_own_orders_moves_a_held_slot(bench: Bench) -> None:
    order = held(bench)
    with pytest.raises(Busy):
        bench.accept(OTHER)
    with pytest.raises(Refusal, match="E_NOT_READY"):
        bench.follow("revert", order)
    with pytest.raises(Refusal, match="E_NOT_READY"):
        bench.follow("confirm", order)
    assert told(bench) == ("staged", "1.0.0")
    assert bench.outcome(order.id).result == "staged"


@pytest.mark.parametrize("reboot", ["none", "exit"])
@pytest.mark.parametrize("loss", ["kill", "power", "torn"])
def test_an_activation_survives_a_cut_at_every_operation(loss: str, reboot: str) -> None:
    seed = Bench(changes={"reboot": reboot})

    def to_held() -> tuple[Bench, InstallOrder]:
        bench = Bench(fleet=seed.fleet, signer=seed.signer, changes={"reboot": reboot})
        return bench, held(bench)

    whole, order = to_held()
    before = whole.disk.operations
    settle(whole, order)
    count = whole.disk.operations - before
    assert 8 < count < 200
    for number in range(1, count + 1):
        bench, order = to_held()
        bench.disk.trap = power_cut(bench.disk.operations + number)
        with pytest.raises(PowerCut):
            settle(bench, order)
        bench.disk.trap = lambda at, what: None
        if loss != "kill":
            bench.disk.cut_power(torn=loss == "torn")
            bench.clock.reboot()
        bench.power_on()
        bench.check_bootable()
        settle(bench, order)
        assert bench.outcome(order.id).result == "confirmed", number
        assert told(bench) == ("idle", "2.5.0")
        marks = sorted((mark.verb, mark.attempt) for mark in bench.device.record.marks)
        assert marks == [("activate", 1), ("confirm", 1), ("install", 1)], "each once"
        bench.check_bootable()


def settle(bench: Bench, order: InstallOrder) -> None:
    """Activate and confirm as a reconciler does, which asks before it repeats an order."""
    for _ in range(12):
        rest = bench.device.advance()
        match rest:
            case steps.Idle():
                return
            case steps.AwaitOrder():
                bench.follow("activate", order)
            case steps.Probe():
                bench.device.probed(True, ())
            case steps.AwaitConfirm():
                bench.follow("confirm", order)
            case steps.Restart():
                bench.clock.reboot()
                bench.power_on()
            case _:
                raise AssertionError(rest)
    raise AssertionError(f"{DEVICE} does not come to rest")
