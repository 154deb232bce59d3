"""Events as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fwctl.render.words import columns, document, stamp

if TYPE_CHECKING:
    from fwctl.cli.history import History
    from fwctl.state import EventRow


def text(history: History) -> str:
    """Return a line per event: number, time, what, about whom, why."""
    if not history.events:
        return "No events."
    rows = [(str(e.seq), f"{e.at:%Y-%m-%d %H:%M:%S}Z", e.kind, _about(e), _why(e)) for e in history.events]
    return "\n".join(line.rstrip() for line in columns(rows))


def _about(event: EventRow) -> str:
    """A wave is named by its event's data, not by a column of its own."""
    wave = str(event.data.get("wave", "")) if event.kind.startswith("wave.") else ""
    return " ".join(filter(None, (event.rollout, wave, event.device)))


def _why(event: EventRow) -> str:
    """A remembered value has no reason of its own: what it became says it."""
    return event.reason or " ".join(str(event.data[name]) for name in ("key", "new") if name in event.data)


def as_json(history: History) -> str:
    """Return the events with their hashes."""
    broken = history.broken
    return document(
        {
            "events": [
                {
                    "seq": e.seq,
                    "at": stamp(e.at),
                    "kind": e.kind,
                    "rollout": e.rollout or None,
                    "device": e.device or None,
                    "order": e.order or None,
                    "reason": e.reason,
                    "actor": e.actor,
                    "data": e.data,
                    "prev": e.prev,
                    "hash": e.hash,
                }
                for e in history.events
            ],
            "earlier": history.earlier,
            "verified": history.verified,
            "broken": {"seq": broken.seq, "why": broken.why} if broken else None,
        }
    )


RENDERERS: Mapping[str, Callable[[History], str]] = {"text": text, "json": as_json}
