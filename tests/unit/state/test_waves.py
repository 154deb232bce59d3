"""Waves and quarantine in the ledger: idempotent, forwards only, and an older ledger keeps everything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database

from fwctl.errors import WorldError
from fwctl.state import (
    Lease,
    Ledger,
    Quarantined,
    QuarantineReleased,
    RolloutState,
    SetMeta,
    WaveMoved,
    WaveState,
    acquire_lease,
    ledger_path,
)
from fwctl.state.schema import VERSION, migrations
from tests.unit.state.support import NOW, ROLLOUT, TTL, intended, later, order_id, outcome, rollout, seen

W = WaveState


def wave(state: WaveState, seconds: int = 0, *, name: str = "wave-1", mandate: str = "m1", why: str = "") -> WaveMoved:
    reason = why or f"because {state}"
    return WaveMoved(at=later(seconds), rollout=ROLLOUT, mandate=mandate, wave=name, state=state, reason=reason)


@pytest.fixture
def begun(ledger: Ledger, lease: Lease) -> Ledger:
    ledger.apply([rollout()], epoch=lease.epoch)
    return ledger


def kinds(ledger: Ledger) -> list[str]:
    return [event.kind for event in ledger.events()][1:]


def test_a_wave_leaves_its_whole_story(begun: Ledger, lease: Lease) -> None:
    for seconds, state in enumerate((W.OPEN, W.SOAKING, W.PASSED)):
        begun.apply([wave(state, seconds)], epoch=lease.epoch)
    (row,) = begun.waves(ROLLOUT, "m1")
    assert (row.wave, row.state, row.reason) == ("wave-1", W.PASSED, "because passed")
    assert (row.opened_at, row.soak_since, row.judged_at) == (NOW, later(1), later(2))
    assert kinds(begun) == ["wave.open", "wave.soaking", "wave.passed"]
    assert [event.data.get("wave") for event in begun.events(rollout=ROLLOUT)][1:] == ["wave-1"] * 3
    assert begun.verify_chain() is None


def test_a_soak_begins_once(begun: Ledger, lease: Lease) -> None:
    """THREATS R14: whoever says again that the wave soaks does not start the soak anew."""
    begun.apply([wave(W.OPEN), wave(W.SOAKING, 1), wave(W.SOAKING, 50, why="another word")], epoch=lease.epoch)
    (row,) = begun.waves(ROLLOUT, "m1")
    assert (row.soak_since, row.opened_at, row.reason) == (later(1), NOW, "another word")
    assert kinds(begun) == ["wave.open", "wave.soaking"]


@pytest.mark.parametrize(
    "states", [(W.OPEN, W.PASSED), (W.OPEN, W.FAILED), (W.OPEN, W.SOAKING, W.FAILED), (W.OPEN, W.SOAKING, W.PASSED)]
)
def test_the_same_verdict_again_changes_nothing(begun: Ledger, lease: Lease, states: tuple[WaveState, ...]) -> None:
    for state in states:
        begun.apply([wave(state)], epoch=lease.epoch)
    before, events = begun.waves(ROLLOUT, "m1"), kinds(begun)
    begun.apply([wave(states[-1], 99)], epoch=lease.epoch)
    assert (begun.waves(ROLLOUT, "m1"), kinds(begun)) == (before, events)
    assert (before[0].judged_at, before[0].soak_since) == (NOW, NOW if W.SOAKING in states else None)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((W.OPEN, W.PASSED), W.OPEN),
        ((W.OPEN, W.PASSED), W.SOAKING),
        ((W.OPEN, W.PASSED), W.FAILED),
        ((W.OPEN, W.FAILED), W.PASSED),
        ((W.OPEN, W.FAILED), W.SOAKING),
        ((W.OPEN, W.FAILED), W.OPEN),
        ((W.OPEN, W.SOAKING), W.OPEN),
    ],
)
def test_a_judged_wave_is_not_judged_again(
    begun: Ledger, lease: Lease, first: tuple[WaveState, ...], then: WaveState
) -> None:
    for state in first:
        begun.apply([wave(state)], epoch=lease.epoch)
    before = begun.waves(ROLLOUT, "m1")
    with pytest.raises(WorldError) as caught:
        begun.apply([wave(then, 5)], epoch=lease.epoch)
    assert caught.value.code == "E_LEDGER_TRANSITION"
    assert begun.waves(ROLLOUT, "m1") == before


def test_a_new_mandate_has_waves_of_its_own(begun: Ledger, lease: Lease) -> None:
    begun.apply([wave(W.OPEN), wave(W.FAILED, 1)], epoch=lease.epoch)
    begun.apply([rollout(mandate="m2"), wave(W.OPEN, 2, mandate="m2")], epoch=lease.epoch)
    assert [row.state for row in begun.waves(ROLLOUT, "m2")] == [W.OPEN]
    assert [row.state for row in begun.waves(ROLLOUT, "m1")] == [W.FAILED]


def test_waves_need_a_rollout(ledger: Ledger, lease: Lease) -> None:
    with pytest.raises(WorldError):
        ledger.apply([wave(W.OPEN)], epoch=lease.epoch)
    assert ledger.waves(ROLLOUT, "m1") == ()


def test_the_way_back_is_timed_from_its_first_record(begun: Ledger, lease: Lease) -> None:
    for seconds in (5, 60):
        begun.apply([rollout(RolloutState.ROLLING_BACK, at=later(seconds))], epoch=lease.epoch)
    begun.apply([rollout(RolloutState.ROLLED_BACK, at=later(90))], epoch=lease.epoch)
    row = begun.rollout(ROLLOUT)
    assert row is not None
    assert (row.back_since, row.finished_at) == (later(5), later(90))
    begun.apply([rollout(mandate="m2", at=later(99))], epoch=lease.epoch)
    fresh = begun.rollout(ROLLOUT)
    assert fresh is not None
    assert (fresh.back_since, fresh.finished_at) == (None, None), "a new mandate starts afresh"


def test_the_first_reason_for_a_quarantine_stays(begun: Ledger, lease: Lease) -> None:
    first = Quarantined(at=NOW, device="device-1", reason="health", rollout=ROLLOUT)
    begun.apply([first], epoch=lease.epoch)
    begun.apply([first, Quarantined(at=later(9), device="device-1", reason="alice", actor="alice")], epoch=lease.epoch)
    (row,) = begun.quarantine()
    assert (row.device, row.reason, row.rollout, row.actor, row.since) == ("device-1", "health", ROLLOUT, "fwctl", NOW)
    assert kinds(begun) == ["device.quarantined"]


def test_a_release_is_told_once_and_a_device_may_go_back_into_quarantine(begun: Ledger, lease: Lease) -> None:
    let_go = QuarantineReleased(at=later(1), device="device-1", reason="mended", actor="alice")
    begun.apply([let_go], epoch=lease.epoch)
    assert kinds(begun) == [], "it was not in quarantine"
    begun.apply([Quarantined(at=NOW, device="device-1", reason="health"), let_go, let_go], epoch=lease.epoch)
    assert begun.quarantine() == ()
    begun.apply([Quarantined(at=later(2), device="device-1", reason="again")], epoch=lease.epoch)
    assert [row.reason for row in begun.quarantine()] == ["again"]
    assert kinds(begun) == ["device.quarantined", "device.released", "device.quarantined"]
    (released,) = [event for event in begun.events() if event.kind == "device.released"]
    assert (released.actor, released.reason, released.device) == ("alice", "mended", "device-1")


def test_a_ledger_of_the_first_version_keeps_everything(ledger: Ledger, lease: Lease, tmp_path: Path) -> None:
    ledger.apply([rollout(), seen(), intended(1), outcome(1), SetMeta(at=NOW, key="k", value="v")], epoch=lease.epoch)
    path = ledger_path(tmp_path / "older")
    before = first_version(ledger.path, path)
    assert {name for name, rows in before.items() if not rows} == set(), "something of everything"
    with Ledger.open(path) as migrated:
        assert rows_of(path, before) == before
        assert (migrated.verify_chain(), migrated.integrity()) == (None, ())
        assert [(row.state, row.back_since) for row in migrated.rollouts()] == [(RolloutState.PROGRESSING, None)]
        assert [row.id for row in migrated.orders()] == [order_id(1)]
        assert (migrated.quarantine(), migrated.waves(ROLLOUT, "m1")) == ((), ())
        with acquire_lease(migrated, holder="test", now=later(9999), ttl=TTL) as held:
            quarantine = Quarantined(at=NOW, device="d", reason="r")
            migrated.apply([wave(W.OPEN), rollout(RolloutState.ROLLING_BACK), quarantine], epoch=held.epoch)
        assert len(migrated.waves(ROLLOUT, "m1")) == len(migrated.quarantine()) == 1
    with sqlite3.connect(path) as conn:
        assert conn.execute("PRAGMA user_version").fetchone()[0] == VERSION


Rows = dict[str, list[dict[str, object]]]


def first_version(source: Path, path: Path) -> Rows:
    """Write a ledger with the tables of version 1 and the rows of `source`; return these rows."""
    path.parent.mkdir()
    database = Database(sqlite3.connect(path), execute_plugins=False)
    migrations.apply(database, stop_before="0002_waves")
    database.conn.execute("DELETE FROM lease")
    older = Database(sqlite3.connect(source), execute_plugins=False)
    names = [name for name in database.table_names() if not name.startswith(("_", "sqlite"))]
    columns: Rows = {name: [dict.fromkeys(database[name].columns_dict)] for name in names}
    rows: Rows = {}
    for name, (keys,) in columns.items():
        text = ", ".join(keys)
        rows[name] = list(older.query(f"SELECT {text} FROM {name} ORDER BY 1"))
        for row in rows[name]:
            marks = ", ".join("?" * len(row))
            database.conn.execute(f"INSERT INTO {name} ({text}) VALUES ({marks})", list(row.values()))
    database.conn.commit()
    database.close()
    older.close()
    return rows


def rows_of(path: Path, like: Rows) -> Rows:
    """Return the rows of the same tables, in the columns that they had."""
    database = Database(sqlite3.connect(path), execute_plugins=False)
    found = {
        name: list(database.query(f"SELECT {', '.join(rows[0])} FROM {name} ORDER BY 1")) for name, rows in like.items()
    }
    database.close()
    return found
