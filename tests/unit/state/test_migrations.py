"""Ledgers that older versions wrote keep everything, and what is new works on them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from fwctl.errors import InputError
from fwctl.state import (
    BrokenLink,
    DeviceUnreachable,
    Ledger,
    OrderMoved,
    OrderStatus,
    Quarantined,
    RolloutState,
    SampleTaken,
    SetMeta,
    WaveMoved,
    WaveState,
    acquire_lease,
)
from fwctl.state.events import row_hash, to_json
from fwctl.state.form import VERSION
from fwctl.state.samples import samples
from fwctl.state.schema import migrations
from tests.unit.state.support import NOW, ROLLOUT, TTL, later, order_id, rollout, seen

T = "2026-01-02T03:04:05Z"
Rows = Mapping[str, Sequence[dict[str, Any]]]
FIRST: Rows = {
    "meta": [{"key": "k", "value": "v"}],
    "rollouts": [
        {
            **{"key": ROLLOUT, "mandate": "m1", "commit_id": "c1", "state": "progressing", "reason": "r", "rule": ""},
            **{"round": 1, "actor": "ada", "started_at": T, "finished_at": None, "updated_at": T},
        }
    ],
    "devices": [
        {
            **{"id": "device-1", "running_release": "r1", "running_image": "i1", "running_version": "1.0.0"},
            **{"running_mandate": "m0", "state": "idle", "observed_at": T, "reachable": 1, "tried_at": T},
            **{"failure_count": 0, "reason": "", "next_due": T, "counter": 7, "unreachable_since": None},
            **{"spent": "m8 m9", "doc": '{"id":"device-1"}'},
        },
        {
            **{"id": "device-2", "running_release": "", "running_image": "", "running_version": ""},
            **{"running_mandate": "", "state": "unknown", "observed_at": None, "reachable": 0, "tried_at": T},
            **{"failure_count": 3, "reason": "no route", "next_due": None, "counter": 0, "unreachable_since": T},
            **{"spent": "", "doc": "{}"},
        },
    ],
    "orders": [
        {
            **{"id": order_id(n), "device": f"device-{n}", "rollout": ROLLOUT, "mandate": "m1", "verb": "install"},
            **{"release": "r2", "attempt": 1, "stage": 1, "wave": "wave-1", "refers_to": "", "status": status},
            **{"class": "", "code": "", "reason": "x", "body": f'{{"n":{n}}}', "intended_at": T, "sent_at": T},
            **{"due_at": due, "finished_at": None},
        }
        for n, status, due in ((2, "settled", None), (1, "sent", T))
    ],
    "outcomes": [
        {
            **{"order_id": order_id(2), "device": "device-2", "counter": 1, "mandate": "m1", "result": "confirmed"},
            **{"class": "", "code": "", "running_image": "i2", "envelope": "{}", "certificate": "PEM"},
            **{"received_at": T},
        }
    ],
}
SECOND: Rows = {
    **FIRST,
    "rollouts": [{**FIRST["rollouts"][0], "back_since": None}],
    "devices": [{**row, "deferred_since": T} for row in FIRST["devices"]],
    "waves": [
        {
            **{"rollout": ROLLOUT, "mandate": "m1", "wave": "wave-1", "state": "soaking", "reason": "", "opened_at": T},
            **{"soak_since": T, "judged_at": None},
        }
    ],
    "quarantine": [{"device": "device-2", "reason": "r", "rollout": ROLLOUT, "actor": "ada", "since": T}],
    "releases": [{"device": "device-1", "at": T}],
    "taken_back": [{"mandate": "m9", "rollout": ROLLOUT, "since": T}],
}
THIRD: Rows = {
    **SECOND,
    "devices": [{name: value for name, value in row.items() if name != "doc"} for row in SECOND["devices"]],
    "documents": [{"device": "device-1", "doc": '{"id":"device-1"}'}],
    "orders": [
        {"number": number, **{name: value for name, value in row.items() if name != "body"}}
        for number, row in enumerate(SECOND["orders"], 1)
    ],
    "order_bodies": [{"number": number, "body": row["body"]} for number, row in enumerate(SECOND["orders"], 1)],
    "summaries": [
        {
            **{"rollout": ROLLOUT, "mandate": "m1", "commit_id": "c1", "at": T, "valid_until": None},
            **{"revision": 1, "body": "{}"},
        }
    ],
}
FOURTH: Rows = {
    **THIRD,
    "samples": [{"mandate": "m0", "wave": "wave-1", "phase": "before", "device": "device-2", "metrics": "{}"}],
}
OLDER = {"0002_waves": FIRST, "0003_size": SECOND, "0004_samples": THIRD, "0005_keeping": FOURTH}
MADE = {"lease", "revision", "anchor"}
"""tables that have their row from the beginning"""


def older(path: Path, before: str) -> None:
    """Write a ledger as the version before the migration `before` did, with rows in every table and two events."""
    database = Database(sqlite3.connect(path), execute_plugins=False)
    migrations.apply(database, stop_before=before)
    rows = {**OLDER[before], "events": events()}
    names = {n for n in database.table_names() if not n.startswith(("_", "sqlite"))} - MADE
    assert names == set(rows), "something of everything"
    for name, given in rows.items():
        for row in given:
            marks = ", ".join("?" * len(row))
            database.conn.execute(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    database.conn.commit()
    database.close()


def events() -> list[dict[str, object]]:
    keys = ("seq", "at", "kind", "rollout", "device", "order_id", "reason", "actor", "data", "prev")
    first = (1, T, "rollout.progressing", ROLLOUT, "", "", "r", "ada", to_json({}), "")
    second = (2, T, "device.seen", "", "device-1", "", "r", "fwctl", to_json({"n": 1}), row_hash(first))
    return [dict(zip((*keys, "hash"), (*row, row_hash(row)), strict=True)) for row in (first, second)]


@pytest.mark.parametrize("before", list(OLDER))
def test_an_older_ledger_keeps_everything(before: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    older(path, before)
    with pytest.raises(InputError, match="E_LEDGER_OLDER"):
        Ledger.open(path, readonly=True)
    with Ledger.open(path) as ledger:
        assert (ledger.verify_chain(), ledger.integrity()) == (None, ())
        assert [event.kind for event in ledger.events()] == ["rollout.progressing", "device.seen"]
        first, second = ledger.devices()
        assert (first.id, first.counter, first.spent, first.next_due) == ("device-1", 7, ("m8", "m9"), NOW)
        assert first.deferred_since == second.deferred_since == (None if before == "0002_waves" else NOW)
        assert (second.failure_count, second.reason, second.reachable) == (3, "no route", False)
        assert (ledger.document("device-1"), ledger.document("device-2")) == ({"id": "device-1"}, None)
        assert [row.id for row in ledger.orders(mandate="m1")] == [order_id(1), order_id(2)]
        assert [ledger.order_body(order_id(n)) for n in (1, 2)] == [{"n": 1}, {"n": 2}]
        assert [row.id for row in ledger.leftovers(NOW, ())] == [order_id(1)]
        assert [row.order for row in ledger.outcomes("m1")] == [order_id(2)]
        assert ledger.meta("k") == "v"
        if before != "0002_waves":
            assert [row.soak_since for row in ledger.waves(ROLLOUT, "m1")] == [NOW]
            assert (ledger.releases(), ledger.taken_back()) == ({"device-1": NOW}, ("m9",))
            assert ledger.keeping("m9") == frozenset(), "everybody went back then"
            assert [row.device for row in ledger.quarantine()] == ["device-2"]


@pytest.mark.parametrize("before", list(OLDER))
def test_an_older_ledger_takes_what_is_new(before: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    older(path, before)
    with Ledger.open(path) as ledger, acquire_lease(ledger, holder="test", now=later(9999), ttl=TTL) as held:
        changes = (
            WaveMoved(at=NOW, rollout=ROLLOUT, mandate="m1", wave="wave-2", state=WaveState.OPEN, reason="r"),
            rollout(RolloutState.ROLLING_BACK),
            Quarantined(at=NOW, device="d", reason="r"),
            seen("device-1", at=later(5), counter=8),
            DeviceUnreachable(at=later(5), device="device-3", reason="no route"),
            OrderMoved(at=later(5), order=order_id(1), status=OrderStatus.SETTLED),
            SetMeta(at=NOW, key="k", value="w"),
            SampleTaken(
                at=NOW, mandate="m1", wave="wave-1", phase="before", device="device-1", metrics={"crash_rate": 3}
            ),
        )
        ledger.apply(changes, epoch=held.epoch)
        assert ledger.verify_chain() is None
        assert [row.id for row in ledger.devices()] == ["device-1", "device-2", "device-3"]
        assert ledger.document("device-1") == {"id": "device-1", "vitals": {"temperature": 40}}
        assert ledger.leftovers(later(99), ()) == []
        assert samples(ledger, "m1", ["wave-1"]) == {("wave-1", "before"): {"device-1": {"crash_rate": 3}}}
    conn = sqlite3.connect(path)
    assert conn.execute("PRAGMA user_version").fetchone()[0] == VERSION
    conn.close()


def test_a_cut_tail_shows_in_a_ledger_that_was_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    older(path, "0003_size")
    with Ledger.open(path) as ledger:
        conn = sqlite3.connect(path)
        conn.execute("DROP TRIGGER events_no_delete")
        conn.execute("DELETE FROM events WHERE seq = 2")
        conn.commit()
        conn.close()
        assert ledger.verify_chain() == BrokenLink(2, "it and what followed were cut off")
