"""Where a device is on its path: what it gets next, what is told of it, and that no legal path leads to the target."""

from __future__ import annotations

from fwctl.rollouts.paths.along import Path
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView
from fwctl_agent.protocol.statements import Release
from fwctl_agent.protocol.versions import version_key

NO_PATH = "no_path"
"""the rule that holds a device to whose target nothing leads from what it runs"""


def path_of(plan: Plan, device: DeviceView) -> Path | None:
    """Return what a device gets from what it runs now, the target last; None if no legal path leads there.

    A device that has not said what it runs is expected to go directly, until it has.
    """
    if not device.version or plan.paths.direct:
        return (plan.release,)
    profile = plan.profile(device.id)
    return plan.paths.of(device.version, profile.hardware if profile else "")


def next_release(plan: Plan, device: DeviceView) -> Release:
    """Return what a device is ordered next; the target for one that has no path, which is never asked for."""
    path = path_of(plan, device)
    return path[0] if path else plan.release


def on_the_way(plan: Plan, device: DeviceView) -> bool:
    """Say whether a device runs the stop that it was ordered last, and the target is still to come."""
    at = device.ordered
    return at is not None and at == device.running and at != plan.release.digest and plan.paths.stop(at) is not None


def no_path(plan: Plan, device: DeviceView) -> str:
    """Return why nothing leads a device to the target; empty if something does."""
    if path_of(plan, device) is not None:
        return ""
    over = [stop.version for stop in plan.stops]
    known = f"the stops are {', '.join(over)}" if over else "it has no stops"
    return (
        f"no legal path leads from {device.version} to {plan.release.version}: {known}; "
        "register a released firmware that bridges it, or exclude the device"
    )


def step_words(plan: Plan, device: DeviceView) -> str:
    """Return where a device is on a path of more than one release; empty for one that goes directly."""
    if not device.version:
        return ""
    path = path_of(plan, device)
    stops = (plan.paths.stop(digest) for digest in device.passed if digest != plan.release.digest)
    done = sum(1 for stop in stops if stop and version_key(stop.version) <= version_key(device.version))
    if path is None or done + len(path) < 2:
        return ""
    return f"{done + 1} of {done + len(path)}: runs {device.version}, next {path[0].version}"


def order_words(plan: Plan, device: DeviceView) -> str:
    """Return where an order that is under way leads, if not to the target."""
    stop = plan.paths.stop(device.ordered) if device.ordered and device.ordered != plan.release.digest else None
    return f" to {stop.version}, a stop on the way to {plan.release.version}" if stop else ""
