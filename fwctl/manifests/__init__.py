"""What git says: manifests to models, checked; findings are values. No files, no git: bytes come in."""

from fwctl.manifests.codes import CODES, Code
from fwctl.manifests.devices import Devices
from fwctl.manifests.diagnostic import Diagnostic, Excerpt, Place, Related, ordered
from fwctl.manifests.load import load
from fwctl.manifests.models import (
    DeviceGroup,
    DeviceInventory,
    Firmware,
    Fleet,
    Rollout,
    RolloutControl,
    RolloutPolicy,
    RolloutSpec,
    plain,
    resolve_spec,
)
from fwctl.manifests.parse import Parsed, parse_file
from fwctl.manifests.paths import ManifestPath, classify
from fwctl.manifests.repo import (
    Contents,
    Device,
    FleetRepo,
    Loaded,
    LoadedControl,
    LoadedFirmware,
    LoadedGroup,
    LoadedPolicy,
    LoadedRollout,
    Origin,
)
from fwctl.manifests.schema import schemas
from fwctl.manifests.sources import Source, Sources
from fwctl.manifests.table import InventoryTable, Profile
from fwctl.manifests.targets import group_ids, group_members, resolve_targets, target_ids

__all__ = [
    "CODES",
    "Code",
    "Contents",
    "Device",
    "DeviceGroup",
    "DeviceInventory",
    "Devices",
    "Diagnostic",
    "Excerpt",
    "Firmware",
    "Fleet",
    "FleetRepo",
    "InventoryTable",
    "Loaded",
    "LoadedControl",
    "LoadedFirmware",
    "LoadedGroup",
    "LoadedPolicy",
    "LoadedRollout",
    "ManifestPath",
    "Origin",
    "Parsed",
    "Place",
    "Profile",
    "Related",
    "Rollout",
    "RolloutControl",
    "RolloutPolicy",
    "RolloutSpec",
    "Source",
    "Sources",
    "classify",
    "group_ids",
    "group_members",
    "load",
    "ordered",
    "parse_file",
    "plain",
    "resolve_spec",
    "resolve_targets",
    "schemas",
    "target_ids",
]
