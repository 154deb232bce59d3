"""Times as the ledger stores them: UTC text in whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import overload

from fwctl_agent.protocol.fields import format_time


def to_text(moment: datetime) -> str:
    """Return an aware moment as `2026-01-02T03:04:05Z`. Raises ValueError for a naive one: its zone is a guess."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be recorded")
    if moment.tzinfo is UTC:
        return moment.isoformat(timespec="seconds")[:19] + "Z"
    return format_time(moment)


def to_text_or_none(moment: datetime | None) -> str | None:
    """Return the moment as text, None for None."""
    return None if moment is None else to_text(moment)


@overload
def from_text(text: str) -> datetime: ...


@overload
def from_text(text: str | None) -> datetime | None: ...


def from_text(text: str | None) -> datetime | None:
    """Return the aware moment of a stored text, None for none."""
    if not text:
        return None
    # the same few moments stand in thousands of rows
    return _parsed(text)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)
