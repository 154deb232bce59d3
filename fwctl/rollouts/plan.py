"""The intermediate form: waves of devices, the same for every strategy, and its digest."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from fwctl.manifests.models import RolloutSpec, plain
from fwctl.manifests.models.rollout_parts import Limits, Retry, Window
from fwctl.manifests.table import Profile
from fwctl.rollouts.limits.places import place_name
from fwctl.rollouts.paths.along import Paths
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Leaf, Lock
from fwctl_agent.protocol.statements import Release

LATE = "late"
"""name and track of the wave of late joiners, which goes after all others"""


def _unknown(_device: str) -> Profile | None:
    return None


@dataclass(frozen=True)
class Wave:
    """Devices that go together. `stage` is the human approval that they need; gates and soak follow them."""

    name: str
    stage: int
    devices: tuple[str, ...]
    soak: int
    """seconds"""
    activation: Literal["now", "hold"] = "now"
    max_unavailable: int | None = None
    """how many of its devices may be in flight at once, below the rollout's own limit"""
    region: str = ""
    """of a Regional rollout"""
    track: str = ""
    """waves of one track go one after another; tracks go side by side"""
    window: Window | None = None
    """when its devices may start, beside the rollout's own window; follows from the spec"""

    def to_json(self) -> dict[str, Any]:
        later = {"region": self.region, "track": self.track}
        return {name: value for name, value in later.items() if value} | {
            "name": self.name,
            "stage": self.stage,
            "devices": list(self.devices),
            "soak": self.soak,
            "activation": self.activation,
            "maxUnavailable": self.max_unavailable,
        }


@dataclass(frozen=True)
class Plan:
    """What one commit means for one rollout. `members` are approved; who has left or came later stands beside them."""

    repo_id: str
    env: str
    name: str
    release: Release
    spec: RolloutSpec
    """with all defaults filled in"""
    waves: tuple[Wave, ...]
    dropped: tuple[str, ...] = ()
    """in the lock, but no longer targeted: they stay as they are"""
    not_covered: tuple[str, ...] = ()
    """targeted, but not in the lock: they need a new lock and approval"""
    confirm_within: int = 0
    """seconds after which a device goes back unless it is confirmed; the fleet's, so not in the digest"""
    stops: tuple[Release, ...] = ()
    """releases that some devices must run on their way to `release`, oldest first"""
    barriers: frozenset[str] = frozenset()
    """digests of those that no device may jump over"""
    family: tuple[Release, ...] = field(default=(), compare=False, repr=False)
    """all releases of the model that git knows, for what the way back must know; not in the digest"""
    late: tuple[Wave, ...] = ()
    """one wave of devices that match only since the approval, or none; not in the digest, not in the lock"""
    profile: Callable[[str], Profile | None] = field(default=_unknown, compare=False, repr=False)
    """site, zone and labels of a device, as the inventory has them today; None if it has left the fleet"""

    @property
    def key(self) -> str:
        return f"{self.env}/{self.name}"

    @cached_property
    def members(self) -> tuple[str, ...]:
        return tuple(device for wave in self.waves for device in wave.devices)

    @cached_property
    def chain(self) -> tuple[str, ...]:
        """The releases on the way to the target, oldest first; the target is the last."""
        return (*(stop.digest for stop in self.stops), self.release.digest)

    @cached_property
    def paths(self) -> Paths:
        """What each device gets of the chain."""
        return Paths((*self.stops, self.release), self.barriers)

    @cached_property
    def digest(self) -> str:
        """The plan digest of CONTRACTS: independent of commit, clock, rendering, and of who drops out later."""
        return digest_of_plan(self)

    @cached_property
    def wave_of(self) -> Mapping[str, Wave]:
        return {device: wave for wave in self.all_waves for device in wave.devices}

    @cached_property
    def all_waves(self) -> tuple[Wave, ...]:
        """The approved waves, and the one of late joiners."""
        return (*self.waves, *self.late)

    @cached_property
    def zones(self) -> Mapping[str, int]:
        """How many devices are in each time zone; those without one under an empty text."""
        profiles = (self.profile(device) for wave in self.all_waves for device in wave.devices)
        return Counter((profile.time_zone or "") if profile is not None else "" for profile in profiles)

    @cached_property
    def tracks(self) -> Mapping[str, Sequence[Wave]]:
        """The waves that go one after another, by track."""
        found: dict[str, list[Wave]] = {}
        for wave in self.all_waves:
            found.setdefault(wave.track, []).append(wave)
        return found

    @cached_property
    def by_place(self) -> Mapping[str, Sequence[str]]:
        """The devices of each place that the disruption budget speaks of."""
        budget, found = self.limits.disruption, dict[str, list[str]]()
        for device in self.wave_of if budget is not None else ():
            found.setdefault(place_name(budget.group_by, self.profile(device)) if budget else "", []).append(device)
        return found

    @property
    def retry(self) -> Retry:
        return self.spec.retry or Retry()

    @property
    def limits(self) -> Limits:
        return self.spec.limits or Limits()

    def to_json(self) -> dict[str, Any]:
        """Return exactly what the digest is taken over."""
        barriers = {"barriers": sorted(self.barriers)} if self.barriers else {}
        return barriers | {
            "schema": 1,
            "repoId": self.repo_id,
            "env": self.env,
            "name": self.name,
            "spec": plain(self.spec),
            "chain": list(self.chain),
            "waves": [wave.to_json() for wave in self.waves],
        }

    def lock(self) -> Lock:
        """Return the lock that holds this plan's membership."""
        rest = {wave.stage: str(Leaf("", wave.stage, self.chain)) for wave in self.waves}
        return Lock.of_lines([device + rest[wave.stage] for wave in self.waves for device in wave.devices])


def digest_of_plan(plan: Plan) -> str:
    """Return `canonical.digest_of(plan.to_json())`, without a value and a call for each device.

    Canonical JSON sorts keys: `waves` is the last of a plan, and `devices` follows the literal `activation` in a wave.
    """
    whole = canonical.encode(replace(plan, waves=()).to_json())
    hasher = hashlib.sha256(whole.removesuffix(_NO_WAVES))
    comma = b'"waves":['
    for wave in plan.waves:
        before, empty, after = canonical.encode(replace(wave, devices=()).to_json()).partition(_NO_DEVICES)
        hasher.update(comma + before + empty[:-1] + _strings(wave.devices) + b"]" + after)
        comma = b","
    hasher.update(_NO_WAVES if not plan.waves else b"]}")
    return "sha256:" + hasher.hexdigest()


_NO_WAVES = b'"waves":[]}'
_NO_DEVICES = b'"devices":[]'


def _strings(ids: tuple[str, ...]) -> bytes:
    """Return ids as the inside of a canonical JSON list."""
    if not _PLAIN.fullmatch("".join(ids)):
        return canonical.encode(list(ids))[1:-1]
    return b'"' + '","'.join(ids).encode() + b'"'


_PLAIN = re.compile("[a-z0-9-]+")
