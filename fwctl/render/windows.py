"""Windows as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fwctl.render.words import columns, counted, document, stamp
from fwctl.rollouts.windows.calendar import local
from fwctl.rollouts.windows.recurring import Interval

if TYPE_CHECKING:
    from fwctl.cli.windowing import Opening, Windows

_WEEK = timedelta(days=6)


def text(found: Windows) -> str:
    """Return when devices may start: one paragraph for each rollout, region and zone."""
    if not found.rollouts:
        return "No rollout is declared yet."
    parts = ["\n".join(_opening(one, found.now)) for one in found.openings]
    if found.zones_left:
        parts.append(f"Devices of {counted(found.zones_left, 'other zone')} are not shown: --zone ZONE shows one.")
    if found.without:
        parts.append(f"Without a window, devices may start at any time: {', '.join(found.without)}.")
    return "\n\n".join(parts)


def _opening(one: Opening, now: datetime) -> list[str]:
    if one.until is None:
        return [_title(one), "  open, always" if one.is_open else "  closed, does not open within four years"]
    word = "open until" if one.is_open else "closed, opens"
    state = f"  {word} {local(one.until, one.zone)} (in {length(one.until - now)})"
    rows = [("FROM", "TO", "LASTS", "IN UTC")]
    rows += [_row(span, one, first=not number, now=now) for number, span in enumerate(one.spans)]
    return [_title(one), state, *columns(rows, indent="  ")]


def _title(one: Opening) -> str:
    region = f" in {one.region}" if one.region else ""
    if not one.judged:
        return f"{one.rollout}{region}"
    return f"{one.rollout}{region}, {counted(one.devices, 'device')} in {one.judged}"


def _row(span: Interval, one: Opening, *, first: bool, now: datetime) -> tuple[str, str, str, str]:
    begun = first and one.is_open
    end = local(span.end, one.zone)
    short = end if span.end - span.begin >= _WEEK else end[:4] + end[15:]
    begin = "now" if begun else local(span.begin, one.zone)
    return begin, short, length(span.end - (now if begun else span.begin)), f"{span.begin:%m-%d %H:%MZ}"


def length(time: timedelta) -> str:
    """Return a length of time in its two largest units: `5 h 20 min`."""
    seconds, told = int(time.total_seconds()), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            told.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(told[:2]) or f"{seconds} s"


def as_json(found: Windows) -> str:
    """Return all of it for programs."""
    return document(
        {
            "at": stamp(found.now),
            "windows": [_json(one) for one in found.openings],
            "withoutWindow": list(found.without),
        }
    )


def _json(one: Opening) -> Mapping[str, Any]:
    return {
        "rollout": one.rollout,
        "region": one.region or None,
        "deviceTimeZone": one.judged or None,
        "devices": one.devices if one.judged else None,
        "timeZone": one.zone,
        "open": one.is_open,
        "until": stamp(one.until),
        "next": [{"from": stamp(span.begin), "to": stamp(span.end)} for span in one.spans],
    }


RENDERERS: Mapping[str, Callable[[Windows], str]] = {"text": text, "json": as_json}


def next_commands(found: Windows) -> tuple[str, ...]:
    """Return what to type next."""
    if not found.rollouts:
        return ("fwctl rollout create",)
    return (f"fwctl status {found.rollouts[0]}",) if len(found.rollouts) == 1 else ("fwctl status",)
