"""What nobody goes on with any more: orders of plans that are gone, and of devices that a plan has no place for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.joining import with_seats
from fwctl.reconcile.leftovers import Leftovers
from fwctl.rollouts.compile import compile_locked, compile_rollout, lock_path
from fwctl.state import (
    Change,
    Ledger,
    OrderMoved,
    OrderStatus,
    RolloutState,
    WaveMoved,
    WaveState,
    acquire_lease,
    ledger_path,
)
from tests.unit.rollouts.fleets import KEY, files, repo_of
from tests.unit.state.support import NOW, ROLLOUT, TTL, intended, later, order_id, rollout, seen

SPEC = ("strategy: {type: Direct}", "lateJoiners: {max: 1}")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(ledger_path(tmp_path)) as made:
        yield made


def write(ledger: Ledger, *changes: Change) -> None:
    with acquire_lease(ledger, holder="test", now=NOW, ttl=TTL) as lease:
        ledger.apply(changes, epoch=lease.epoch)


def state_of(ledger: Ledger, *, locked: Sequence[str], here: Sequence[str]) -> CommitState:
    """Return a commit with one rollout that was locked for some devices; `here` are in the inventory now."""
    first = repo_of(files(locked, SPEC))
    lock = compile_rollout(first, first.rollouts[KEY]).lock()
    sources = files(here, SPEC) | {lock_path(first.rollouts[KEY].path): lock.raw}
    repo = repo_of(sources)
    made = compile_locked(repo, repo.rollouts[KEY], sources)
    prepared = Prepared(made.rollout, made.plan, made.lock, made.mandate, None, None)
    return with_seats(CommitState("c1", repo, cast(Any, None), {KEY: prepared}), ledger)


def mandate_of(state: CommitState) -> str:
    mandate = state.rollouts[KEY].mandate
    assert mandate is not None
    return mandate.id


def staged(number: int, device: str, mandate: str) -> list[Change]:
    moves = (OrderStatus.SENT, OrderStatus.STAGED)
    order = intended(number, device=device, mandate=mandate)
    return [order, *(OrderMoved(at=NOW, order=order.order, status=one) for one in moves)]


def due(ledger: Ledger, state: CommitState, now: datetime = NOW) -> list[tuple[str, bool]]:
    return [(one.row.device, one.back) for one in Leftovers(ledger, state).due((), now)]


def without(state: CommitState, device: str) -> CommitState:
    """Return the commit in which a device is in the inventory, and not targeted any more."""
    one = state.rollouts[KEY]
    return replace(state, rollouts={KEY: replace(one, plan=replace(one.plan, dropped=(device,)))})


def test_members_look_after_themselves_and_who_has_dropped_out_is_looked_after(ledger: Ledger) -> None:
    state = state_of(ledger, locked="ab", here="ab")
    mandate = mandate_of(state)
    write(ledger, rollout(mandate=mandate), *staged(1, "a", mandate), *staged(2, "b", mandate))
    assert (due(ledger, state), Leftovers(ledger, state).next_due()) == ([], None)
    dropped = without(state, "b")
    assert due(ledger, dropped) == [("b", False)]
    assert list(Leftovers(ledger, dropped).due({"b"}, NOW)) == [], "somebody else is at it"


def test_what_a_rollout_that_goes_back_left_on_who_dropped_out_is_taken_back(ledger: Ledger) -> None:
    state = without(state_of(ledger, locked="ab", here="ab"), "b")
    mandate = mandate_of(state)
    write(ledger, rollout(mandate=mandate), *staged(1, "b", mandate))
    write(ledger, rollout(RolloutState.ROLLING_BACK, mandate=mandate))
    assert due(ledger, state) == [("b", True)]


def confirmed(number: int, device: str, mandate: str) -> list[Change]:
    """Return that a device runs what a mandate brought."""
    moves = (OrderStatus.SENT, OrderStatus.SETTLED)
    moved = [OrderMoved(at=NOW, order=order_id(number), status=one) for one in moves]
    return [
        intended(number, device=device, mandate=mandate),
        *moved,
        replace(seen(device), running_mandate=mandate),
    ]


def test_who_dropped_out_and_runs_what_went_back_goes_back_with_the_others_who_see_to_it_themselves(
    ledger: Ledger,
) -> None:
    state = without(state_of(ledger, locked="ab", here="ab"), "b")
    mandate = mandate_of(state)
    write(ledger, rollout(mandate=mandate), *confirmed(1, "a", mandate), *confirmed(2, "b", mandate))
    leftovers = Leftovers(ledger, state)
    assert list(leftovers.due((), NOW)) == [], "it stays on what it runs"
    write(ledger, rollout(RolloutState.ROLLING_BACK, mandate=mandate))
    assert [(one.row.device, one.back) for one in leftovers.due((), NOW)] == [("b", True)]
    write(ledger, replace(seen("b"), running_mandate="", counter=2))
    assert (list(leftovers.due((), NOW)), leftovers.next_due()) == ([], None)


def test_where_its_wave_keeps_the_firmware_what_it_left_is_finished_only(ledger: Ledger) -> None:
    state = without(state_of(ledger, locked="ab", here="ab"), "b")
    mandate = mandate_of(state)
    write(ledger, rollout(mandate=mandate), *staged(1, "b", mandate))
    wave = WaveMoved(at=NOW, rollout=ROLLOUT, mandate=mandate, wave="wave-1", state=WaveState.OPEN, reason="")
    write(ledger, wave, replace(wave, state=WaveState.PASSED))
    write(ledger, replace(rollout(RolloutState.ROLLING_BACK, mandate=mandate), keeps=True))
    assert due(ledger, state) == [("b", False)]


def test_a_late_joiner_that_matches_no_more_is_looked_after(ledger: Ledger) -> None:
    joined = state_of(ledger, locked="a", here="ax")
    mandate = mandate_of(joined)
    write(ledger, rollout(mandate=mandate), *staged(1, "x", mandate))
    joined = state_of(ledger, locked="a", here="ax")
    assert joined.rollouts[KEY].plan.late[0].devices == ("x",)
    assert due(ledger, joined) == []
    plan = replace(joined.rollouts[KEY].plan, late=())
    left = replace(joined, rollouts={KEY: replace(joined.rollouts[KEY], plan=plan)})
    assert due(ledger, left) == [("x", False)]


def test_who_was_asked_to_end_it_is_asked_again_when_that_is_due(ledger: Ledger) -> None:
    state = without(state_of(ledger, locked="ab", here="ab"), "b")
    mandate = mandate_of(state)
    cancel = replace(intended(2, device="b", mandate=mandate), verb="cancel", refers_to=order_id(1))
    waits = OrderMoved(at=NOW, order=order_id(2), status=OrderStatus.SENT, due_at=later(60))
    write(ledger, rollout(mandate=mandate), *staged(1, "b", mandate), cancel, waits)
    assert due(ledger, state) == []
    assert Leftovers(ledger, state).next_due() == later(60)
    assert due(ledger, state, later(60)) == [("b", False)]


def test_who_has_left_the_inventory_is_never_due(ledger: Ledger) -> None:
    state = state_of(ledger, locked="ab", here="a")
    mandate = mandate_of(state)
    write(ledger, rollout(mandate=mandate), *staged(1, "b", mandate), *staged(2, "c", "gone"))
    assert (due(ledger, state), Leftovers(ledger, state).next_due()) == ([], None)
    assert due(ledger, state_of(ledger, locked="ab", here="abc")) == [("c", False)], "until it is back"
