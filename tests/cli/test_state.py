"""The ledger's size and its prune, word for word: what they show, ask, refuse and remove."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from fwctl.state import (
    Change,
    DeviceSeen,
    Ledger,
    OrderIntended,
    OrderMoved,
    OrderStatus,
    OutcomeReceived,
    RolloutMoved,
    RolloutState,
    acquire_lease,
    ledger_path,
)
from tests.cli.fleet import Fleet

OLD = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def attempt(number: int) -> list[Change]:
    """One order of sensor-1 under an approval of its own, confirmed."""
    at, order, mandate = OLD + timedelta(days=number), str(number) * 64, f"sha256:{number:064}"
    moved = partial(RolloutMoved, at=at, rollout="dev/sensors", mandate=mandate, commit="c" * 40, reason="r")
    return [
        moved(state=RolloutState.PROGRESSING),
        OrderIntended(
            at=at,
            order=order,
            device="sensor-1",
            rollout="dev/sensors",
            mandate=mandate,
            verb="install",
            release=f"r{number}",
            attempt=1,
            stage=1,
            wave="wave-1",
            refers_to="",
            body={},
            due_at=None,
            reason="may start",
        ),
        OrderMoved(at=at, order=order, status=OrderStatus.SETTLED),
        OutcomeReceived(
            at=at,
            order=order,
            device="sensor-1",
            mandate=mandate,
            result="confirmed",
            failure_class="",
            code="",
            running_image="i",
            counter=number,
            envelope={},
            certificate="",
        ),
        DeviceSeen(
            at=at + timedelta(hours=1),
            device="sensor-1",
            running_release=f"r{number}",
            running_image="i",
            running_version=f"{number}.0.0",
            running_mandate=mandate,
            state="idle",
            document={},
            counter=number,
        ),
        moved(state=RolloutState.COMPLETE),
    ]


@pytest.fixture
def aged(stages: Callable[[str], Fleet], tmp_path: Path) -> Fleet:
    """A fleet with three approvals, one after the other, all long ago."""
    fleet = stages("approved").copy(tmp_path / "work")
    fleet.record(*(change for number in (1, 2, 3) for change in attempt(number)))
    return fleet


SAID = {
    "show": ("state", "show"),
    "show json": ("state", "show", "--format", "json"),
    "prune --dry-run": ("state", "prune", "--dry-run"),
    "prune --dry-run json": ("state", "prune", "--dry-run", "--keep", "1", "--format", "json"),
    "prune": ("state", "prune", "--yes"),
    "prune json": ("state", "prune", "--yes", "--format", "json"),
    "prune unasked": ("state", "prune"),
    "prune nothing": ("state", "prune", "--yes", "--older-than", "9000d"),
    "prune for how long": ("state", "prune", "--older-than", "a year"),
    "prune since always": ("state", "prune", "--older-than", "99999999d"),
    "help": ("state", "prune", "--help"),
}


@pytest.mark.parametrize("words", SAID.values(), ids=SAID)
def test_what_is_said(aged: Fleet, words: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    # How large SQLite makes a file of so few rows is its own affair.
    assert re.sub(r'("(?:file|before|after)": )[1-9]\d*', r"\1<bytes>", str(aged.run(*words))) == snapshot


def test_what_is_pruned_is_gone_and_the_rest_still_answers(aged: Fleet, snapshot: SnapshotAssertion) -> None:
    aged.ok("state", "prune", "--yes")
    with Ledger.open(ledger_path(aged.state), readonly=True) as ledger:
        assert [order.release for order in ledger.orders()] == ["r2", "r3"]
    assert str(aged.run("events", "--verify")) == snapshot
    assert str(aged.run("device", "history", "sensor-1")) == snapshot


def test_a_dry_run_changes_nothing(aged: Fleet) -> None:
    before = ledger_path(aged.state).read_bytes()
    aged.ok("state", "prune", "--dry-run")
    assert ledger_path(aged.state).read_bytes() == before


def test_without_a_ledger_and_beside_a_reconciler(
    stages: Callable[[str], Fleet], aged: Fleet, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    empty = stages("planned").copy(tmp_path / "empty")
    for path in empty.state.glob("ledger.db*"):
        path.unlink()
    assert str(empty.run("state", "show")) == snapshot
    assert str(empty.run("state", "prune", "--yes")) == snapshot
    now = datetime.now(UTC)
    with (
        Ledger.open(ledger_path(aged.state)) as ledger,
        acquire_lease(ledger, holder="fwctl reconcile", now=now, ttl=timedelta(minutes=1)),
    ):
        refused = aged.run("state", "prune", "--yes")
        assert refused.exit_code == 6
        assert "E_LOCKED" in refused.stderr
        assert len(ledger.orders()) == 3
