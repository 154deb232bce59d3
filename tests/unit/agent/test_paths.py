"""The ways back: along a chain of stops, with a reboot in between, and for a device that went back by itself."""

from __future__ import annotations

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.lock import Leaf, Lock
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import InstallOrder, Release
from fwctl_agent.runtime import steps
from fwctl_agent.runtime.boot import FileBoot
from tests.support.signing import image_of
from tests.unit.agent.bench import DEVICE, Bench

FIRST, SECOND = image_of("firmware 2.0.0", 700), image_of("firmware 3.0.0", 800)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def chain(bench: Bench) -> list[tuple[InstallOrder, OrderRequest, bytes]]:
    """Return the orders of one mandate that leads over two stops."""
    fleet = bench.fleet
    images = {"2.0.0": FIRST, "3.0.0": SECOND}
    releases: list[Release] = [fleet.release(image, version) for version, image in images.items()]
    lock = Lock.of([Leaf(DEVICE, 1, tuple(release.digest for release in releases))])
    mandate = fleet.mandate(lock)
    found = []
    for attempt, (release, image) in enumerate(zip(releases, images.values(), strict=True), start=1):
        order = fleet.install(DEVICE, release, lock, mandate, attempt=attempt)
        request = fleet.request(
            order, approvals=[fleet.approval(mandate)], releases=[s for r in releases for s in fleet.signed_release(r)]
        )
        found.append((order, request, image))
    return found


def test_a_device_moves_along_its_chain_and_its_own_revert_goes_one_stop_back(bench: Bench) -> None:
    (first, first_request, first_image), (second, second_request, second_image) = chain(bench)
    bench.strive(first, first_request, first_image)
    bench.device.put_order(second.id, second_request)
    bench.push(second, second_image)
    bench.device.advance()
    bench.device.probed(False, ())
    bench.device.advance()
    assert bench.outcome(second.id).running.version == "2.0.0"


def test_an_ordered_revert_over_two_stops_says_that_the_image_is_gone(bench: Bench) -> None:
    for order, request, image in chain(bench):
        bench.strive(order, request, image)
        for verb in ("install", "confirm"):
            assert (order.mandate, verb) in {(mark.mandate, mark.verb) for mark in bench.device.record.marks}
    assert bench.device.record.image.running.version == "3.0.0"
    with pytest.raises(Refusal, match="E_NO_WAY_BACK"):
        bench.follow("revert", order, attempt=5)


def test_an_ordered_revert_with_a_reboot_ends_after_the_start() -> None:
    bench = Bench(changes={"reboot": "exit"})
    order, request = bench.install()
    bench.strive(order, request)
    revert = bench.follow("revert", order)
    reply = bench.device.reply(revert)
    assert reply is not None
    assert (reply.state, reply.resume_after, reply.outcome) == ("reverting", 7, None)
    bench.clock.reboot()
    bench.power_on()
    assert bench.device.advance() == steps.Idle()
    assert bench.outcome(revert).running.version == "1.0.0"
    bench.check_bootable()


def test_a_device_that_went_back_by_itself_says_what_it_runs(bench: Bench) -> None:
    bench.to_confirmed()
    FileBoot(bench.disk).go_back("a")
    bench.power_on()
    assert bench.device.record.image.running.version == "1.0.0"
    bench.check_bootable()


def test_a_revert_after_a_failed_install_only_spends_the_mandate(bench: Bench) -> None:
    order = bench.accept()
    intake = bench.device.open_image(order.id, 0, None)
    assert intake is not None
    bench.device.feed(intake, b"x" * 10_000)
    revert = bench.follow("revert", order)
    assert bench.outcome(revert).result == "reverted"
    assert bench.outcome(order.id).result == "failed"
    assert [spent.mandate for spent in bench.device.record.spent] == [order.mandate]


def test_a_mandate_that_was_adopted_again_is_not_its_own_way_back(bench: Bench) -> None:
    bench.to_confirmed(FIRST)
    other = bench.accept(SECOND)
    bench.follow("cancel", other)
    again = bench.accept(FIRST, attempt=2)
    assert bench.outcome(again.id).result == "confirmed"
    with pytest.raises(Refusal, match="E_NO_WAY_BACK"):
        bench.follow("revert", again, attempt=2)
    assert bench.device.record.spent == ()


def test_a_selector_write_that_failed_half_way_is_settled_before_anything_else(bench: Bench) -> None:
    order = bench.accept()
    bench.push(order)
    first = bench.disk.operations

    def trap(at: int, what: str) -> None:
        if at > first and "folder" in what and FileBoot(bench.disk).state().trial == "b":
            raise OSError(5, "Input/output error")

    bench.disk.trap = trap
    with pytest.raises(OSError, match="Input/output"):
        bench.device.advance()
    with pytest.raises(Refusal, match="E_ENDED"):
        bench.follow("cancel", order)
    bench.check_bootable()
    bench.disk.trap = lambda at, what: None
    bench.strive(*bench.install())
    assert bench.outcome(order.id).result == "confirmed"


def test_a_crash_loop_around_the_switch_ends_on_the_old_slot() -> None:
    bench = Bench(changes={"reboot": "exit", "tries": 100})
    order = bench.to_trial()
    for _ in range(11):
        bench.power_on()
        bench.check_bootable()
    for _ in range(2):
        bench.device.advance()
        bench.power_on()
    bench.device.advance()
    assert bench.outcome(order.id).code == "E_RESTARTS"
    assert bench.device.booted == "a"
    bench.check_bootable()
