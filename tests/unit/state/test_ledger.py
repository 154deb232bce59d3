"""The ledger: what is written, what is refused, and what a damaged file says."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fwctl.errors import Busy, FwctlError, InputError, WorldError
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
    SetMeta,
    acquire_lease,
    ledger_path,
    state_dir,
)
from fwctl.state.pass_queries import LEFTOVERS
from tests.unit.state.support import NOW, ROLLOUT, TTL, intended, later, order_id, outcome, rollout, seen

S = OrderStatus
R = RolloutState


def kinds(ledger: Ledger) -> list[str]:
    return [event.kind for event in ledger.events()]


def moved(number: int, status: OrderStatus, **extra: str) -> OrderMoved:
    return OrderMoved(at=later(1), order=order_id(number), status=status, **extra)  # type: ignore[arg-type]


def test_a_rollout_leaves_its_whole_story(ledger: Ledger, lease: Lease) -> None:
    story: list[Change] = [
        rollout(),
        seen(),
        intended(1),
        moved(1, S.SENT),
        moved(1, S.ACCEPTED),
        outcome(1),
        moved(1, S.SETTLED),
        seen(image="i2", at=later(2), counter=2),
        rollout(R.COMPLETE, at=later(3)),
    ]
    ledger.apply(story, epoch=lease.epoch)
    assert kinds(ledger) == [
        "rollout.progressing",
        "device.seen",
        "order.intended",
        "order.sent",
        "order.accepted",
        "outcome.received",
        "order.settled",
        "device.changed",
        "rollout.complete",
    ]
    now = ledger.rollout(ROLLOUT)
    assert now is not None
    assert (now.state, now.started_at, now.finished_at) == (R.COMPLETE, NOW, later(3))
    (order,) = ledger.orders(mandate="m1")
    assert (order.status, order.sent_at, order.due_at, order.finished_at) == (S.SETTLED, later(1), None, later(1))
    assert ledger.order_body(order_id(1)) == {"payload": "e30=", "signatures": []}
    assert [found.running_image for found in ledger.outcomes("m1")] == ["i2"]
    assert ledger.document("device-1") == {"id": "device-1", "vitals": {"temperature": 40}}
    assert (ledger.verify_chain(), ledger.integrity()) == (None, ())


def test_the_same_changes_again_change_nothing(ledger: Ledger, lease: Lease) -> None:
    away = DeviceUnreachable(at=later(9), device="device-2", reason="refused")
    story: list[Change] = [
        rollout(),
        seen(),
        intended(1),
        moved(1, S.SENT),
        outcome(1),
        SetMeta(at=NOW, key="k", value="v"),
        away,
    ]
    for _ in range(2):
        ledger.apply(story, epoch=lease.epoch)
    first = (list(ledger.events()), ledger.devices(), ledger.orders(), ledger.rollouts(), list(ledger.outcomes("m1")))
    ledger.apply(story, epoch=lease.epoch)
    again = (list(ledger.events()), ledger.devices(), ledger.orders(), ledger.rollouts(), list(ledger.outcomes("m1")))
    assert again == first
    assert len(kinds(ledger)) == len(story)
    assert ledger.devices(["device-2"])[0].failure_count == 1


def test_an_event_comes_with_a_transition_only(ledger: Ledger, lease: Lease) -> None:
    for second in range(5):
        ledger.apply([seen(at=later(second))], epoch=lease.epoch)
        away = DeviceUnreachable(at=later(second), device="device-2", reason="timeout", next_due=later(second + 60))
        ledger.apply([away, SetMeta(at=NOW, key="timestamp_version", value=str(second))], epoch=lease.epoch)
    assert kinds(ledger) == ["device.seen", "device.unreachable"]
    (device,) = ledger.devices(["device-2"])
    assert (device.failure_count, device.reachable, device.next_due) == (5, False, later(64))
    assert ledger.document("device-2") is None
    ledger.apply([seen("device-2", at=later(10))], epoch=lease.epoch)
    assert kinds(ledger)[-1] == "device.reachable"
    assert ledger.devices(["device-2"])[0].failure_count == 0
    assert ledger.meta("timestamp_version") == "4"


def test_an_overtaken_answer_changes_nothing_and_a_counter_never_falls(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([seen(image="new", at=later(5), counter=7)], epoch=lease.epoch)
    ledger.apply(
        [seen(image="old", at=later(4), counter=6), seen(image="old", at=later(5), counter=6)], epoch=lease.epoch
    )
    assert ledger.devices()[0].running_image == "new"
    ledger.apply([seen(image="enrolled-anew", at=later(6), counter=1)], epoch=lease.epoch)
    assert (ledger.devices()[0].running_image, ledger.devices()[0].counter) == ("enrolled-anew", 7)


@pytest.mark.parametrize(
    "changes",
    [
        [intended(1), moved(1, S.ACCEPTED), moved(1, S.SENT)],
        [intended(1), moved(1, S.SETTLED), moved(1, S.RUNNING)],
        [intended(1), moved(1, S.SETTLED), moved(1, S.SETTLED, failure_class="health")],
        [moved(2, S.SENT)],
        [intended(1), intended(1, device="device-2")],
        [rollout(R.ROLLED_BACK)],
        [rollout(R.STOPPED), rollout(R.PROGRESSING)],
        [intended(1, mandate="m2"), intended(1, mandate="m3")],
    ],
)
def test_a_contradiction_is_refused_whole(ledger: Ledger, lease: Lease, changes: list[Change]) -> None:
    ledger.apply([rollout()], epoch=lease.epoch)
    with pytest.raises(WorldError) as caught:
        ledger.apply([seen(), *changes], epoch=lease.epoch)
    assert caught.value.code == "E_LEDGER_TRANSITION"
    assert (ledger.devices(), ledger.orders(), kinds(ledger)) == ((), (), ["rollout.progressing"])
    assert ledger.verify_chain() is None


def test_an_order_needs_its_rollout(ledger: Ledger, lease: Lease) -> None:
    with pytest.raises(WorldError, match="E_LEDGER_TRANSITION"):
        ledger.apply([intended(1)], epoch=lease.epoch)


def test_a_new_approval_reopens_what_was_rolled_back(ledger: Ledger, lease: Lease) -> None:
    for state in (R.PROGRESSING, R.STOPPED, R.ROLLING_BACK, R.ROLLED_BACK):
        ledger.apply([rollout(state, at=later(1))], epoch=lease.epoch)
    ledger.apply([rollout(R.PROGRESSING, mandate="m2", at=later(9))], epoch=lease.epoch)
    now = ledger.rollout(ROLLOUT)
    assert now is not None
    assert (now.mandate, now.state, now.started_at, now.finished_at) == ("m2", R.PROGRESSING, later(9), None)


def test_a_new_signature_replaces_the_body_until_the_device_has_it(ledger: Ledger, lease: Lease) -> None:
    from dataclasses import replace

    first, second = intended(1), replace(intended(1), body={"payload": "new"})
    ledger.apply([rollout(), first, second], epoch=lease.epoch)
    assert ledger.order_body(order_id(1)) == {"payload": "new"}
    ledger.apply([moved(1, S.ACCEPTED), first], epoch=lease.epoch)
    assert ledger.order_body(order_id(1)) == {"payload": "new"}
    assert kinds(ledger).count("order.intended") == 1


def test_an_order_that_waits_says_why_and_makes_one_event(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([rollout(), intended(1), moved(1, S.SENT)], epoch=lease.epoch)
    for second, reason in enumerate(("battery at 9 %", "battery at 12 %", "battery at 29 %")):
        due, why = later(60 + second), {"failure_class": "deferred", "code": "E_FACTS", "reason": reason}
        ledger.apply([OrderMoved(at=NOW, order=order_id(1), status=S.SENT, due_at=due, **why)], epoch=lease.epoch)
    (order,) = ledger.orders()
    assert (order.status, order.failure_class, order.reason, order.due_at) == (
        S.SENT,
        "deferred",
        "battery at 29 %",
        later(62),
    )
    assert order.sent_at == later(1)
    assert kinds(ledger)[-2:] == ["order.sent", "order.sent"]
    assert [event.reason for event in ledger.events()][-1] == "battery at 9 %"


def test_a_rollout_starts_when_it_leaves_the_queue(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([rollout(R.WAITING)], epoch=lease.epoch)
    waiting = ledger.rollout(ROLLOUT)
    ledger.apply([rollout(R.PROGRESSING, at=later(5)), rollout(R.HELD, at=later(6))], epoch=lease.epoch)
    held = ledger.rollout(ROLLOUT)
    assert waiting is not None
    assert held is not None
    assert (waiting.started_at, held.started_at, held.finished_at, held.reason) == (
        None,
        later(5),
        None,
        "because held",
    )


def test_every_signed_outcome_is_kept_once(ledger: Ledger, lease: Lease) -> None:
    """A device that reverts in its watch says so under the same order, with a higher counter."""
    twice = [outcome(1), outcome(1), outcome(1, counter=2, result="reverted"), outcome(7, device="device-9")]
    ledger.apply(twice, epoch=lease.epoch)
    assert [(o.device, o.counter, o.result) for o in ledger.outcomes("m1")] == [
        ("device-1", 1, "confirmed"),
        ("device-1", 2, "reverted"),
        ("device-9", 1, "confirmed"),
    ]


def test_what_is_due_is_found_through_the_index(ledger: Ledger, lease: Lease) -> None:
    changes: list[Change] = [rollout(), *(intended(n, device=f"device-{n}") for n in range(5)), moved(0, S.SETTLED)]
    ledger.apply([*changes, OrderMoved(at=NOW, order=order_id(1), status=S.SENT, due_at=later(60))], epoch=lease.epoch)
    assert [order.device for order in ledger.leftovers(NOW, {"m2"})] == ["device-2", "device-3", "device-4"]
    assert [order.device for order in ledger.leftovers(later(60), {"m2"})][-1] == "device-1"
    assert ledger.leftovers(later(60), {"m1"}) == [], "a rollout that is there cares for its own orders"
    assert len(ledger.orders(open_only=True)) == 4
    assert len(ledger.orders(device="device-1", mandate="m1", open_only=True)) == 1
    with sqlite3.connect(ledger.path) as conn:
        plan = " ".join(
            str(row) for row in conn.execute(f"EXPLAIN QUERY PLAN {LEFTOVERS.format(marks='?')}", ("x", "m2"))
        )
    conn.close()
    assert "USING INDEX orders_due (due_at<?)" in plan


def test_many_devices_are_asked_for_at_once(ledger: Ledger, lease: Lease) -> None:
    away = [DeviceUnreachable(at=NOW, device=f"d{n:04}", reason="x", next_due=later(n)) for n in range(1200)]
    ledger.apply(away, epoch=lease.epoch)
    assert len(ledger.devices(f"d{n:04}" for n in range(5000))) == 1200


def test_events_are_streamed_and_filtered(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([rollout(), seen(), seen("device-2"), intended(1)], epoch=lease.epoch)
    ledger.apply([Event(at=NOW, kind="note", reason="by hand\x07", actor="ada", data={"n": 1})], epoch=lease.epoch)
    assert [event.kind for event in ledger.events(device="device-1")] == ["device.seen", "order.intended"]
    assert [event.kind for event in ledger.events(rollout=ROLLOUT)] == ["rollout.progressing", "order.intended"]
    assert [event.seq for event in ledger.events(2, limit=2)] == [3, 4]
    last = list(ledger.events())[-1]
    assert (last.actor, last.data, last.at) == ("ada", {"n": 1}, NOW)


def test_events_cannot_be_edited_even_by_sql(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([seen()], epoch=lease.epoch)
    conn = sqlite3.connect(ledger.path)
    for statement in ("UPDATE events SET reason = 'x'", "DELETE FROM events", "UPDATE lease SET epoch = 0"):
        with pytest.raises(sqlite3.IntegrityError):
            conn.execute(statement)
    conn.close()


@pytest.mark.parametrize(
    ("tamper", "broken"),
    [
        ("UPDATE events SET reason = 'it was fine' WHERE seq = 3", 3),
        ("UPDATE events SET data = '{}' WHERE seq = 2", 2),
        ("DELETE FROM events WHERE seq = 2", 2),
        ("DELETE FROM events WHERE seq >= 4", 4),
        ("DELETE FROM events", 1),
        ("UPDATE events SET prev = '' WHERE seq = 4", 4),
    ],
)
def test_the_first_broken_link_is_named(ledger: Ledger, lease: Lease, tamper: str, broken: int) -> None:
    ledger.apply([seen(f"device-{n}") for n in range(5)], epoch=lease.epoch)
    conn = sqlite3.connect(ledger.path)
    for trigger in ("events_no_update", "events_no_delete"):
        conn.execute(f"DROP TRIGGER {trigger}")
    conn.execute(tamper)
    conn.commit()
    conn.close()
    found = ledger.verify_chain()
    assert isinstance(found, BrokenLink)
    assert found.seq == broken


def test_readers_see_committed_rows_only(ledger: Ledger, lease: Lease) -> None:
    with Ledger.open(ledger.path, readonly=True) as reader, ledger.transaction(epoch=lease.epoch) as conn:
        conn.execute("INSERT INTO meta VALUES ('k', 'v')")
        assert (reader.meta("k"), ledger.meta("k")) == (None, None)
    assert ledger.meta("k") == "v"


def test_a_reader_cannot_write(ledger: Ledger, lease: Lease) -> None:
    with Ledger.open(ledger.path, readonly=True) as reader, pytest.raises(WorldError, match="E_LEDGER_ACCESS"):
        reader.apply([seen()], epoch=lease.epoch)


def test_a_writer_that_waits_too_long_is_told(ledger: Ledger, lease: Lease) -> None:
    with Ledger.open(ledger.path, busy_seconds=0.05) as second:
        with ledger.transaction(epoch=lease.epoch), pytest.raises(Busy, match="E_LOCKED"):
            second.apply([seen()], epoch=lease.epoch)
        second.apply([seen()], epoch=lease.epoch)


def test_no_ledger_is_made_by_opening(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Ledger.open(tmp_path / "ledger.db")
    assert caught.value.code == "E_LEDGER_MISSING"
    assert "--new-ledger" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_never_made_over_another(ledger: Ledger, lease: Lease) -> None:
    ledger.apply([seen()], epoch=lease.epoch)
    with pytest.raises(InputError, match="E_LEDGER_EXISTS"):
        Ledger.create(ledger.path)
    assert len(ledger.devices()) == 1
    assert {path.name for path in ledger.path.parent.iterdir()} <= {
        "ledger.db",
        "ledger.db-wal",
        "ledger.db-shm",
        "reconcile.lock",
    }


def test_a_ledger_is_its_owners_alone(ledger: Ledger) -> None:
    assert all(path.stat().st_mode & 0o077 == 0 for path in ledger.path.parent.glob("ledger.db*"))


@pytest.mark.parametrize(
    "content", [b"", b"not a database, but long enough to be one" * 200, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_what_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.db").write_bytes(content)
    for readonly in (False, True):
        with pytest.raises(InputError) as caught:
            Ledger.open(tmp_path / "ledger.db", readonly=readonly)
        assert caught.value.code == "E_LEDGER_CORRUPT"
        assert caught.value.remedy
    assert (tmp_path / "ledger.db").read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    conn = sqlite3.connect(tmp_path / "ledger.db")
    conn.execute("CREATE TABLE theirs (x)")
    conn.close()
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(InputError, match="E_LEDGER_CORRUPT"):
        Ledger.open(tmp_path / "ledger.db")
    assert (tmp_path / "ledger.db").read_bytes() == before


def verdict(path: Path) -> str:
    """Tell how a damaged ledger shows: nothing but our own errors may leave it."""
    try:
        with Ledger.open(path) as damaged:
            return "found" if damaged.integrity() or damaged.verify_chain() else "overlooked"
    except FwctlError as error:
        return "found" if error.code == "E_LEDGER_CORRUPT" and error.remedy else error.code


def test_the_log_of_a_deleted_ledger_is_not_played_into_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.create(path) as old, acquire_lease(old, holder="t", now=NOW, ttl=TTL) as lease:
        old.apply([seen(f"device-{n}") for n in range(50)], epoch=lease.epoch)
        log = path.with_name("ledger.db-wal").read_bytes()
    path.unlink()
    path.with_name("ledger.db-wal").write_bytes(log)
    with Ledger.create(path) as new:
        assert (new.devices(), new.integrity(), new.verify_chain()) == ((), (), None)


def test_every_damaged_page_is_found(ledger: Ledger, lease: Lease, tmp_path: Path) -> None:
    ledger.apply([rollout(), *(seen(f"device-{n}") for n in range(200))], epoch=lease.epoch)
    path = ledger.path
    lease.release()
    ledger.close()
    good, page = path.read_bytes(), 4096
    for at in range(0, len(good), page):
        copy = tmp_path / "copy" / "ledger.db"
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        copy.write_bytes(good[:at] + b"\xa5" * page + good[at + page :])
        assert verdict(copy) == "found", at


def test_a_ledger_of_a_newer_fwctl_is_left_alone(ledger: Ledger) -> None:
    conn = sqlite3.connect(ledger.path)
    conn.execute("PRAGMA user_version = 99")
    conn.close()
    with pytest.raises(InputError) as caught:
        Ledger.open(ledger.path)
    assert (caught.value.code, "99" in caught.value.message) == ("E_LEDGER_NEWER", True)


def test_a_full_disk_stops_all_writing_and_loses_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse writes as a full disk would; then space returns."""
    code = """
import resource, signal, sys
from pathlib import Path
from fwctl.errors import WorldError
from fwctl.state import Ledger, acquire_lease
from tests.unit.state.support import NOW, TTL, seen
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Ledger.create(Path(sys.argv[1])) as ledger:
    lease = acquire_lease(ledger, holder="t", now=NOW, ttl=TTL)
    size = ledger.path.with_name("ledger.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 400_000, resource.RLIM_INFINITY))
    done = 0
    try:
        for n in range(5000):
            ledger.apply([seen(f"device-{n}")], epoch=lease.epoch)
            done += 1
    except WorldError as error:
        assert error.code == "E_DISK", error
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        ledger.apply([seen("after")], epoch=lease.epoch)
    except WorldError as error:
        print(done, error.code)
"""
    path = tmp_path / "ledger.db"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written, _, code_after = done.stdout.strip().partition(" ")
    assert (code_after, 0 < int(written) < 5000) == ("E_DISK", True)
    with Ledger.open(path) as ledger:
        assert len(ledger.devices()) == int(written)
        assert (ledger.integrity(), ledger.verify_chain()) == ((), None)


def test_values_that_cannot_be_stored_are_refused_whole(ledger: Ledger, lease: Lease) -> None:
    from dataclasses import replace

    for bad in (
        replace(seen(), counter=2**70),
        replace(seen(), document={"x": object()}),
        replace(seen(), at=NOW.replace(tzinfo=None)),
    ):
        with pytest.raises((ValueError, TypeError, OverflowError)):
            ledger.apply([seen("other"), bad], epoch=lease.epoch)
    assert ledger.devices() == ()


def test_each_fleet_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_dir("acme", override=tmp_path / "x") == tmp_path / "x/acme"
    monkeypatch.setenv("FWCTL_STATE_DIR", str(tmp_path / "y"))
    folder = state_dir("acme")
    assert folder == tmp_path / "y/acme"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert ledger_path(folder).parent == folder
    monkeypatch.delenv("FWCTL_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "z"))
    assert state_dir("acme") == tmp_path / "z/fwctl/acme"
    for bad in ("", "..", "a/b", "a\n", "-x", "x" * 65):
        with pytest.raises(InputError, match="E_REPO_ID"):
            state_dir(bad)
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match="E_DISK"):
        state_dir("acme", override=tmp_path / "file")


def test_a_folder_that_cannot_be_written_is_an_error_of_the_world(tmp_path: Path) -> None:
    with pytest.raises(WorldError):
        Ledger.create(tmp_path / "missing" / "ledger.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(InputError, match="E_LEDGER_MISSING"):
        Ledger.open(tmp_path / "folder.db")
