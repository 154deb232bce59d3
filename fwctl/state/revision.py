"""The revision: one number that rises whenever something changes that a decision could see."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping


def settle_revision(
    conn: sqlite3.Connection, touched: Collection[int], summaries: Mapping[str, tuple[int, int | None]]
) -> None:
    """Raise the revision if some group of the transaction touched anything, and stamp the summaries it stored.

    `summaries` gives, per rollout, the group that stored it and the revision it was made from. What its own group
    changed is known to a summary; what any other group changed makes it old at once, which only costs a new pass.
    """
    if not touched and not summaries:
        return
    begin = int(conn.execute("SELECT value FROM revision").fetchone()[0])
    if touched:
        conn.execute("UPDATE revision SET value = ?", (begin + 1,))
    for rollout, (group, made_from) in summaries.items():
        revision = begin if made_from is None else made_from
        if revision == begin and set(touched) == {group}:
            revision = begin + 1
        conn.execute("UPDATE summaries SET revision = ? WHERE rollout = ?", (revision, rollout))
