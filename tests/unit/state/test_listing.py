"""Pages, counts, names and the newest events."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.state import DeviceUnreachable, Event, Lease, Ledger, OrderMoved, OrderStatus
from fwctl.state.events import row_hash, to_json
from fwctl.state.times import from_text, to_text
from fwctl_agent.protocol.fields import format_time
from tests.unit.state.support import NOW, ROLLOUT, intended, later, order_id, outcome, rollout, seen


@pytest.fixture
def fleet(ledger: Ledger, lease: Lease) -> Ledger:
    """2,500 devices: every third runs 2.0.0 by m2, every hundredth is at work, ten were never seen."""
    changes = [
        replace(
            seen(f"d{n:04}", state="idle" if n % 100 else "downloading"),
            running_version="1.0.0" if n % 3 else "2.0.0",
            running_mandate="" if n % 3 else "m2",
        )
        for n in range(2500)
    ]
    away = [DeviceUnreachable(at=NOW, device=f"e{n}", reason="no route") for n in range(10)]
    ledger.apply([*changes, *away], epoch=lease.epoch)
    return ledger


def test_all_devices_are_streamed_in_their_order(fleet: Ledger) -> None:
    found = tuple(fleet.stream_devices())
    assert (found, len(found)) == (fleet.devices(), 2510)


def test_many_devices_are_asked_for_at_once(fleet: Ledger) -> None:
    wanted = {f"d{n:04}" for n in range(7, 9999, 2)}
    assert [row.id for row in fleet.devices(wanted)] == sorted(f"d{n:04}" for n in range(7, 2500, 2))


def test_names_are_completed(fleet: Ledger) -> None:
    assert fleet.names("d249", 3) == ("d2490", "d2491", "d2492")
    assert fleet.names("e", 99) == tuple(f"e{n}" for n in range(10))
    assert (fleet.names("x"), fleet.names(limit=1)) == ((), ("d0000",))


def test_orders_are_streamed(ledger: Ledger, lease: Lease) -> None:
    orders = [intended(n, device=f"d{n % 500:03}", attempt=n // 500) for n in range(1500)]
    failed = [OrderMoved(at=NOW, order=order_id(n), status=OrderStatus.SETTLED, failure_class="health") for n in (1, 2)]
    ledger.apply([rollout(), *orders, *failed, intended(1501, mandate="other")], epoch=lease.epoch)
    assert tuple(ledger.stream_orders(mandate="m1")) == ledger.orders(mandate="m1")
    assert tuple(ledger.stream_orders(mandate="none")) == ()


def test_the_newest_events_come_first_and_go_back(ledger: Ledger, lease: Lease) -> None:
    assert (ledger.latest_events(limit=5), ledger.last_seq()) == ((), 0)
    ledger.apply(
        [rollout(), *(Event(at=NOW, kind="note", reason=str(n), device=f"d{n % 2}") for n in range(20))],
        epoch=lease.epoch,
    )
    assert ledger.last_seq() == 21
    first = ledger.latest_events(limit=3)
    assert [event.seq for event in first] == [21, 20, 19]
    assert [event.seq for event in ledger.latest_events(limit=2, before=19)] == [18, 17]
    assert [event.seq for event in ledger.latest_events(limit=2, device="d0")] == [20, 18]
    assert [event.seq for event in ledger.latest_events(limit=9, rollout=ROLLOUT)] == [1]


def test_outcomes_and_events_longer_than_a_page_come_whole(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([outcome(n, device=f"d{n % 7}", counter=n) for n in range(2001)], epoch=lease.epoch)
    found = [(row.device, row.counter) for row in ledger.outcomes("m1")]
    assert found == sorted(found)
    assert len(found) == len(list(ledger.events())) == 2001
    assert [row.counter for row in ledger.outcomes("m1", "d3")] == list(range(3, 2001, 7))
    assert [event.seq for event in ledger.events(5, limit=1500)] == list(range(6, 1506))


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.integers(1), st.lists(TEXT, min_size=9, max_size=9))
def test_an_events_hash_is_over_its_json(seq: int, words: list[str]) -> None:
    import hashlib

    keys = ("seq", "at", "kind", "rollout", "device", "order_id", "reason", "actor", "data", "prev")
    row = dict(zip(keys, (seq, *words), strict=True))
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert to_json(row) == text
    assert row_hash((seq, *words)) == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_times_are_written_as_on_the_wire(moment: datetime, minutes: int) -> None:
    for zone in (UTC, timezone(timedelta(minutes=minutes))):
        aware = moment.replace(tzinfo=zone)
        assert to_text(aware) == format_time(aware)
        assert from_text(to_text(aware)) == aware.astimezone(UTC).replace(microsecond=0)


def test_streaming_holds_no_old_page_of_the_log(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([seen(f"d{n:04}") for n in range(1500)], epoch=lease.epoch)
    stream = ledger.stream_devices()
    assert next(stream).id == "d0000"
    ledger.apply([seen(f"d{n:04}", at=later(5), image="i2") for n in range(1500)], epoch=lease.epoch)
    images = [row.running_image for row in stream]
    assert images[0] == "i1"
    assert images[-1] == "i2"
