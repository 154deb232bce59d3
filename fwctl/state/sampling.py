"""Write a sample of what a device reports; kept only for rollouts that compare with a control group."""

from __future__ import annotations

import sqlite3

from fwctl.state.changes import SampleTaken
from fwctl.state.events import to_json


def sample_taken(conn: sqlite3.Connection, change: SampleTaken) -> None:
    """Keep the first sample of a device in a phase of a wave."""
    values = (change.mandate, change.wave, change.phase, change.device, to_json(change.metrics))
    conn.execute("INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?)", values)
