"""Ways back as SQLite sums them up, against going through all orders and events one by one."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest

from fwctl.state import Change, DeviceUnreachable, Lease, Ledger, OrderMoved, OrderStatus
from fwctl.state.returns import out_of_reach, returned, returned_after
from tests.unit.state.support import intended, later, order_id, rollout, seen

SINCE = later(100)


def ended(ledger: Ledger) -> dict[str, datetime]:
    """Device -> its last settled revert or cancel that was not refused, from `SINCE` on."""
    found: dict[str, datetime] = {}
    for order in ledger.orders(mandate="m1"):
        backwards = order.verb in ("revert", "cancel") and order.failure_class != "refused"
        done = order.finished_at if backwards and order.status is OrderStatus.SETTLED else None
        if done is not None and done >= SINCE:
            found[order.device] = max(done, found.get(order.device, done))
    return found


def was_away(ledger: Ledger, device: str, until: datetime) -> bool:
    away = False
    for event in ledger.events(device=device):
        if event.at > until:
            break
        if event.kind == "device.unreachable":
            away = True
            if event.at >= SINCE:
                return True
        elif event.kind in ("device.reachable", "device.seen") and event.at < SINCE:
            away = False
    return away


def history(chance: random.Random) -> list[Change]:
    """Orders of all kinds, devices that come and go: in the order of time."""
    timed: list[tuple[int, Change]] = []
    for number in range(120):
        device, begun = f"device-{chance.randrange(25)}", chance.randrange(200)
        verb = chance.choice(["install", "revert", "revert", "cancel"])
        order = replace(intended(number, device=device, mandate=chance.choice(["m1", "m1", "m2"])), verb=verb)
        timed.append((begun, replace(order, at=later(begun), attempt=number)))
        if chance.random() < 0.8:
            end = begun + chance.randrange(1, 60)
            klass = chance.choice(["", "", "", "refused", "health"])
            moved = OrderMoved(
                at=later(end), order=order_id(number), status=OrderStatus.SETTLED, failure_class=klass, reason="r"
            )
            timed.append((end, moved))
        at = chance.randrange(250)
        gone = DeviceUnreachable(at=later(at), device=device, reason="no route")
        timed.append((at, gone if chance.random() < 0.4 else seen(device, at=later(at), counter=number)))
    return [rollout(), *(change for _, change in sorted(timed, key=lambda one: one[0]))]


@pytest.mark.parametrize("seed", range(5))
def test_sums_say_what_every_order_and_event_says(ledger: Ledger, lease: Lease, seed: int) -> None:
    ledger.apply(history(random.Random(seed)), epoch=lease.epoch)
    expected, limit = ended(ledger), later(150)
    assert returned(ledger, "m1", SINCE) == Counter(expected.values())
    after = {device: end for device, end in expected.items() if end > limit}
    assert returned_after(ledger, "m1", SINCE, limit) == after
    away = {device for device, end in expected.items() if was_away(ledger, device, end)}
    assert out_of_reach(ledger, SINCE, expected) == away
    assert after
    assert away
    assert away != expected.keys()


def test_nobody_back_is_nothing(ledger: Ledger) -> None:
    assert returned(ledger, "m1", SINCE) == {}
    assert returned_after(ledger, "m1", SINCE, SINCE) == {}
    assert out_of_reach(ledger, SINCE, {}) == set()
