"""Checks of limits: one that lets nobody start, one that contradicts another, one that takes for weeks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from fwctl.manifests.diagnostic import Loc
from fwctl.manifests.models.rollout_parts import Disruption, Limits
from fwctl.rollouts.limits.places import NOWHERE, Places, share_of
from fwctl.rollouts.limits.rates import rate_after
from fwctl.rollouts.plan import Plan

LONG: Final = timedelta(days=30)
_AT: Final[Loc] = ("spec", "limits")
Finding = tuple[str, str, Loc, str]
"""code, message, place, remedy"""


def check_limits(plan: Plan) -> Iterator[Finding]:
    """Return what is wrong with the limits of a plan; that they are slow is a warning."""
    limits = plan.limits
    if limits.disruption is not None:
        yield from _places(plan, limits.disruption)
    if limits.bytes_per_minute_per_site == 0:
        words = "no image ever goes to a site with an allowance of 0 bytes"
        yield "E_LIMIT_IMPOSSIBLE", words, (*_AT, "bytesPerMinutePerSite"), "Give sites an allowance."
    ramp = limits.ramp
    if ramp is not None and ramp.base_per_minute > limits.max_per_minute:
        words = f"the ramp begins at {ramp.base_per_minute} per minute, above `maxPerMinute` {limits.max_per_minute}"
        yield "E_LIMIT_IMPOSSIBLE", words, (*_AT, "ramp", "basePerMinute"), "Begin below `maxPerMinute`."
    window = plan.spec.window
    spans = [span.duration for span in window.allow] if window else []
    if limits.jitter and spans and limits.jitter >= max(spans):
        words = f"`jitter` {_long(limits.jitter)} is as long as the window is open: some start only when it opens again"
        yield "W_LIMIT_JITTER", words, (*_AT, "jitter"), "Make `jitter` shorter than the window is open."
    yield from _duration(plan, limits)


def _places(plan: Plan, limit: Disruption) -> Iterator[Finding]:
    at: Loc = (*_AT, "disruption")
    places = Places(limit.group_by, plan.profile)
    dropped = frozenset(plan.dropped)
    sizes = Counter(places.of(device) for wave in plan.all_waves for device in wave.devices if device not in dropped)
    most = limit.max_unavailable
    none = [(size, places.names[place]) for place, size in sizes.items() if not share_of(most, size)]
    if none:
        size, name = min(none)
        more = f", and in {len(none) - 1} more places" if len(none) > 1 else ""
        words = f"{most} of the {size} devices of {name} is nobody: none of them could ever start{more}"
        remedy = "Use a number, such as `1`, or a larger share; shares round down."
        yield "E_LIMIT_IMPOSSIBLE", words, (*at, "maxUnavailable"), remedy
    lacking = {places.names[place]: size for place, size in sizes.items() if places.names[place].startswith(NOWHERE)}
    if lacking:
        name, size = max(lacking.items(), key=lambda one: one[1])
        words = f"{sum(lacking.values()):,} devices have {name}: they count as one place"
        yield "W_LIMIT_PLACE", words, (*at, "groupBy"), "Give them the label in the inventory."


def _duration(plan: Plan, limits: Limits) -> Iterator[Finding]:
    """Warn of a rollout that lasts longer than a month by its rate, or by its busiest site."""
    members = [device for wave in plan.all_waves for device in wave.devices]
    spans = {"maxPerMinute": _by_rate(limits, len(members))}
    allowed = limits.bytes_per_minute_per_site
    if allowed:
        sites = Places(("site",), plan.profile)
        busiest = max(Counter(map(sites.of, members)).values(), default=0)
        length = plan.release.length
        each = 60 / max(1, allowed // length) if length and length <= allowed else 60 * length / allowed
        spans["bytesPerMinutePerSite"] = each * busiest
    for name, seconds in spans.items():
        if seconds > LONG.total_seconds():
            words = f"with this limit the rollout takes at least {_long(seconds)}"
            yield "W_LIMIT_SLOW", words, (*_AT, name), "Raise the limit, or expect to approve it again on the way."


def _by_rate(limits: Limits, devices: int) -> float:
    """Return the seconds that the rate alone takes, if every device that was started is reached."""
    ramp = limits.ramp
    if ramp is None:
        return 60 * devices / limits.max_per_minute
    every = ramp.increase_every.reached or ramp.increase_every.started or 1
    left, done, seconds = devices, 0, 0.0
    while left > 0:
        rate = rate_after(ramp, limits.max_per_minute, started=done, reached=done)
        step = left if rate >= limits.max_per_minute else min(left, every)
        seconds, left, done = seconds + 60 * step / rate, left - step, done + step
    return seconds


def _long(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400 else str(timedelta(seconds=round(seconds)))
