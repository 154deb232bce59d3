"""What a device does with orders: trial, confirm, watch, revert, replay. Real keys, a disk in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.messages import DeviceDocument
from fwctl_agent.protocol.statements import ProbeResult
from fwctl_agent.runtime import steps
from fwctl_agent.runtime.device import Busy
from fwctl_agent.runtime.document import document
from tests.support.signing import NOW, Fleet, image_of
from tests.unit.agent.bench import DEVICE, FACTORY, IMAGE, Bench

OTHER = image_of("firmware 2.6.0", 3500)
BAD = (ProbeResult("app", False, "no answer"),)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def refusal(bench: Bench, *arguments: object, **changes: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        bench.accept(*arguments, **changes)  # type: ignore[arg-type]
    return caught.value


def told(bench: Bench) -> DeviceDocument:
    """Return the document after a trip over the wire."""
    return DeviceDocument.from_wire(document(bench.device, uptime=1).to_wire())


def test_a_new_device_runs_its_factory_image(bench: Bench) -> None:
    found = told(bench)
    assert (found.running.version, found.state, found.counter) == ("1.0.0", "idle", 0)
    assert [(slot.name, slot.state) for slot in found.slots] == [("a", "verified"), ("b", "empty")]


def test_a_confirmed_update_runs_and_says_so(bench: Bench) -> None:
    order = bench.to_confirmed()
    found = told(bench)
    assert (found.running.version, found.running.mandate, found.state) == ("2.5.0", order.mandate, "idle")
    assert bench.outcome(order.id).result == "confirmed"
    assert [phase.name for phase in bench.outcome(order.id).phases] == [
        "accepted",
        "downloading",
        "verified",
        "staged",
        "trial",
    ]
    assert found.floor_clock == NOW - timedelta(minutes=5)
    assert found.highest_orders


def test_a_known_order_answers_with_its_outcome_and_does_nothing(bench: Bench) -> None:
    order = bench.to_confirmed()
    before = bench.disk.operations
    _, request = bench.install()
    reply = bench.device.put_order(order.id, replace(request, order={"junk": 1}))
    assert reply.state == "confirmed"
    assert bench.disk.operations == before


def test_a_second_order_is_told_which_one_runs(bench: Bench) -> None:
    order = bench.accept()
    other, request = bench.install(OTHER)
    with pytest.raises(Busy) as caught:
        bench.device.put_order(other.id, request)
    assert caught.value.running == order.id


def test_the_address_must_name_the_order_that_is_sent(bench: Bench) -> None:
    _, request = bench.install()
    other, _ = bench.install(OTHER)
    with pytest.raises(Refusal, match="E_SCHEMA"):
        bench.device.put_order(other.id, request)


def test_a_refused_order_moves_no_mark(bench: Bench) -> None:
    before = bench.device.record
    assert refusal(bench, probes="unheard-of").code == "E_PROBE_SET"
    request, order, _ = bench.fleet.install_request("device-002", IMAGE)
    with pytest.raises(Refusal, match="E_ORDER_REPLAY"):
        bench.device.put_order(order.id, request)
    assert bench.device.record == before


def test_a_missing_confirm_reverts_and_does_not_spend_the_mandate(bench: Bench) -> None:
    order = bench.to_trial(confirm_within=60)
    bench.device.probed(True, ())
    assert bench.device.advance() == steps.AwaitConfirm(60.0)
    bench.clock.pass_time(61)
    assert bench.device.advance() == steps.Idle()
    outcome = bench.outcome(order.id)
    assert (outcome.result, outcome.klass, outcome.running.version) == ("reverted", "unconfirmed", "1.0.0")
    assert told(bench).spent == ()


def test_an_unconfirmed_slot_can_be_activated_once_more_without_download(bench: Bench) -> None:
    order = bench.to_trial(confirm_within=60)
    bench.device.probed(True, ())
    bench.clock.pass_time(61)
    bench.device.advance()
    activate = bench.follow("activate", order)
    bench.device.probed(True, ())
    bench.follow("confirm", order)
    assert bench.outcome(activate).result == bench.outcome(order.id).result == "confirmed"
    assert told(bench).running.version == "2.5.0"


def test_a_slot_is_not_activated_a_third_time(bench: Bench) -> None:
    order = bench.to_trial(confirm_within=60)
    for attempt in (1, 2):
        bench.device.probed(True, ())
        bench.clock.pass_time(61)
        bench.device.advance()
        if attempt == 1:
            bench.follow("activate", order)
    with pytest.raises(Refusal, match="E_ACTIVATIONS"):
        bench.follow("activate", order, attempt=2)


def test_bad_probes_revert_and_spend_the_mandate(bench: Bench) -> None:
    order = bench.to_trial()
    bench.device.probed(False, BAD)
    bench.device.advance()
    outcome = bench.outcome(order.id)
    assert (outcome.result, outcome.klass, outcome.evidence) == ("reverted", "health", BAD)
    assert [(spent.mandate, spent.reason) for spent in told(bench).spent] == [(order.mandate, "health")]
    assert refusal(bench, attempt=2).code == "E_ORDER_REPLAY"


def test_probes_that_never_end_revert_at_the_deadline(bench: Bench) -> None:
    order = bench.to_trial(confirm_within=60)
    bench.clock.pass_time(61)
    bench.device.advance()
    assert bench.outcome(order.id).code == "E_PROBE_TIMEOUT"


def test_a_confirm_that_comes_while_probes_run_waits_for_them(bench: Bench) -> None:
    order = bench.to_trial()
    confirm = bench.follow("confirm", order)
    reply = bench.device.reply(confirm)
    assert reply is not None
    assert (reply.state, reply.outcome) == ("trial", None)
    bench.device.probed(True, ())
    bench.device.advance()
    assert bench.outcome(confirm).result == "confirmed"


def test_a_confirm_does_not_save_bad_firmware(bench: Bench) -> None:
    order = bench.to_trial()
    confirm = bench.follow("confirm", order)
    bench.device.probed(False, BAD)
    bench.device.advance()
    assert bench.outcome(confirm).result == bench.outcome(order.id).result == "reverted"


def test_a_failure_within_the_watch_reverts_with_a_later_outcome(bench: Bench) -> None:
    order = bench.to_confirmed(watch=300)
    first = bench.outcome(order.id)
    assert isinstance(bench.device.advance(), steps.Probe)
    bench.clock.pass_time(100)
    bench.device.probed(False, BAD)
    bench.device.advance()
    second = bench.outcome(order.id)
    assert (first.result, second.result, second.klass) == ("confirmed", "reverted", "health")
    assert second.counter > first.counter
    assert told(bench).spent[0].reason == "watch"


def test_the_watch_ends(bench: Bench) -> None:
    bench.to_confirmed(watch=300)
    bench.clock.pass_time(301)
    assert bench.device.advance() == steps.Idle()


def test_the_watch_goes_on_after_a_restart(bench: Bench) -> None:
    bench.to_confirmed(watch=300)
    bench.clock.pass_time(100)
    bench.clock.reboot()
    bench.power_on()
    rest = bench.device.advance()
    assert isinstance(rest, steps.Probe)
    assert rest.seconds == 200


def test_the_floor_rises_only_at_the_end_of_the_watch() -> None:
    bench = Bench(fleet=Fleet(policy={"floors": {"sensor-v1": 1}}))
    bench.to_confirmed(watch=300)
    assert told(bench).floor == 0
    bench.clock.pass_time(301)
    bench.device.advance()
    assert told(bench).floor == 1


def test_an_ordered_revert_goes_back_once(bench: Bench) -> None:
    order = bench.to_confirmed()
    revert = bench.follow("revert", order)
    assert (bench.outcome(revert).result, bench.outcome(revert).klass) == ("reverted", None)
    assert told(bench).running.version == "1.0.0"
    assert told(bench).spent[0].reason == "ordered"
    with pytest.raises(Refusal) as caught:
        bench.follow("revert", order, attempt=2)
    assert caught.value.klass == "resync"
    assert refusal(bench, attempt=2).code == "E_ORDER_REPLAY"


def test_a_revert_to_a_slot_that_was_tampered_with_is_refused(bench: Bench) -> None:
    order = bench.to_confirmed()
    bench.disk.put("slots/a.img", FACTORY[:-1] + b"!")
    with pytest.raises(Refusal, match="E_HASH"):
        bench.follow("revert", order)
    assert told(bench).running.version == "2.5.0"


def test_a_revert_below_the_stored_floor_is_refused(bench: Bench) -> None:
    factory = replace(bench.settings.factory, security_version=0)
    bench = Bench(fleet=Fleet(policy={"floors": {"sensor-v1": 1}}), changes={"factory": factory})
    order = bench.to_confirmed()
    with pytest.raises(Refusal, match="E_ROLLBACK_FLOOR"):
        bench.follow("revert", order)


def test_terms_can_forbid_the_way_back(bench: Bench) -> None:
    fleet = bench.fleet
    release = fleet.release(IMAGE)
    lock = fleet.lock(release, [DEVICE])
    mandate = fleet.mandate(lock, rollback="forbidden")
    order = fleet.install(DEVICE, release, lock, mandate)
    request = fleet.request(order, approvals=[fleet.approval(mandate)], releases=fleet.signed_release(release))
    bench.strive(order, request)
    with pytest.raises(Refusal, match="E_ROLLBACK_FORBIDDEN"):
        bench.follow("revert", order)


def test_cancel_is_honoured_before_the_trial_only(bench: Bench) -> None:
    order = bench.accept()
    cancel = bench.follow("cancel", order)
    assert bench.outcome(cancel).result == bench.outcome(order.id).result == "cancelled"
    assert told(bench).state == "idle"
    order = bench.to_trial(attempt=2)
    with pytest.raises(Refusal, match="E_ENDED"):
        bench.follow("cancel", order, attempt=2)


def test_a_held_image_is_staged_and_waits_for_activate(bench: Bench) -> None:
    order = bench.to_trial(activation="hold")
    assert bench.device.advance() == steps.AwaitOrder()
    assert bench.outcome(order.id).result == "staged"
    assert (told(bench).running.version, told(bench).state) == ("1.0.0", "staged")
    activate = bench.follow("activate", order)
    assert told(bench).state == "trial"
    bench.device.probed(True, ())
    bench.follow("confirm", order)
    assert bench.outcome(activate).result == "confirmed"


def test_a_held_slot_that_was_tampered_with_is_not_activated(bench: Bench) -> None:
    order = bench.to_trial(activation="hold")
    bench.disk.put("slots/b.img", IMAGE[:-1] + b"!")
    bench.follow("activate", order)
    outcome = bench.outcome(order.id)
    assert (outcome.result, outcome.klass, outcome.code) == ("failed", "install", "E_HASH")
    bench.check_bootable()


def test_bytes_that_run_already_are_adopted_and_not_written_again(bench: Bench) -> None:
    order = bench.accept(FACTORY)
    assert bench.outcome(order.id).result == "confirmed"
    assert told(bench).running.mandate == order.mandate
    assert bench.disk.read("slots/b.img") is None
    bench.follow("revert", order)
    assert (told(bench).running.mandate, told(bench).spent[0].reason) == (None, "ordered")


def test_a_follow_up_of_an_order_the_device_has_left_behind_asks_for_a_new_look(bench: Bench) -> None:
    order, _ = bench.install()
    bench.to_confirmed(OTHER)
    with pytest.raises(Refusal) as caught:
        bench.follow("revert", order)
    assert (caught.value.code, caught.value.klass) == ("E_REFERS_TO", "resync")


def test_a_confirm_before_the_trial_is_deferred(bench: Bench) -> None:
    order = bench.accept()
    with pytest.raises(Refusal) as caught:
        bench.follow("confirm", order)
    assert caught.value.klass == "deferred"


def test_a_lower_epoch_is_refused(bench: Bench) -> None:
    bench.fleet.epoch = 5
    order = bench.to_trial()
    bench.fleet.epoch = 4
    with pytest.raises(Refusal, match="E_ORDER_REPLAY"):
        bench.follow("confirm", order)


def test_expired_metadata_blocks_no_confirm_and_no_revert(bench: Bench) -> None:
    order = bench.to_trial(confirm_within=7 * 86400)
    bench.device.probed(True, ())
    bench.clock.pass_time(6 * 86400)
    bench.follow("confirm", order)
    bench.clock.pass_time(3000 * 86400)
    bench.follow("revert", order)
    assert told(bench).running.version == "1.0.0"


@pytest.mark.parametrize("wall", ["1970-01-01", "2020-05-05"])
def test_a_clock_before_the_floor_clock_is_suspect_and_keeps_working(bench: Bench, wall: str) -> None:
    bench.to_confirmed()
    year, month, day = (int(part) for part in wall.split("-"))
    bench.clock.wall = NOW.replace(year=year, month=month, day=day)
    found = told(bench)
    assert found.clock_suspect
    assert bench.device.time().now == found.floor_clock


def test_the_boot_count_ends_a_trial_that_never_gets_up(bench: Bench) -> None:
    bench.changes["reboot"] = "exit"
    bench.power_on()
    order = bench.to_trial()
    assert bench.device.advance() == steps.Restart()
    reply = bench.device.reply(order.id)
    assert reply is not None
    assert (reply.state, reply.resume_after) == ("staged", 7)
    from fwctl_agent.runtime.boot import FileBoot

    for _ in range(3):  # the machine starts, the agent does not
        assert FileBoot(bench.disk).start() == "b"
    bench.power_on()
    bench.device.advance()
    outcome = bench.outcome(order.id)
    assert (outcome.result, outcome.klass, outcome.code) == ("reverted", "health", "E_BOOT")
    assert bench.device.booted == "a"
    bench.check_bootable()
    # And the fall-back of this trial says nothing about the next one.
    again = image_of("firmware 2.5.1", 900)
    order = bench.to_trial(again)
    bench.power_on()
    bench.device.advance()
    bench.device.probed(True, ())
    bench.follow("confirm", order)
    assert bench.outcome(order.id).result == "confirmed"


def test_a_trial_goes_on_over_restarts_within_its_budget(bench: Bench) -> None:
    order = bench.to_trial()
    bench.device.probed(True, ())
    for _ in range(3):
        bench.power_on()
        assert isinstance(bench.device.advance(), steps.Probe)
        bench.device.probed(True, ())
    bench.power_on()
    bench.device.advance()
    assert bench.outcome(order.id).code == "E_BOOT"


def test_a_crash_loop_before_the_trial_gives_up(bench: Bench) -> None:
    order = bench.accept()
    for _ in range(11):
        bench.power_on()
    outcome = bench.outcome(order.id)
    assert (outcome.klass, outcome.code) == ("install", "E_RESTARTS")
    assert told(bench).state == "idle"


def test_trust_survives_a_restart_and_does_not_go_back(bench: Bench) -> None:
    bench.device.put_trust(bench.fleet.bundle(version=5))
    bench.power_on()
    assert told(bench).trust.timestamp == 5
    with pytest.raises(Refusal, match="E_META_ROLLBACK"):
        bench.device.put_trust(bench.fleet.bundle(version=4))
    assert told(bench).trust.timestamp == 5


def test_the_newest_outcomes_are_kept_and_marks_still_stop_a_replay(bench: Bench) -> None:
    order = bench.to_confirmed()
    bench.device.record = replace(bench.device.record, outcomes=())
    assert refusal(bench).code == "E_ORDER_REPLAY"
    assert order.id
