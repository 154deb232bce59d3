"""Kinds DeviceInventory and DeviceGroup."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import ApiVersion, Metadata, Model, OptionalMetadata
from fwctl.manifests.models.selector import BUILT_IN_KEYS, Selector
from fwctl.manifests.scalars import Address, Id, LabelKey, LabelValue, Seq, TimeZone


def _own_keys(labels: dict[str, str]) -> dict[str, str]:
    for key in BUILT_IN_KEYS:
        if key in labels:
            raise PydanticCustomError("fwctl_at", "`{field}` is a built-in key and cannot be a label", {"field": key})
    return labels


Labels = Annotated[dict[LabelKey, LabelValue], AfterValidator(_own_keys)]


class DeviceDefaults(Model):
    """What each device of the file inherits where it says nothing."""

    model: Id | None = Field(None, description="The product the firmware is built for.")
    hardware: Id | None = Field(None, description="The board or revision, checked by the device itself.")
    env: Id | None = Field(None, description="The environment: `rollouts/<env>/` reaches only its devices.")
    region: Id | None = Field(None, description="The region, for Regional rollouts and addresses.")
    site: Id | None = Field(None, description="The site, for disruption budgets and addresses.")
    time_zone: TimeZone | None = Field(None, description="For windows in the device's own time.")
    labels: Labels = Field(default_factory=dict, description="Labels that each device has unless it sets them.")


class DeviceEntry(DeviceDefaults):
    """One device. `model`, `hardware` and `env` must stand here or in the file's defaults."""

    id: Id = Field(description="The device's id, unique in the fleet; its certificate carries it.")
    address: Address | None = Field(
        None, description="Where it listens, `host:port`, if not at the fleet's address template."
    )


class InventorySpec(Model):
    """The devices of one file."""

    defaults: DeviceDefaults = Field(
        default_factory=DeviceDefaults, description="What each device of the file inherits."
    )
    devices: Seq[DeviceEntry] = Field(description="The devices.")


class DeviceInventory(Model):
    """Devices of the fleet: `devices/**/*.yaml`."""

    api_version: ApiVersion = Field(description="Always `fwctl/v1`.")
    kind: Literal["DeviceInventory"] = Field(description="Always `DeviceInventory`.")
    metadata: OptionalMetadata = Field(default_factory=OptionalMetadata, description="A name for people.")
    spec: InventorySpec = Field(description="The devices of this file.")


class GroupSpec(Model):
    """Members: what the selector finds within `models` and `env`, and the devices listed."""

    selector: Selector | None = Field(None, description="Devices by label; members change with the labels.")
    devices: Seq[Id] = Field((), description="Devices by id, in addition to those selected.")
    models: Seq[Id] = Field((), description="If given, only devices of these models can be members.")
    env: Id | None = Field(None, description="If given, only devices of this environment can be members.")

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if self.selector is None and not self.devices:
            raise PydanticCustomError("fwctl_needs", "a group needs a `selector`, `devices`, or both")
        return self


class DeviceGroup(Model):
    """A cohort that rollouts name: `groups/<name>.yaml`."""

    api_version: ApiVersion = Field(description="Always `fwctl/v1`.")
    kind: Literal["DeviceGroup"] = Field(description="Always `DeviceGroup`.")
    metadata: Metadata = Field(description="The group's name: the file's name without `.yaml`.")
    spec: GroupSpec = Field(description="Who belongs to it.")
