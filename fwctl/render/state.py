"""The ledger's size and what a prune removes, as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fwctl.render.words import ago, columns, counted, document, stamp

if TYPE_CHECKING:
    from datetime import datetime

    from fwctl.cli.keeping import Pruned, Wish
    from fwctl.state import LedgerSize
    from fwctl.state.prune import Amount


def size_text(size: LedgerSize, now: datetime) -> str:
    """Return what the ledger holds, one thing a line."""
    oldest = f"the oldest {ago(size.first_event, now)}" if size.first_event else ""
    rows = [
        ("devices", f"{size.devices:,}"),
        ("orders", f"{size.orders:,}"),
        ("outcomes", f"{size.outcomes:,}"),
        ("events", f"{size.events:,}", oldest),
        ("pruned", f"{size.pruned_through:,}", "events before these"),
        ("file", _bytes(size.file), f"{_bytes(size.free)} of it free"),
        ("log", _bytes(size.log), "folded into the file as it goes"),
    ]
    return "\n".join(line.rstrip() for line in columns([row if len(row) == 3 else (*row, "") for row in rows]))


def size_json(size: LedgerSize, _now: datetime) -> str:
    """Return the same for programs; bytes and numbers of rows."""
    return document(
        {
            "bytes": {"file": size.file, "free": size.free, "log": size.log},
            "rows": {"devices": size.devices, "orders": size.orders, "outcomes": size.outcomes, "events": size.events},
            "oldestEvent": stamp(size.first_event),
            "prunedThrough": size.pruned_through,
        }
    )


SIZE: Mapping[str, Callable[[LedgerSize, datetime], str]] = {"text": size_text, "json": size_json}


def meaning(wish: Wish) -> str:
    """Return what will go, before anything is done."""
    return f"To be removed, because it is older than {wish.older_than} and nothing needs it: {_rows(wish.amount)}."


def prune_text(wish: Wish, done: Pruned | None) -> str:
    """Return what went, or would go."""
    if done is None:
        return meaning(wish) if wish.amount.total else f"Nothing older than {wish.older_than} can go."
    freed = f"The ledger takes {_bytes(done.after.file)}; before it was {_bytes(done.before.file)}."
    return f"Removed {_rows(done.amount)}. {freed}"


def prune_json(wish: Wish, done: Pruned | None) -> str:
    """Return the same for programs."""
    amount = done.amount if done else wish.amount
    return document(
        {
            "before": stamp(wish.rule.before),
            "keep": wish.rule.keep,
            "removed": done is not None,
            "rows": {"orders": amount.orders, "outcomes": amount.outcomes, "events": amount.events},
            "bytes": {"before": done.before.file, "after": done.after.file} if done else None,
        }
    )


PRUNE: Mapping[str, Callable[[Wish, Pruned | None], str]] = {"text": prune_text, "json": prune_json}


def _rows(amount: Amount) -> str:
    return ", ".join(
        counted(number, noun)
        for number, noun in ((amount.orders, "order"), (amount.outcomes, "outcome"), (amount.events, "event"))
    )


def _bytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"
