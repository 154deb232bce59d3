"""Write changes of waves, quarantine and readiness. Runs inside a transaction that the ledger opened."""

from __future__ import annotations

import sqlite3

from fwctl.state.changes import DeviceDeferred, Quarantined, QuarantineReleased, WaveMoved
from fwctl.state.events import Chain
from fwctl.state.times import to_text
from fwctl.state.transitions import WaveState, check_wave

_KEY = "rollout = ? AND mandate = ? AND wave = ?"


def wave_moved(conn: sqlite3.Connection, chain: Chain, change: WaveMoved) -> None:
    """Move a wave; the start of its soak is kept (R14)."""
    at, key = to_text(change.at), (change.rollout, change.mandate, change.wave)
    old = conn.execute(f"SELECT state, opened_at, soak_since, judged_at FROM waves WHERE {_KEY}", key).fetchone()  # noqa: S608
    if old is not None:
        check_wave(change.wave, WaveState(old[0]), change.state)
        if old[0] == change.state:
            conn.execute(f"UPDATE waves SET reason = ? WHERE {_KEY}", (change.reason, *key))  # noqa: S608
            return
    opened, soak, judged = old[1:] if old is not None else (at, None, None)
    if change.state is WaveState.SOAKING:
        soak = at
    if change.state in (WaveState.PASSED, WaveState.FAILED):
        judged = at
    conn.execute(
        "INSERT OR REPLACE INTO waves VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*key, str(change.state), change.reason, opened, soak, judged),
    )
    data = {"wave": change.wave, "mandate": change.mandate}
    chain.append(f"wave.{change.state}", at=at, reason=change.reason, rollout=change.rollout, data=data)


def quarantined(conn: sqlite3.Connection, chain: Chain, change: Quarantined) -> None:
    """Put a device into quarantine; the first reason stays."""
    at = to_text(change.at)
    new = conn.execute(
        "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (change.device, change.reason, change.rollout, change.actor, at),
    ).rowcount
    if new:
        reason, actor = change.reason, change.actor
        where = {"device": change.device, "rollout": change.rollout}
        chain.append("device.quarantined", at=at, reason=reason, actor=actor, data={}, **where)


def released(conn: sqlite3.Connection, chain: Chain, change: QuarantineReleased) -> None:
    """Let a device out of quarantine; the moment is kept, because what it did before counts no more."""
    if conn.execute("DELETE FROM quarantine WHERE device = ?", (change.device,)).rowcount:
        conn.execute("INSERT OR REPLACE INTO releases VALUES (?, ?)", (change.device, to_text(change.at)))
        reason, actor = change.reason, change.actor
        chain.append(
            "device.released", at=to_text(change.at), reason=reason, actor=actor, device=change.device, data={}
        )


def deferred(conn: sqlite3.Connection, chain: Chain, change: DeviceDeferred) -> None:
    """Note that a device is not ready; since when is kept until it takes an order."""
    at = to_text(change.at)
    old = conn.execute("SELECT deferred_since FROM devices WHERE id = ?", (change.device,)).fetchone()
    conn.execute(
        "UPDATE devices SET deferred_since = coalesce(deferred_since, ?), reason = ?, next_due = ? WHERE id = ?",
        (at, change.reason, to_text(change.next_due), change.device),
    )
    if old is not None and old[0] is None:
        chain.append("device.deferred", at=at, reason=change.reason, device=change.device, data={})


def ready(conn: sqlite3.Connection, device: str) -> None:
    """A device that takes an order is ready."""
    conn.execute("UPDATE devices SET deferred_since = NULL WHERE id = ? AND deferred_since IS NOT NULL", (device,))
