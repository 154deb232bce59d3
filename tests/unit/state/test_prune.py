"""A prune removes what nothing will ask for again, keeps the rest, and the chain still holds."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from fwctl.errors import Busy
from fwctl.state import (
    BrokenLink,
    Change,
    DeviceUnreachable,
    Event,
    Lease,
    Ledger,
    OrderMoved,
    OrderStatus,
    RolloutState,
    acquire_lease,
)
from fwctl.state import prune as pruning
from fwctl.state.prune import Amount, Rule, Told, prunable, prune, shrink
from tests.unit.state.support import NOW, ROLLOUT, TTL, intended, later, order_id, outcome, rollout, seen

DAY = 86400
OLD = Rule(before=later(100 * DAY), keep=1)
TOLD = Told(at=later(200 * DAY), actor="ada", reason="older than 100 days")


def run(ledger: Ledger, lease: Lease, mandate: str, number: int, device: str, *, day: int = 0) -> None:
    """One attempt of a device under a mandate, from intended to settled, and the device seen an hour later."""
    at = later(day * DAY)
    ledger.apply(
        [
            rollout(mandate=mandate, at=at),
            replace(intended(number, device=device, mandate=mandate), at=at),
            replace(outcome(number, device=device, counter=number), mandate=mandate, at=at),
            OrderMoved(at=at, order=order_id(number), status=OrderStatus.SETTLED),
            replace(
                seen(device, at=at + timedelta(hours=1), counter=number, image=f"i-{mandate}"),
                running_mandate=mandate,
                running_release="r2",
            ),
            rollout(RolloutState.COMPLETE, mandate=mandate, at=at + timedelta(hours=2)),
        ],
        epoch=lease.epoch,
    )


def three_mandates(ledger: Ledger, lease: Lease) -> None:
    """Mandates m1, m2, m3 one after the other on two devices; all long ago, except that m3 is the current one."""
    for number, mandate in enumerate(("m1", "m2", "m3")):
        for device in (1, 2):
            run(ledger, lease, mandate, 2 * number + device, f"device-{device}", day=number)


def orders(ledger: Ledger) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for order in ledger.orders():
        found.setdefault(order.mandate, []).append(order.device)
        assert ledger.order_body(order.id) is not None
    return found


def test_old_attempts_go_and_the_current_mandate_stays_for_a_rollback(ledger: Ledger, lease: Lease) -> None:
    three_mandates(ledger, lease)
    expected = prunable(ledger, OLD)
    done = prune(ledger, lease, OLD, TOLD)
    assert done == expected
    assert (done.orders, done.outcomes) == (4, 4)
    assert orders(ledger) == {"m3": ["device-1", "device-2"]}
    assert [len(list(ledger.outcomes(m))) for m in ("m1", "m2", "m3")] == [0, 0, 2]
    assert ledger.verify_chain() is None
    assert ledger.integrity() == ()
    # a rollback finds every order that it would take back
    run_by = {row.id for row in ledger.devices_of("m3")}
    assert {row.device for row in ledger.orders(mandate="m3") if row.verb == "install"} == run_by


def test_the_newest_approvals_stay_as_told_and_young_attempts_always(ledger: Ledger, lease: Lease) -> None:
    three_mandates(ledger, lease)
    assert prunable(ledger, replace(OLD, keep=2)).orders == 2
    assert prunable(ledger, replace(OLD, keep=3)).orders == 0
    assert prunable(ledger, Rule(before=NOW, keep=1)) == Amount()
    assert prunable(ledger, Rule(before=later(DAY), keep=1)).orders == 2


FORGOTTEN = replace(seen(at=later(7200), counter=5), running_mandate="")
AGAIN = intended(9, mandate="m1", attempt=2)
STAYS: dict[str, list[Change]] = {
    "it runs what the mandate brought": [replace(FORGOTTEN, running_mandate="m1")],
    "it has spent the mandate": [replace(FORGOTTEN, spent=("m0", "m1"))],
    "it has an open order": [FORGOTTEN, replace(AGAIN, verb="revert", refers_to=order_id(1))],
    "it was not seen since": [
        *(FORGOTTEN, AGAIN, OrderMoved(at=later(DAY), order=order_id(9), status=OrderStatus.SETTLED)),
    ],
}


@pytest.mark.parametrize("why", [*STAYS, "nothing"])
def test_what_somebody_may_still_ask_for_stays(ledger: Ledger, lease: Lease, why: str) -> None:
    run(ledger, lease, "m1", 1, "device-1")
    run(ledger, lease, "m1", 2, "device-2")
    ledger.apply(STAYS.get(why, [FORGOTTEN]), epoch=lease.epoch)
    run(ledger, lease, "m2", 3, "device-2", day=3)
    done = prunable(ledger, OLD)
    assert prune(ledger, lease, OLD, TOLD) == done
    stays = [] if why == "nothing" else ["device-1"]
    assert sorted({row.device for row in ledger.orders(mandate="m1")}) == stays
    assert [row.device for row in ledger.outcomes("m1")] == stays


def test_a_second_prune_finds_nothing(ledger: Ledger, lease: Lease) -> None:
    three_mandates(ledger, lease)
    ledger.apply([seen("device-3")], epoch=lease.epoch)
    prune(ledger, lease, OLD, TOLD)
    last = ledger.last_seq()
    assert prunable(ledger, OLD) == prune(ledger, lease, OLD, TOLD) == Amount()
    assert ledger.last_seq() == last


def test_events_that_tell_about_what_stays_are_carried_over(ledger: Ledger, lease: Lease) -> None:
    three_mandates(ledger, lease)
    found = replace(seen("device-3"), running_release="by-hand")
    ledger.apply(
        [found, seen("device-4"), DeviceUnreachable(at=later(9), device="device-4", reason="no route")],
        epoch=lease.epoch,
    )
    prune(ledger, lease, OLD, TOLD)
    assert ledger.size().pruned_through > 0
    kept = [(event.kind, event.device, event.data.get("mandate", ""), event.at) for event in ledger.events()]
    assert ("device.seen", "device-3", "", NOW) in kept
    assert ("device.unreachable", "device-4", "", later(9)) in kept
    assert ("rollout.progressing", "", "m3", later(2 * DAY)) in kept
    assert not [one for one in kept if one[2] in ("m1", "m2")]
    # a later prune carries them on
    ledger.apply([Event(at=later(150 * DAY), kind="note", reason="r")], epoch=lease.epoch)
    prune(ledger, lease, Rule(before=later(190 * DAY), keep=1), TOLD)
    assert [e.device for e in ledger.events() if e.kind == "device.seen"].count("device-3") == 1
    assert ledger.verify_chain() is None


def test_events_of_what_is_under_way_stay(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([Event(at=NOW, kind="note", reason="before")], epoch=lease.epoch)
    ledger.apply([rollout(at=later(DAY)), replace(intended(1), at=later(DAY))], epoch=lease.epoch)
    done = prune(ledger, lease, OLD, TOLD)
    assert done == Amount(events=1)
    assert [e.kind for e in ledger.events()] == ["rollout.progressing", "order.intended", "state.pruned"]


def test_the_prune_itself_is_recorded_and_anchors_the_chain(ledger: Ledger, lease: Lease) -> None:
    three_mandates(ledger, lease)
    before = {event.seq: event.hash for event in ledger.events()}
    prune(ledger, lease, OLD, TOLD)
    told = [event for event in ledger.events() if event.kind == "state.pruned"]
    assert {(event.actor, event.reason) for event in told} == {("ada", "older than 100 days")}
    data = told[-1].data
    assert data["events"] == data["anchor"] == ledger.size().pruned_through
    assert before[data["anchor"]] == data["hash"]
    assert next(iter(ledger.events())).prev == data["hash"]


def test_work_is_done_in_bounded_transactions_and_a_stop_between_them_is_whole(
    ledger: Ledger, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "CHUNK", 3)
    three_mandates(ledger, lease)
    stops = 0
    while prunable(ledger, OLD).total:
        with pytest.raises(KeyboardInterrupt):
            prune(ledger, lease, OLD, TOLD, tick=_stop)
        assert (ledger.verify_chain(), ledger.integrity()) == (None, ())
        assert all(ledger.order_body(order.id) for order in ledger.orders())
        stops += 1
    assert stops > 4
    assert orders(ledger) == {"m3": ["device-1", "device-2"]}


def _stop(part: Amount) -> None:
    assert 0 < part.total <= 3
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("tamper", "why"),
    [
        ("DELETE FROM events WHERE seq = (SELECT seq FROM anchor) + 1", "append-only"),
        ("DELETE FROM events", "append-only"),
        ("UPDATE events SET reason = 'x'", "append-only"),
        ("UPDATE anchor SET seq = seq - 1", "only rises"),
        ("UPDATE anchor SET seq = seq + 1", "names an event"),
        ("DELETE FROM anchor", "stays"),
    ],
)
def test_no_other_event_can_be_removed_even_by_sql(ledger: Ledger, lease: Lease, tamper: str, why: str) -> None:
    three_mandates(ledger, lease)
    prune(ledger, lease, OLD, TOLD)
    conn = sqlite3.connect(ledger.path)
    with pytest.raises(sqlite3.IntegrityError, match=why):
        conn.execute(tamper)
    conn.close()


def test_pruning_by_hand_without_saying_so_is_found(ledger: Ledger, lease: Lease) -> None:
    three_mandates(ledger, lease)
    conn = sqlite3.connect(ledger.path)
    conn.execute("UPDATE anchor SET (seq, hash) = (SELECT seq, hash FROM events WHERE seq = 4)")
    conn.execute("DELETE FROM events WHERE seq <= 4")
    conn.commit()
    conn.close()
    assert ledger.verify_chain() == BrokenLink(4, "it and what came before were removed, and no event says so")


def test_a_prune_is_fenced_and_needs_the_lease(ledger: Ledger, lease: Lease) -> None:
    three_mandates(ledger, lease)
    with pytest.raises(Busy, match="E_LOCKED"), Ledger.open(ledger.path) as other:
        acquire_lease(other, holder="fwctl state prune", now=NOW, ttl=TTL)
    lease.epoch -= 1
    with pytest.raises(Busy, match="E_FENCED"):
        prune(ledger, lease, OLD, TOLD)
    assert len(ledger.orders()) == 6


def test_free_space_goes_back_to_the_disk_where_it_is_much(ledger: Ledger, lease: Lease) -> None:
    bulky = [replace(intended(n, device=f"d{n}"), body={"payload": "x" * 4000}) for n in range(300)]
    settled = [OrderMoved(at=NOW, order=order_id(n), status=OrderStatus.SETTLED) for n in range(300)]
    ledger.apply([rollout(), *bulky, *settled, *(seen(f"d{n}", at=later(9)) for n in range(300))], epoch=lease.epoch)
    assert not shrink(ledger, lease)
    ledger.apply(
        [
            rollout(RolloutState.COMPLETE),
            rollout(mandate="m2"),
            *(intended(n, device=f"d{n}", mandate="m2") for n in range(300, 302)),
        ],
        epoch=lease.epoch,
    )
    before = ledger.size()
    prune(ledger, lease, OLD, TOLD)
    assert shrink(ledger, lease)
    after = ledger.size()
    assert after.file < before.file / 2
    assert (after.free, after.log) == (0, 0)
    assert (after.orders, ledger.integrity(), ledger.verify_chain()) == (2, (), None)
    assert [row.device for row in ledger.orders(mandate="m2")] == ["d300", "d301"]
    assert ledger.order_body(order_id(301)) is not None
    assert ROLLOUT in {row.key for row in ledger.rollouts()}
