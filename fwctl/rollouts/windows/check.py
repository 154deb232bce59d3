"""Checks of windows: is there such a zone, does it ever open, and long enough for a device and for a pass?

They ask no clock, so that a pull request gets the same answer on every day: four years of the calendar stand for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfoNotFoundError

from fwctl.manifests.diagnostic import Diagnostic, Loc, quoted
from fwctl.manifests.models import Regional, RolloutSpec
from fwctl.manifests.models.rollout_parts import Span, Window
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.windows.calendar import AHEAD, DEVICE, Calendar, known_zone
from fwctl.rollouts.windows.recurring import LONGEST, begins_a_day, cron_of, zone_of

_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
_END = _BEGIN + AHEAD
MOST_A_DAY = 144
"""times that the spans of a window may begin on one day, together: four years of them are looked through"""


class Finding(NamedTuple):
    """What is wrong, and where in the manifest."""

    code: str
    message: str
    loc: Loc
    remedy: str = ""


def windows_of(spec: RolloutSpec) -> Iterator[tuple[Loc, str, Window]]:
    """Yield the windows of a rollout with their places, and the region of each; the rollout's own comes first."""
    if spec.window is not None:
        yield ("spec", "window"), "", spec.window
    if isinstance(spec.strategy, Regional):
        for index, step in enumerate(spec.strategy.regions):
            if step.window is not None:
                yield ("spec", "strategy", "regions", index, "window"), step.name, step.window


def check_windows(repo: FleetRepo, rollout: LoadedRollout, plan: Plan) -> Iterator[Diagnostic]:
    """Return what is wrong with the windows of a rollout."""
    interval, timeout = repo.fleet.spec.pass_interval, plan.spec.gates.timeout_per_device
    for code, message, loc, remedy in _check(rollout.model.spec, plan, interval, timeout or 0):
        yield repo.sources.diagnostic(rollout.path, loc, code=code, message=message, remedy=remedy)


def _check(spec: RolloutSpec, plan: Plan, interval: int, timeout: int) -> Iterator[Finding]:
    whole: Window | None = None
    for loc, region, window in windows_of(spec):
        wrong = [one for at, span in _spans(window) for one in _wrong((*loc, *at), span)]
        wrong += _often(loc, window)
        yield from wrong
        if any(one.code.startswith("E_") for one in wrong):
            continue
        whole = window if not region else whole
        both = (window,) if whole is None or window is whole else (whole, window)
        yield from _never(loc, both, plan, region)
        yield from _zones(loc, window, plan, region)
        for index, span in enumerate(window.allow):
            yield from _short((*loc, "allow", index, "duration"), span, interval, timeout)


def _spans(window: Window) -> Iterator[tuple[Loc, Span]]:
    for name, spans in (("allow", window.allow), ("deny", window.deny)):
        for index, span in enumerate(spans):
            yield (name, index), span


def _wrong(loc: Loc, span: Span) -> Iterator[Finding]:
    if not cron_of(span.cron).minutes:
        yield Finding("E_WINDOW_NEVER", f"{quoted(span.cron)} names a day that no month has", (*loc, "cron"))
    if not 0 < span.duration <= LONGEST.total_seconds():
        yield Finding("E_WINDOW_SPAN", "a span lasts longer than nothing, and at most 366 days", (*loc, "duration"))
    if span.time_zone != DEVICE and not _known(span.time_zone):
        message = f"the IANA database has no zone {quoted(span.time_zone)}"
        yield Finding("E_TIME_ZONE", message, (*loc, "timeZone"))


def _often(loc: Loc, window: Window) -> Iterator[Finding]:
    """Refuse what nobody means and what would keep every pass busy with the calendar."""
    number = sum(begins_a_day(span) for _, span in _spans(window))
    if number > MOST_A_DAY:
        message = f"the spans of this window begin {number:,} times on one day; at most {MOST_A_DAY} are allowed"
        yield Finding("E_WINDOW_SPAN", message, loc, "Write fewer and longer spans; those that touch count once.")


def _known(zone: str) -> bool:
    try:
        return zone_of(zone).key == zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _never(loc: Loc, windows: tuple[Window, ...], plan: Plan, region: str) -> Iterator[Finding]:
    calendar = Calendar(*windows)
    zones = sorted({known_zone(zone) for zone in zones_of(plan, region) if zone}) or ["UTC"]
    for zone in zones if calendar.local else ("UTC",):
        if next(calendar.between(_BEGIN, _END, zone), None) is None:
            together = " and never together with that of the rollout" if len(windows) > 1 else ""
            told = f" for devices in {zone}" if calendar.local else ""
            yield Finding("E_WINDOW_NEVER", f"the window never opens{together}{told}", loc)
            return


def _zones(loc: Loc, window: Window, plan: Plan, region: str) -> Iterator[Finding]:
    if not Calendar(window).local:
        return
    zones = zones_of(plan, region)
    none = sum(number for zone, number in zones.items() if not zone)
    if none:
        message = f"{none:,} of {zones.total():,} devices have no time zone: this window is in UTC for them"
        yield Finding("W_WINDOW_ZONE", message, loc, "Give them a `timeZone` in the inventory.")
    odd = sorted(zone for zone in zones if zone and not _known(zone))
    if odd:
        number = sum(zones[zone] for zone in odd)
        message = f"{number:,} devices are in zones that the IANA database does not have ({', '.join(odd[:3])}): UTC"
        yield Finding("W_WINDOW_ZONE", message, loc, "Correct `timeZone` in the inventory.")


def zones_of(plan: Plan, region: str = "") -> Counter[str]:
    """Count the devices of a plan, or of one of its regions, by zone; those without one under an empty text."""
    if not region:
        return Counter(plan.zones)
    profiles = (plan.profile(device) for wave in plan.all_waves if wave.region == region for device in wave.devices)
    return Counter((profile.time_zone or "") if profile is not None else "" for profile in profiles)


def _short(loc: Loc, span: Span, interval: int, timeout: int) -> Iterator[Finding]:
    if span.duration < interval:
        message = f"shorter than the pass interval ({timedelta(seconds=interval)}): a pass may miss it"
        yield Finding("W_WINDOW_SHORT", message, loc, "Make it longer, or run `fwctl reconcile --watch`.")
    elif span.duration < timeout:
        message = f"shorter than `timeoutPerDevice` ({timedelta(seconds=timeout)}): who starts late ends outside it"
        yield Finding("W_WINDOW_SHORT", message, loc, "Make it longer, or shorten `timeoutPerDevice`.")
