"""What a pass made of a rollout, and the number that says whether it still holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fwctl.state import (
    Change,
    DeviceUnreachable,
    Event,
    Lease,
    Ledger,
    OrderMoved,
    OrderStatus,
    Quarantined,
    SetMeta,
    SummaryStored,
)
from tests.unit.state.support import NOW, ROLLOUT, intended, later, order_id, outcome, rollout, seen

SUMMARY = SummaryStored(
    at=NOW, rollout=ROLLOUT, mandate="m1", commit="c1", valid_until=later(60), body={"devices": {"done": 3}}
)


def test_a_summary_is_replaced_and_makes_no_event(ledger: Ledger, lease: Lease) -> None:
    assert (ledger.summary(ROLLOUT), ledger.summaries()) == (None, ())
    ledger.apply([SUMMARY], epoch=lease.epoch)
    ledger.apply([replace(SUMMARY, body={"n": 2}, valid_until=None, at=later(5))], epoch=lease.epoch)
    (row,) = ledger.summaries()
    assert (row.rollout, row.mandate, row.commit, row.at) == (ROLLOUT, "m1", "c1", later(5))
    assert (row.valid_until, row.body, row.revision) == (None, {"n": 2}, ledger.revision())
    assert ledger.summary(ROLLOUT) == row
    assert list(ledger.events()) == []


@pytest.mark.parametrize(
    "change",
    [
        seen("device-2"),
        DeviceUnreachable(at=NOW, device="device-2", reason="no route"),
        intended(2),
        OrderMoved(at=NOW, order=order_id(1), status=OrderStatus.SENT, due_at=later(9)),
        outcome(1),
        rollout(mandate="m2"),
        Quarantined(at=NOW, device="device-1", reason="r"),
        SetMeta(at=NOW, key="last_applied_commit", value="c2"),
    ],
    ids=lambda change: type(change).__name__,
)
def test_the_revision_rises_once_with_what_a_decision_could_see(ledger: Ledger, lease: Lease, change: Change) -> None:
    ledger.apply([rollout(), seen(), intended(1)], epoch=lease.epoch)
    before = ledger.revision()
    ledger.apply([change], epoch=lease.epoch)
    assert ledger.revision() == before + 1


def test_the_revision_stays_for_what_no_decision_sees(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([rollout(), seen(), intended(1)], epoch=lease.epoch)
    before = ledger.revision()
    ledger.apply([SUMMARY], epoch=lease.epoch)
    ledger.apply([SetMeta(at=NOW, key="timestamp_version", value="9")], epoch=lease.epoch)
    ledger.apply([rollout(), intended(1), Event(at=NOW, kind="note", reason="r")], epoch=lease.epoch)
    lease.renew(later(1), timedelta(seconds=30))
    failed = ledger.apply_groups([[OrderMoved(at=NOW, order="none", status=OrderStatus.SENT)]], epoch=lease.epoch)
    assert failed != [None]
    assert ledger.revision() == before


def test_a_summary_knows_what_its_own_group_changed_and_nothing_else(ledger: Ledger, lease: Lease) -> None:
    def current() -> bool:
        row = ledger.summary(ROLLOUT)
        return row is not None and row.revision == ledger.revision()

    ledger.apply([rollout(), SUMMARY], epoch=lease.epoch)
    assert current()
    cases: tuple[list[list[Change]], ...] = (
        [[SUMMARY], [seen()]],
        [[intended(1)], [SUMMARY]],
        [[SUMMARY, seen("b")], [seen("c")]],
    )
    for groups in cases:
        ledger.apply_groups(groups, epoch=lease.epoch)
        assert not current(), groups
        ledger.apply([SUMMARY], epoch=lease.epoch)
        assert current()


def test_a_summary_made_from_an_older_revision_is_not_current(ledger: Ledger, lease: Lease) -> None:
    made_from = ledger.revision()
    ledger.apply([seen()], epoch=lease.epoch)
    ledger.apply([replace(SUMMARY, revision=made_from), rollout()], epoch=lease.epoch)
    row = ledger.summary(ROLLOUT)
    assert row is not None
    assert row.revision == made_from < ledger.revision()
