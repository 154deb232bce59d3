"""Write one change and, on a transition only, its event. Runs inside a transaction that the ledger opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import assert_never

from fwctl.state.apply_waves import deferred, quarantined, ready, released, wave_moved
from fwctl.state.changes import (
    Change,
    DeviceDeferred,
    DeviceSeen,
    DeviceUnreachable,
    Event,
    OrderIntended,
    OrderMoved,
    OutcomeReceived,
    Quarantined,
    QuarantineReleased,
    RolloutMoved,
    SampleTaken,
    SetMeta,
    SummaryStored,
    WaveMoved,
)
from fwctl.state.events import Chain, to_json
from fwctl.state.sampling import sample_taken
from fwctl.state.times import to_text, to_text_or_none
from fwctl.state.transitions import (
    FINISHED,
    OrderStatus,
    RolloutState,
    check_order,
    check_rollout,
    transition_error,
)

# These rise in every pass; an event each time would be noise (the signed metadata itself is the evidence).
_QUIET_META = frozenset({"timestamp_version", "snapshot_version"})

_INSERT_DEVICE = (
    "INSERT INTO devices (running_release, running_image, running_version, running_mandate, state, observed_at,"
    " reachable, tried_at, failure_count, reason, next_due, counter, spent, id)"
    " VALUES (?, ?, ?, ?, ?, ?, 1, ?, 0, '', ?, ?, ?, ?)"
)
_UPDATE_DEVICE = (
    "UPDATE devices SET running_release = ?, running_image = ?, running_version = ?, running_mandate = ?, state = ?,"
    " observed_at = ?, reachable = 1, tried_at = ?, failure_count = 0, reason = '', next_due = ?, counter = ?,"
    " unreachable_since = NULL, spent = ? WHERE id = ?"
)
_STORE_DOCUMENT = "INSERT INTO documents VALUES (?, ?) ON CONFLICT (device) DO UPDATE SET doc = excluded.doc"


def apply_group(conn: sqlite3.Connection, chain: Chain, group: Iterable[Change]) -> bool:
    """Apply the changes of one group; True when that changed anything that a decision could see."""
    touched = False
    for change in group:
        before = conn.total_changes
        apply_change(conn, chain, change)
        touched = touched or (conn.total_changes != before and _visible(change))
    return touched


def _visible(change: Change) -> bool:
    if isinstance(change, SetMeta):
        return change.key not in _QUIET_META
    return not isinstance(change, (SummaryStored, Event))


def apply_change(conn: sqlite3.Connection, chain: Chain, change: Change) -> None:
    """Apply one change. Raises WorldError E_LEDGER_TRANSITION when it contradicts what is recorded."""
    match change:
        case SetMeta():
            _set_meta(conn, chain, change)
        case DeviceSeen():
            _device_seen(conn, chain, change)
        case DeviceUnreachable():
            _device_unreachable(conn, chain, change)
        case DeviceDeferred():
            deferred(conn, chain, change)
        case RolloutMoved():
            _rollout_moved(conn, chain, change)
        case WaveMoved():
            wave_moved(conn, chain, change)
        case Quarantined():
            quarantined(conn, chain, change)
        case QuarantineReleased():
            released(conn, chain, change)
        case OrderIntended():
            _order_intended(conn, chain, change)
        case OrderMoved():
            _order_moved(conn, chain, change)
        case OutcomeReceived():
            _outcome_received(conn, chain, change)
        case SampleTaken():
            sample_taken(conn, change)
        case SummaryStored():
            _summary_stored(conn, change)
        case Event():
            _event(chain, change)
        case _:
            assert_never(change)


def _set_meta(conn: sqlite3.Connection, chain: Chain, change: SetMeta) -> None:
    old = conn.execute("SELECT value FROM meta WHERE key = ?", (change.key,)).fetchone()
    if old is not None and old[0] == change.value:
        return
    conn.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (change.key, change.value))
    if change.key not in _QUIET_META:
        data = {"key": change.key, "old": old[0] if old else "", "new": change.value}
        chain.append("meta.set", at=to_text(change.at), reason=change.reason, data=data)


def _device_seen(conn: sqlite3.Connection, chain: Chain, change: DeviceSeen) -> None:
    at = to_text(change.at)
    running = (change.running_release, change.running_image, change.running_version, change.running_mandate)
    old = conn.execute(
        "SELECT running_release, running_image, running_version, running_mandate, state, reachable, tried_at, counter"
        " FROM devices WHERE id = ?",
        (change.device,),
    ).fetchone()
    if old is not None and (at, change.counter if at == old[6] else old[7]) < (old[6], old[7]):
        return  # an answer that was overtaken
    counter = max(change.counter, old[7] if old is not None else 0)  # never falls (I4), not even by re-enrolment
    due, spent = to_text_or_none(change.next_due), " ".join(change.spent)
    values = (*running, change.state, at, at, due, counter, spent, change.device)
    conn.execute(_INSERT_DEVICE if old is None else _UPDATE_DEVICE, values)
    conn.execute(_STORE_DOCUMENT, (change.device, to_json(change.document)))
    data = {"release": running[0], "image": running[1], "version": running[2], "state": change.state}
    if old is None:
        chain.append("device.seen", at=at, reason="first answer", device=change.device, data=data)
    elif not old[5]:
        chain.append("device.reachable", at=at, reason="it answers again", device=change.device, data=data)
    elif old[:5] != (*running, change.state):
        reason = "it runs another image" if old[:4] != running else f"{old[4]} -> {change.state}"
        chain.append("device.changed", at=at, reason=reason, device=change.device, data=data)


def _device_unreachable(conn: sqlite3.Connection, chain: Chain, change: DeviceUnreachable) -> None:
    at, due = to_text(change.at), to_text_or_none(change.next_due)
    old = conn.execute(
        "SELECT reachable, tried_at, failure_count FROM devices WHERE id = ?", (change.device,)
    ).fetchone()
    if old is not None and (at < old[1] or (at == old[1] and not old[0])):
        return
    if old is None:
        conn.execute(
            "INSERT INTO devices VALUES (?, '', '', '', '', 'unknown', NULL, 0, ?, 1, ?, ?, 0, ?, '', NULL)",
            (change.device, at, change.reason, due, at),
        )
    else:
        conn.execute(
            "UPDATE devices SET reachable = 0, tried_at = ?, failure_count = failure_count + 1, reason = ?,"
            " next_due = ?, unreachable_since = coalesce(unreachable_since, ?) WHERE id = ?",
            (at, change.reason, due, at, change.device),
        )
    if old is None or old[0]:
        chain.append("device.unreachable", at=at, reason=change.reason, device=change.device)


def _rollout_moved(conn: sqlite3.Connection, chain: Chain, change: RolloutMoved) -> None:
    at = to_text(change.at)
    old = conn.execute(
        "SELECT mandate, state, rule, reason, started_at, commit_id, finished_at, back_since FROM rollouts"
        " WHERE key = ?",
        (change.rollout,),
    ).fetchone()
    same = old is not None and old[0] == change.mandate
    if same:
        check_rollout(change.rollout, RolloutState(old[1]), change.state)
        unchanged = (old[1], old[2], old[3], old[5]) == (change.state, change.rule, change.reason, change.commit)
        if unchanged and not _widens(conn, change):
            return
    started, finished = (old[4], old[6]) if same else (None, None)
    if not same or old[1] != change.state:
        started = started or (at if change.state is not RolloutState.WAITING else None)
        finished = at if change.state in FINISHED else None
    back = old[7] if same else None
    if change.state is RolloutState.ROLLING_BACK:
        # Who was kept goes back from now on: the deadline counts from here.
        back = at if _widens(conn, change) else back or at
        took = (change.mandate, change.rollout, back, change.keeps)
        conn.execute(
            "INSERT INTO taken_back (mandate, rollout, since, keeps) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (mandate) DO UPDATE SET keeps = min(keeps, excluded.keeps)",
            took,
        )
    _store_rollout(conn, change, (started, finished, at, back))
    if same and (old[1], old[2]) == (change.state, change.rule):
        return  # only the wording or the commit moved: the row tells it, an event would be noise
    data = {"mandate": change.mandate, "commit": change.commit, "rule": change.rule, "round": change.round}
    data["from"] = old[1] if same else ""
    kind, actor = f"rollout.{change.state}", change.actor
    chain.append(kind, at=at, reason=change.reason, actor=actor, rollout=change.rollout, data=data)


def _widens(conn: sqlite3.Connection, change: RolloutMoved) -> bool:
    """Say whether from now on everybody goes back where some waves were to keep the firmware."""
    if change.state is not RolloutState.ROLLING_BACK or change.keeps:
        return False
    known = conn.execute("SELECT keeps FROM taken_back WHERE mandate = ?", (change.mandate,)).fetchone()
    return known is not None and bool(known[0])


def _store_rollout(conn: sqlite3.Connection, change: RolloutMoved, times: tuple[str | None, ...]) -> None:
    conn.execute(
        "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
        " mandate = excluded.mandate, commit_id = excluded.commit_id, state = excluded.state, reason = excluded.reason,"
        " rule = excluded.rule, round = excluded.round, actor = excluded.actor, started_at = excluded.started_at,"
        " finished_at = excluded.finished_at, updated_at = excluded.updated_at, back_since = excluded.back_since",
        (
            *(change.rollout, change.mandate, change.commit, str(change.state), change.reason, change.rule),
            *(change.round, change.actor, *times),
        ),
    )


def _order_intended(conn: sqlite3.Connection, chain: Chain, change: OrderIntended) -> None:
    at, body = to_text(change.at), to_json(change.body)
    fixed = (change.device, change.rollout, change.mandate, change.verb, change.release, change.attempt)
    old = conn.execute(
        "SELECT device, rollout, mandate, verb, release, attempt, status, number FROM orders WHERE id = ?",
        (change.order,),
    ).fetchone()
    if old is not None:
        if old[:6] != fixed:
            raise transition_error(f"order {change.order}", "the same id already stands for another order")
        if old[6] in (OrderStatus.INTENDED, OrderStatus.SENT):
            conn.execute("UPDATE order_bodies SET body = ? WHERE number = ? AND body <> ?", (body, old[7], body))
        return
    number = conn.execute(
        "INSERT INTO orders (id, device, rollout, mandate, verb, release, attempt, stage, wave, refers_to, status,"
        " class, code, reason, intended_at, due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'intended', '', '', ?, ?, ?)",
        (
            *(change.order, *fixed, change.stage, change.wave, change.refers_to),
            *(change.reason, at, to_text_or_none(change.due_at)),
        ),
    ).lastrowid
    conn.execute("INSERT INTO order_bodies VALUES (?, ?)", (number, body))
    data = {"verb": change.verb, "release": change.release, "attempt": change.attempt, "wave": change.wave}
    where = {"rollout": change.rollout, "device": change.device, "order": change.order}
    chain.append("order.intended", at=at, reason=change.reason, data=data, **where)


def _order_moved(conn: sqlite3.Connection, chain: Chain, change: OrderMoved) -> None:
    old = conn.execute(
        "SELECT status, class, code, device, rollout FROM orders WHERE id = ?", (change.order,)
    ).fetchone()
    if old is None:
        raise transition_error(f"order {change.order}", "no such order was intended")
    status = OrderStatus(old[0])
    check_order(change.order, status, change.status)
    at, same = to_text(change.at), (old[1], old[2]) == (change.failure_class, change.code)
    if status is change.status is OrderStatus.SETTLED:
        if not same:
            raise transition_error(f"order {change.order}", f"it is settled as {old[1] or 'done'} already")
        return
    settled = change.status is OrderStatus.SETTLED
    conn.execute(
        "UPDATE orders SET status = ?, class = ?, code = ?, reason = ?, sent_at = coalesce(sent_at, ?),"
        " due_at = CASE WHEN ? THEN NULL ELSE coalesce(?, due_at) END, finished_at = ? WHERE id = ?",
        (
            *(str(change.status), change.failure_class, change.code, change.reason),
            at if change.status is OrderStatus.SENT else None,
            *(settled, to_text_or_none(change.due_at), at if settled else None, change.order),
        ),
    )
    if change.status in (OrderStatus.ACCEPTED, OrderStatus.RUNNING):
        ready(conn, old[3])
    if status is change.status and same:
        return  # it waits on; the row says why and until when
    data = {"class": change.failure_class, "code": change.code}
    where = {"device": old[3], "rollout": old[4], "order": change.order}
    chain.append(f"order.{change.status}", at=at, reason=change.reason, data=data, **where)


def _outcome_received(conn: sqlite3.Connection, chain: Chain, change: OutcomeReceived) -> None:
    at = to_text(change.at)
    new = conn.execute(
        "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            *(change.order, change.device, change.counter, change.mandate, change.result, change.failure_class),
            *(change.code, change.running_image, to_json(change.envelope), change.certificate, at),
        ),
    ).rowcount
    if not new:
        return
    known = conn.execute("SELECT rollout FROM orders WHERE id = ?", (change.order,)).fetchone()
    data = {
        "result": change.result,
        "class": change.failure_class,
        "code": change.code,
        "image": change.running_image,
        "mandate": change.mandate,
        "counter": change.counter,
    }
    where = {"device": change.device, "order": change.order, "rollout": known[0] if known else ""}
    chain.append("outcome.received", at=at, reason=change.result, actor=change.device, data=data, **where)


def _summary_stored(conn: sqlite3.Connection, change: SummaryStored) -> None:
    # the revision is filled in at the end of the transaction, when it is known who else changed something
    conn.execute(
        "INSERT OR REPLACE INTO summaries (rollout, mandate, commit_id, at, valid_until, revision, body)"
        " VALUES (?, ?, ?, ?, ?, 0, ?)",
        (
            *(change.rollout, change.mandate, change.commit, to_text(change.at)),
            *(to_text_or_none(change.valid_until), to_json(change.body)),
        ),
    )


def _event(chain: Chain, change: Event) -> None:
    where = {"rollout": change.rollout, "device": change.device, "order": change.order}
    chain.append(
        change.kind, at=to_text(change.at), reason=change.reason, actor=change.actor, data=change.data, **where
    )
