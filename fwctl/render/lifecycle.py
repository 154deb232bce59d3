"""The life cycle of firmware as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fwctl.render.words import columns, counted, document

if TYPE_CHECKING:
    from fwctl.cli.promoting import Moved
    from fwctl.cli.sunset import Ending, Report

_SHOWN = 20


def moved_text(moved: Moved) -> str:
    """Return what a step of the life cycle changed."""
    users = ", ".join(moved.rollouts) or "no rollout"
    return f"Firmware {moved.name}: {moved.old} -> {moved.new}\n  wrote    {moved.path}\n  used by  {users}"


def sunset_text(report: Report) -> str:
    """Return who still runs firmware that ends."""
    if not report.endings:
        return "No firmware is deprecated, sunset or withdrawn."
    lines: list[str] = []
    for one in report.endings:
        lines += [f"{one.name}: {one.words}{_left(one)}: {counted(len(one.devices), 'device')}"]
        rows = [(d.device, d.site or "no site", ", ".join(d.groups) or "in no group") for d in one.devices[:_SHOWN]]
        lines += columns(rows, indent="  ") if rows else []
        more = len(one.devices) - _SHOWN
        lines += [f"  ... and {more} more (--format json lists all)"] if more > 0 else []
    seen = "no ledger is here, so what devices run is not known"
    if report.seen is not None:
        seen = f"of {counted(report.seen, 'device')} that the ledger has seen"
    return "\n".join([*lines, "", f"{counted(report.devices, 'device')} to move; {seen}."])


def _left(one: Ending) -> str:
    if one.days_left is None or one.state != "deprecated":
        return ""
    return f", {counted(one.days_left, 'day')} left"


def sunset_json(report: Report) -> str:
    """Return the report for programs; all devices are listed."""
    return document(
        {
            "seen": report.seen,
            "firmware": [
                {
                    "firmware": one.name,
                    "state": one.state,
                    "sunset": one.sunset or None,
                    "daysLeft": one.days_left,
                    "reason": one.reason,
                    "successor": one.successor or None,
                    "devices": [
                        {"device": d.device, "site": d.site or None, "groups": list(d.groups)} for d in one.devices
                    ],
                }
                for one in report.endings
            ],
        }
    )


SUNSET: Mapping[str, Callable[[Report], str]] = {"text": sunset_text, "json": sunset_json}
