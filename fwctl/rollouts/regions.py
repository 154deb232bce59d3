"""What there is to say of a region beside its waves: whether its window is open, and until when."""

from __future__ import annotations

from datetime import datetime

from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.windows.calendar import calendar, local


def window_words(plan: Plan, wave: Wave, now: datetime) -> str:
    """Return what to say of the window of a wave; empty if it may start at any time."""
    found = calendar(plan, wave)
    if found is None:
        return ""
    if found.local:
        return "window in the zone of each device"
    phase = found.phase(now)
    if phase.until is None:
        return "" if phase.is_open else "window never opens"
    return f"window {'open until' if phase.is_open else 'opens'} {local(phase.until, found.home)}"
