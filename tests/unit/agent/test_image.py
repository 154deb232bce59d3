"""Bytes on their way into a slot: too many, too few, wrong ones, interrupted ones."""

from __future__ import annotations

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.statements import InstallOrder
from tests.unit.agent.bench import FACTORY, IMAGE, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def offset(bench: Bench, order: InstallOrder) -> int | None:
    reply = bench.device.reply(order.id)
    assert reply is not None
    return reply.offset


def send(bench: Bench, order: InstallOrder, data: bytes, first: int = 0) -> None:
    intake = bench.device.open_image(order.id, first, None)
    assert intake is not None
    for start in range(0, len(data), 700):
        if not bench.device.feed(intake, data[start : start + 700]):
            break
    bench.device.close_image(intake)


def assert_failed(bench: Bench, order: InstallOrder, klass: str, code: str) -> None:
    outcome = bench.outcome(order.id)
    assert (outcome.result, outcome.klass, outcome.code) == ("failed", klass, code)
    assert [slot.state for slot in outcome.slots] == ["verified", "empty"]
    assert outcome.running.version == "1.0.0"
    bench.check_bootable()


def test_one_byte_too_many_ends_the_order(bench: Bench) -> None:
    order = bench.accept()
    send(bench, order, IMAGE + b"!")
    assert_failed(bench, order, "download", "E_LENGTH")


def test_an_endless_stream_is_cut_at_the_signed_length(bench: Bench) -> None:
    order = bench.accept()
    intake = bench.device.open_image(order.id, 0, None)
    assert intake is not None
    sent = 0
    while bench.device.feed(intake, b"x" * 1000):
        sent += 1000
        assert sent <= len(IMAGE)
    assert_failed(bench, order, "download", "E_LENGTH")
    written = bench.disk.read("slots/b.img")
    assert written is not None
    assert len(written) <= len(IMAGE)


def test_wrong_bytes_of_the_right_length_end_the_order(bench: Bench) -> None:
    order = bench.accept()
    send(bench, order, IMAGE[:-1] + b"!")
    assert_failed(bench, order, "download", "E_HASH")


def test_a_total_that_is_not_the_signed_length_is_refused_before_a_byte(bench: Bench) -> None:
    order = bench.accept()
    with pytest.raises(Refusal, match="E_LENGTH"):
        bench.device.open_image(order.id, 0, len(IMAGE) + 1)
    assert bench.disk.read("slots/b.img") is None


def test_a_cut_upload_goes_on_where_it_was(bench: Bench) -> None:
    order = bench.accept()
    send(bench, order, IMAGE[:1234])
    assert offset(bench, order) == 1234
    assert bench.device.open_image(order.id, 0, None) is None
    send(bench, order, IMAGE[1234:], first=1234)
    bench.device.advance()
    assert bench.device.record.job is not None
    assert bench.device.record.job.state == "trial"


def test_a_cut_upload_goes_on_after_a_restart(bench: Bench) -> None:
    order = bench.accept()
    send(bench, order, IMAGE[:1234])
    bench.disk.cut_power(torn=True)
    bench.power_on()
    bench.device.advance()
    assert offset(bench, order) == 1234
    send(bench, order, IMAGE[1234:], first=1234)
    bench.device.advance()
    assert bench.disk.read("slots/b.img") == IMAGE


def test_a_prefix_that_was_changed_behind_our_back_is_found_out(bench: Bench) -> None:
    order = bench.accept()
    send(bench, order, IMAGE[:1234])
    bench.disk.put("slots/b.img", b"evil" + IMAGE[4:1234])
    bench.power_on()
    send(bench, order, IMAGE[1234:], first=1234)
    assert_failed(bench, order, "download", "E_HASH")


def test_a_prefix_that_is_gone_is_asked_for_again(bench: Bench) -> None:
    order = bench.accept()
    send(bench, order, IMAGE[:1234])
    bench.disk.put("slots/b.img", b"")
    bench.power_on()
    assert bench.device.open_image(order.id, 1234, None) is None
    assert offset(bench, order) == 0
    send(bench, order, IMAGE)
    bench.device.advance()
    assert bench.disk.read("slots/b.img") == IMAGE


def test_bytes_that_changed_between_stream_and_read_back_are_never_booted(bench: Bench) -> None:
    order = bench.accept()
    send(bench, order, IMAGE)
    bench.disk.put("slots/b.img", IMAGE[:-1] + b"!")
    bench.device.advance()
    assert_failed(bench, order, "install", "E_HASH")
    assert bench.device.booted == "a"


def test_a_newer_upload_takes_over_from_one_that_hangs(bench: Bench) -> None:
    order = bench.accept()
    old = bench.device.open_image(order.id, 0, None)
    assert old is not None
    assert bench.device.feed(old, IMAGE[:500])
    new = bench.device.open_image(order.id, 500, None)
    assert new is not None
    assert not bench.device.feed(old, b"late")
    bench.device.close_image(old)
    assert bench.device.feed(new, IMAGE[500:])
    bench.device.close_image(new)
    bench.device.advance()
    assert bench.disk.read("slots/b.img") == IMAGE


def test_an_image_that_is_in_the_slot_already_is_not_sent_again(bench: Bench) -> None:
    order = bench.to_trial(confirm_within=5)
    bench.device.probed(True, ())
    bench.clock.pass_time(6)
    bench.device.advance()
    assert bench.outcome(order.id).klass == "unconfirmed"
    again = bench.accept(attempt=2)
    assert offset(bench, again) is None
    bench.device.advance()
    assert bench.device.record.image.running.version == "2.5.0"


def test_an_image_that_was_in_the_slot_but_rotted_is_asked_for_again(bench: Bench) -> None:
    order = bench.to_trial(confirm_within=5)
    bench.device.probed(True, ())
    bench.clock.pass_time(6)
    bench.device.advance()
    bench.disk.put("slots/b.img", FACTORY)
    again = bench.accept(attempt=2)
    bench.device.advance()
    assert offset(bench, again) == 0
    bench.push(again)
    bench.device.advance()
    assert bench.device.record.image.running.version == "2.5.0"
    assert order.id != again.id


def test_nobody_may_send_an_image_without_an_order(bench: Bench) -> None:
    order, _ = bench.install()
    assert bench.device.open_image(order.id, 0, None) is None
    assert bench.device.reply(order.id) is None
