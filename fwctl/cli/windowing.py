"""The work behind `windows`: when the devices of each rollout may start, from the manifests alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fwctl.cli.context import Context
from fwctl.cli.planning import find_rollouts
from fwctl.errors import UsageError
from fwctl.manifests.models import Regional
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.manifests.targets import target_ids
from fwctl.reconcile.commit import load_repo
from fwctl.rollouts.windows.calendar import UNKNOWN, Calendar, calendar_of, known_zone
from fwctl.rollouts.windows.recurring import Interval

ZONES = 10
"""zones of devices that are told by themselves"""


@dataclass(frozen=True)
class Opening:
    """When devices of one zone may start in one region of a rollout."""

    rollout: str
    region: str
    """empty: no region in particular"""
    judged: str
    """the zone of the devices; empty where it does not matter"""
    devices: int
    zone: str
    """the zone that its times are told in"""
    is_open: bool
    until: datetime | None
    """the next change; None if there is none within four years"""
    spans: tuple[Interval, ...]


@dataclass(frozen=True)
class Windows:
    """The windows of some rollouts."""

    now: datetime
    rollouts: tuple[str, ...]
    """all that were asked about"""
    openings: tuple[Opening, ...]
    zones_left: int = 0
    """zones of devices that are not told"""

    @property
    def without(self) -> tuple[str, ...]:
        """Rollouts that have no window."""
        known = {one.rollout for one in self.openings}
        return tuple(key for key in self.rollouts if key not in known)


def find_windows(settings: Context, name: str, *, count: int, zone: str) -> Windows:
    """Return when the devices of a rollout, or of all, may start; `zone` is that of people who look, or empty.

    Raises:
        ManifestErrors: the manifests do not validate.
        InputError: `E_NO_ROLLOUT`.
        UsageError: there is no such zone.
    """
    if zone and known_zone(zone) != zone:
        raise UsageError(
            f"the IANA database has no zone {zone[:40]!r}",
            code="E_USAGE",
            place="--zone",
            remedy="One such as Europe/Berlin, or UTC.",
        )
    repo, now = load_repo(settings.files()), settings.now()
    rollouts = find_rollouts(repo, name) if name or repo.rollouts else ()
    found = [one for rollout in rollouts for one in openings(repo, rollout, now, count=count, zone=zone)]
    left = sum(max(0, len(_zones(repo, rollout, "")) - ZONES) for rollout in rollouts if _local(rollout) and not zone)
    return Windows(now, tuple(rollout.key for rollout in rollouts), tuple(found), left)


def openings(repo: FleetRepo, rollout: LoadedRollout, now: datetime, *, count: int, zone: str) -> Iterator[Opening]:
    """Yield when the devices of a rollout may start, by region, and by zone where it depends on that."""
    for region, calendar in calendars(rollout):
        zones: Sequence[tuple[str, int]] = (("", 0),)
        if calendar.local:
            known = _zones(repo, rollout, region)
            zones = [(zone, known[zone])] if zone else (known.most_common(ZONES) or [(UNKNOWN, 0)])
        for judged, devices in zones:
            phase = calendar.phase(now, judged or UNKNOWN)
            shown = zone or judged or calendar.home
            spans = tuple(calendar.spans(now, judged or UNKNOWN, count))
            yield Opening(rollout.key, region, judged, devices, known_zone(shown), phase.is_open, phase.until, spans)


def calendars(rollout: LoadedRollout) -> Iterator[tuple[str, Calendar]]:
    """Yield the windows of a rollout: one for all, or one for each region."""
    spec = rollout.model.spec
    steps = [(step.name, step.window) for step in spec.strategy.regions] if isinstance(spec.strategy, Regional) else []
    for region, window in steps if any(window for _, window in steps) else [("", None)]:
        calendar = calendar_of(spec.window, window)
        if calendar is not None:
            yield region, calendar


def _local(rollout: LoadedRollout) -> bool:
    return any(calendar.local for _, calendar in calendars(rollout))


def _zones(repo: FleetRepo, rollout: LoadedRollout, region: str) -> Counter[str]:
    profiles = (repo.devices.profile(device) for device in target_ids(repo, rollout))
    return Counter(known_zone(one.time_zone or UNKNOWN) for one in profiles if not region or one.region == region)
