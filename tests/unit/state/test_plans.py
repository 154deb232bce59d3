"""No question that the program asks walks a whole table or sorts one: checked with SQLite's own plan of each."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fwctl.rollouts.drift import Promise
from fwctl.state import (
    Change,
    DeviceDeferred,
    DeviceUnreachable,
    Lease,
    Ledger,
    OrderMoved,
    OrderStatus,
    Quarantined,
    QuarantineReleased,
    SetMeta,
    SummaryStored,
    WaveMoved,
    WaveState,
)
from fwctl.state.glance import arrived, ordered, telling
from fwctl.state.returns import out_of_reach, returned, returned_after
from fwctl.state.straying import astray, silent
from tests.unit.state.support import NOW, ROLLOUT, intended, later, order_id, outcome, rollout, seen

BIG = ("devices", "documents", "orders", "order_bodies", "outcomes", "events", "old", "d", "e")
ASKED: dict[str, Callable[[Ledger], object]] = {
    "devices in touch": lambda ledger: list(ledger.in_touch(NOW)),
    "devices away": lambda ledger: list(ledger.away(NOW)),
    "devices astray": lambda ledger: list(astray(ledger, Promise(ROLLOUT, "m1", "r", "2"))),
    "devices that are silent": lambda ledger: list(silent(ledger)),
    "all ids": lambda ledger: list(ledger.known()),
    "some devices": lambda ledger: ledger.devices(["a", "b"]),
    "devices of a mandate": lambda ledger: ledger.devices_of("m1"),
    "waves that keep what went back": lambda ledger: ledger.keeping("m1"),
    "a document": lambda ledger: ledger.document("device-1"),
    "all devices, page by page": lambda ledger: list(ledger.stream_devices()),
    "names": lambda ledger: ledger.names("dev"),
    "orders of a mandate": lambda ledger: ledger.orders(mandate="m1"),
    "orders of a mandate, page by page": lambda ledger: list(ledger.stream_orders(mandate="m1")),
    "orders of a device": lambda ledger: ledger.orders(device="device-1"),
    "orders of a device under a mandate": lambda ledger: ledger.orders(device="device-1", mandate="m1"),
    "an order": lambda ledger: (ledger.order(order_id(1)), ledger.order_body(order_id(1))),
    "orders of some devices": lambda ledger: ledger.orders_of("m1", ["device-1", "device-2"]),
    "who is out of service": lambda ledger: ledger.out_of_service(but="m1"),
    "who of some is out of service": lambda ledger: ledger.out_of_service(but="m1", among=["a", "b"]),
    "orders of plans that are gone": lambda ledger: ledger.leftovers(NOW, {"m2", "m3"}),
    "outcomes that are recorded": lambda ledger: ledger.outcome_envelopes("device-1"),
    "outcomes": lambda ledger: (list(ledger.outcomes("m1")), list(ledger.outcomes("m1", "device-1"))),
    "events": lambda ledger: list(ledger.events(5)),
    "events of a rollout": lambda ledger: list(ledger.events(rollout=ROLLOUT)),
    "events of a device": lambda ledger: list(ledger.events(device="device-1", limit=5)),
    "newest events": lambda ledger: (ledger.latest_events(limit=5), ledger.last_seq()),
    "newest events of a rollout": lambda ledger: ledger.latest_events(limit=5, before=99, rollout=ROLLOUT),
    "newest events of a device": lambda ledger: ledger.latest_events(limit=5, device="device-1"),
    "who ever had an order": lambda ledger: ordered(ledger, "m1"),
    "who was back late": lambda ledger: returned_after(ledger, "m1", NOW, later(5)),
    "who was out of reach": lambda ledger: out_of_reach(ledger, NOW, {"device-1": later(5), "device-2": later(9)}),
    "summaries": lambda ledger: (ledger.summaries(), ledger.summary(ROLLOUT), ledger.revision()),
}
WALKS = {
    # a judgement of a whole fleet reads every device once, and no more
    "SCAN devices",
    # the moments at which devices were back are whole seconds: few
    "USE TEMP B-TREE FOR GROUP BY",
}
WALKED: dict[str, Callable[[Ledger], object]] = {
    "who has arrived": lambda ledger: arrived(ledger, "r"),
    "of whom there is something to tell": lambda ledger: telling(ledger, "m1"),
    "when devices were back": lambda ledger: returned(ledger, "m1", NOW),
}
WRITTEN: list[Change] = [
    rollout(),
    seen(),
    seen(at=later(1), counter=2),
    DeviceUnreachable(at=later(2), device="device-1", reason="no route"),
    DeviceDeferred(at=later(2), device="device-1", reason="battery", next_due=later(9)),
    intended(1),
    intended(1),
    OrderMoved(at=NOW, order=order_id(1), status=OrderStatus.ACCEPTED, due_at=later(9)),
    OrderMoved(at=NOW, order=order_id(1), status=OrderStatus.SETTLED),
    outcome(1),
    WaveMoved(at=NOW, rollout=ROLLOUT, mandate="m1", wave="wave-1", state=WaveState.OPEN, reason="r"),
    Quarantined(at=NOW, device="device-1", reason="r"),
    QuarantineReleased(at=NOW, device="device-1", reason="r"),
    SetMeta(at=NOW, key="k", value="v"),
    SummaryStored(at=NOW, rollout=ROLLOUT, mandate="m1", commit="c", valid_until=None, body={}),
]


@contextmanager
def watched(ledger: Ledger) -> Iterator[tuple[Ledger, list[str]]]:
    """The same ledger through connections that tell every statement."""
    heard: list[str] = []
    conns = [sqlite3.connect(ledger.path) for _ in range(2)]
    for conn in conns:
        conn.set_trace_callback(heard.append)
    with Ledger(ledger.path, conns[0], conns[1]) as watching:
        yield watching, heard


def steps(ledger: Ledger, statements: list[str]) -> dict[str, str]:
    """Step of a plan -> the statement; only steps that walk a big table or sort."""
    found: dict[str, str] = {}
    conn = sqlite3.connect(ledger.path)
    for statement in statements:
        if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)\b", statement):
            continue
        for *_, step in conn.execute(f"EXPLAIN QUERY PLAN {statement}"):
            walk = re.match(r"SCAN (\w+)", step)
            if (walk and walk[1] in BIG) or "TEMP B-TREE" in step:
                found[step] = statement
    conn.close()
    return found


@pytest.mark.parametrize("what", ASKED)
def test_what_is_asked_is_found_through_an_index(ledger: Ledger, lease: Lease, what: str) -> None:
    ledger.apply(WRITTEN, epoch=lease.epoch)
    with watched(ledger) as (watching, heard):
        ASKED[what](watching)
    assert heard
    newest = {"SCAN events"} if what.startswith("newest events") else set()
    assert {step: text for step, text in steps(ledger, heard).items() if step not in newest} == {}


@pytest.mark.parametrize("what", WALKED)
def test_what_tells_of_a_whole_fleet_reads_each_device_once(ledger: Ledger, lease: Lease, what: str) -> None:
    ledger.apply(WRITTEN, epoch=lease.epoch)
    with watched(ledger) as (watching, heard):
        WALKED[what](watching)
    assert heard
    assert set(steps(ledger, heard)) <= WALKS


def test_what_is_written_is_found_through_an_index(ledger: Ledger, lease: Lease) -> None:
    with watched(ledger) as (watching, heard):
        watching.apply(WRITTEN, epoch=lease.epoch)
    assert len(heard) > 3 * len(WRITTEN)
    assert {step: text for step, text in steps(ledger, heard).items() if step != "SCAN events"} == {}
