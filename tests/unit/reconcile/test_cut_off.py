"""What was sent to go on with an install order ends with it: else its device would be at work for ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fwctl.reconcile import records
from fwctl.state import Change, Ledger, OrderMoved, OrderStatus, acquire_lease, ledger_path
from fwctl_agent.protocol.statements import Outcome, RunningImage
from fwctl_agent.protocol.statements.outcome import Result
from tests.unit.state.support import NOW, TTL, intended, order_id, rollout

INSTALL, FOLLOW_UP = order_id(1), order_id(2)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(ledger_path(tmp_path)) as made:
        yield made


def write(ledger: Ledger, *changes: Change) -> None:
    with acquire_lease(ledger, holder="test", now=NOW, ttl=TTL) as lease:
        ledger.apply(changes, epoch=lease.epoch)


def begun(ledger: Ledger, verb: str, status: OrderStatus) -> None:
    """Have an install order at work, and one sent that refers to it."""
    follow_up = replace(intended(2), verb=verb, refers_to=INSTALL)
    sent = (OrderMoved(at=NOW, order=order, status=OrderStatus.SENT) for order in (INSTALL, FOLLOW_UP))
    at_work = OrderMoved(at=NOW, order=INSTALL, status=status)
    write(ledger, rollout(), intended(1), follow_up, *sent, at_work)


def outcome(result: Result, order: str = INSTALL) -> Outcome:
    running = RunningImage(image="i1", version="1.0.0", release="r1", mandate=None)
    return Outcome(
        device="device-1",
        repo_id="acme",
        order=order,
        mandate="m1",
        result=result,
        klass=None,
        code=None,
        running=running,
        slots=(),
        evidence=(),
        phases=(),
        counter=1,
    )


@pytest.mark.parametrize("result", ["reverted", "cancelled", "failed"])
@pytest.mark.parametrize(("verb", "status"), [("activate", OrderStatus.SWITCHING), ("confirm", OrderStatus.RUNNING)])
def test_an_end_of_the_install_order_is_the_end_of_what_was_to_go_on_with_it(
    ledger: Ledger, verb: str, status: OrderStatus, result: Result
) -> None:
    begun(ledger, verb, status)
    row, told = ledger.order(INSTALL), outcome(result)
    write(ledger, *records.settled(row, told, NOW), *records.cut_off(ledger, row, told, NOW, but=()))
    assert ledger.orders(open_only=True) == ()
    assert ledger.out_of_service(but="another") == set(), "no other rollout's disruption budget counts it"


def test_what_has_an_outcome_of_its_own_ends_by_that(ledger: Ledger) -> None:
    begun(ledger, "activate", OrderStatus.SWITCHING)
    assert records.cut_off(ledger, ledger.order(INSTALL), outcome("reverted"), NOW, but={FOLLOW_UP}) == []


def test_what_is_staged_or_over_already_ends_nothing(ledger: Ledger) -> None:
    begun(ledger, "activate", OrderStatus.SWITCHING)
    assert records.cut_off(ledger, ledger.order(INSTALL), outcome("staged"), NOW, but=()) == []
    write(ledger, *records.settled(ledger.order(INSTALL), outcome("reverted"), NOW))
    assert records.cut_off(ledger, ledger.order(INSTALL), outcome("reverted"), NOW, but=()) == []


def test_without_an_outcome_both_are_over(ledger: Ledger) -> None:
    begun(ledger, "activate", OrderStatus.SWITCHING)
    write(ledger, *records.without_outcome(ledger, INSTALL, code="E_NEVER_ARRIVED", reason="lost", now=NOW))
    assert ledger.orders(open_only=True) == ()
    assert records.without_outcome(ledger, INSTALL, code="E_REPORT", reason="x", now=NOW) == []
