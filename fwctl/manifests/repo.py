"""What git says, read and checked: the values that the rest of fwctl works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fwctl.manifests.devices import Device, Devices, Mask, Origin
from fwctl.manifests.diagnostic import Diagnostic
from fwctl.manifests.models import DeviceGroup, Firmware, Fleet, Rollout, RolloutControl, RolloutPolicy
from fwctl.manifests.models.devices import GroupSpec
from fwctl.manifests.models.policy import PolicySpec
from fwctl.manifests.sources import Source, Sources

__all__ = [
    "Contents",
    "Device",
    "FleetRepo",
    "Loaded",
    "LoadedControl",
    "LoadedFirmware",
    "LoadedGroup",
    "LoadedPolicy",
    "LoadedRollout",
    "Origin",
]


@dataclass(frozen=True)
class LoadedGroup:
    """A group, and where it stands."""

    path: str
    model: DeviceGroup

    @property
    def name(self) -> str:
        """The group's name."""
        return self.model.metadata.name

    @property
    def spec(self) -> GroupSpec:
        """Who belongs to it."""
        return self.model.spec


@dataclass(frozen=True)
class LoadedFirmware:
    """A firmware manifest, and where it stands."""

    path: str
    raw: bytes
    model: Firmware


@dataclass(frozen=True)
class LoadedRollout:
    """A rollout manifest with the exact bytes that approvals are about."""

    path: str
    raw: bytes
    model: Rollout
    env: str
    name: str
    source: Source

    @property
    def key(self) -> str:
        """`env/name`."""
        return f"{self.env}/{self.name}"


@dataclass(frozen=True)
class LoadedControl:
    """What a person decided about the rollout `key`, and where it stands."""

    path: str
    key: str
    model: RolloutControl


@dataclass(frozen=True)
class LoadedPolicy:
    """Guard rails with the exact bytes whose digest the signed policy names, and where they stand."""

    path: str
    raw: bytes
    model: RolloutPolicy

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.model.metadata.name

    @property
    def spec(self) -> PolicySpec:
        """Which rollouts, and what they must keep to."""
        return self.model.spec


@dataclass(frozen=True)
class Contents:
    """What could be read of a repository, not yet known to be whole. Mappings are sorted by key."""

    devices: Devices
    groups: Mapping[str, LoadedGroup]
    firmware: Mapping[tuple[str, str], LoadedFirmware]
    rollouts: Mapping[str, LoadedRollout]
    controls: Mapping[str, LoadedControl]
    """by the rollout's key"""
    policies: Mapping[str, LoadedPolicy]
    sources: Sources

    @cached_property
    def members(self) -> dict[str, Mask]:
        """Members by group name as masks over `devices`, filled by `targets` as they are asked for."""
        return {}


@dataclass(frozen=True)
class FleetRepo(Contents):
    """A fleet repository at one commit, checked and without errors."""

    fleet: Fleet


@dataclass(frozen=True)
class Loaded:
    """What loading gave: all findings, and the repository if none of them is an error."""

    repo: FleetRepo | None
    diagnostics: tuple[Diagnostic, ...]
    sources: Sources
    collected: int

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(1 for d in self.diagnostics if d.severity == "error")
