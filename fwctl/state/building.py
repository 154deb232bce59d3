"""From rows of the tables to values: which columns are read, and how they become one."""

from __future__ import annotations

import json
from sys import intern
from typing import Any

from fwctl.state.rows import (
    DeviceRow,
    EventRow,
    OrderRow,
    OutcomeRow,
    RolloutRow,
    SummaryRow,
    WaveRow,
)
from fwctl.state.times import from_text
from fwctl.state.transitions import OrderStatus, RolloutState, WaveState

DEVICE = (
    "SELECT id, running_release, running_image, running_version, running_mandate, state, observed_at, reachable,"
    " tried_at, failure_count, reason, next_due, counter,"
    " unreachable_since, spent, deferred_since FROM devices"
)
ROLLOUT = (
    "SELECT key, mandate, commit_id, state, reason, rule, round, actor, started_at, finished_at, updated_at,"
    " back_since, EXISTS (SELECT 1 FROM taken_back WHERE taken_back.mandate = rollouts.mandate AND keeps) FROM rollouts"
)
ORDER = (
    "SELECT id, device, rollout, mandate, verb, release, attempt, stage, wave, refers_to, status, class, code, reason,"
    " intended_at, sent_at, due_at, finished_at FROM orders"
)
OUTCOME = (
    "SELECT order_id, device, counter, mandate, result, class, code, running_image, envelope, certificate, received_at"
    " FROM outcomes"
)
WAVE = "SELECT rollout, mandate, wave, state, reason, opened_at, soak_since, judged_at FROM waves"
EVENT = "SELECT seq, at, kind, rollout, device, order_id, reason, actor, data, prev, hash FROM events"
SUMMARY = "SELECT rollout, mandate, commit_id, at, valid_until, revision, body FROM summaries"

_STATUS = {str(status): status for status in OrderStatus}


def device(row: tuple[Any, ...]) -> DeviceRow:
    """Build one device; words that thousands of rows share are held once."""
    (
        name,
        release,
        image,
        version,
        mandate,
        state,
        observed,
        reachable,
        tried,
        failures,
        reason,
        due,
        counter,
        away,
        spent,
        deferred,
    ) = row
    return DeviceRow(
        name,
        intern(release),
        intern(image),
        intern(version),
        intern(mandate),
        intern(state),
        from_text(observed),
        bool(reachable),
        from_text(tried),
        failures,
        intern(reason),
        from_text(due),
        counter,
        from_text(away),
        tuple(spent.split()) if spent else (),
        from_text(deferred),
    )


def rollout(row: tuple[Any, ...]) -> RolloutRow:
    """Build a rollout."""
    values = timed(row, (8, 9, 10, 11))
    values[3], values[12] = RolloutState(row[3]), bool(row[12])
    return RolloutRow(*values)


def wave(row: tuple[Any, ...]) -> WaveRow:
    """Build a wave."""
    values = timed(row, (5, 6, 7))
    values[3] = WaveState(row[3])
    return WaveRow(*values)


def summary(row: tuple[Any, ...]) -> SummaryRow:
    """Build a summary."""
    values = timed(row, (3, 4))
    values[6] = json_object(row[6])
    return SummaryRow(*values)


def order(row: tuple[Any, ...]) -> OrderRow:
    """Build one order; words that thousands of rows share are held once."""
    (
        name,
        device,
        rollout,
        mandate,
        verb,
        release,
        attempt,
        stage,
        wave,
        refers_to,
        status,
        failure,
        code,
        reason,
        intended,
        sent,
        due,
        finished,
    ) = row
    return OrderRow(
        name,
        device,
        intern(rollout),
        intern(mandate),
        intern(verb),
        intern(release),
        attempt,
        stage,
        intern(wave),
        refers_to,
        _STATUS[status],
        intern(failure),
        intern(code),
        intern(reason),
        from_text(intended),
        from_text(sent),
        from_text(due),
        from_text(finished),
    )


def outcome(row: tuple[Any, ...]) -> OutcomeRow:
    """Build an outcome."""
    values = timed(row, (10,))
    values[8] = json_object(row[8])
    return OutcomeRow(*values)


def event(row: tuple[Any, ...]) -> EventRow:
    """Build an event."""
    values = timed(row, (1,))
    values[8] = json_object(row[8])
    return EventRow(*values)


def timed(row: tuple[Any, ...], columns: tuple[int, ...]) -> list[Any]:
    """Return the row with the texts of these columns as moments."""
    values = list(row)
    for column in columns:
        values[column] = from_text(row[column])
    return values


def json_object(text: str) -> dict[str, Any]:
    """Return a stored JSON object."""
    value: dict[str, Any] = json.loads(text)
    return value
