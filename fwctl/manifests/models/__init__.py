"""The models, a module per kind."""

from fwctl.manifests.models.base import API_VERSION, Model, plain
from fwctl.manifests.models.control import ControlSpec, RolloutControl
from fwctl.manifests.models.devices import DeviceEntry, DeviceGroup, DeviceInventory
from fwctl.manifests.models.firmware import Firmware
from fwctl.manifests.models.fleet import Fleet
from fwctl.manifests.models.policy import RolloutPolicy
from fwctl.manifests.models.rollout import Rollout, RolloutSpec, Targets, resolve_spec
from fwctl.manifests.models.selector import BUILT_IN_KEYS, Selector
from fwctl.manifests.models.strategy import BlueGreen, Canary, Direct, Regional, Rolling, Strategy

Manifest = Fleet | DeviceInventory | DeviceGroup | Firmware | Rollout | RolloutControl | RolloutPolicy
KINDS: dict[str, type[Manifest]] = {
    "Fleet": Fleet,
    "DeviceInventory": DeviceInventory,
    "DeviceGroup": DeviceGroup,
    "Firmware": Firmware,
    "Rollout": Rollout,
    "RolloutControl": RolloutControl,
    "RolloutPolicy": RolloutPolicy,
}

__all__ = [
    "API_VERSION",
    "BUILT_IN_KEYS",
    "KINDS",
    "BlueGreen",
    "Canary",
    "ControlSpec",
    "DeviceEntry",
    "DeviceGroup",
    "DeviceInventory",
    "Direct",
    "Firmware",
    "Fleet",
    "Manifest",
    "Model",
    "Regional",
    "Rolling",
    "Rollout",
    "RolloutControl",
    "RolloutPolicy",
    "RolloutSpec",
    "Selector",
    "Strategy",
    "Targets",
    "plain",
    "resolve_spec",
]
