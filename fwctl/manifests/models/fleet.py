"""Kind Fleet: what holds for the whole repository."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import ApiVersion, Metadata, Model
from fwctl.manifests.models.rollout_parts import Limits, Retry
from fwctl.manifests.scalars import AddressTemplate, Duration, Id, StorageUrl, StorePath, duration


class FileStorage(Model):
    """Images lie in a folder and are pushed to the devices."""

    type: Literal["file"] = Field(description="`file`: a folder, addressed by digest.")
    path: StorePath = Field(
        "images", description="The folder: absolute, or relative to fwctl's state folder of this fleet."
    )


class HttpsStorage(Model):
    """Images lie behind HTTPS, where somebody else puts them."""

    type: Literal["https"] = Field(description="`https`: below an address, as `<url>/sha256/<2 digits>/<64 digits>`.")
    url: StorageUrl = Field(
        description="The address without query and last slash; the signed policy must list its host and port."
    )


Storage = Annotated[FileStorage | HttpsStorage, Field(discriminator="type")]


class Sweep(Model):
    """How often every device is looked at although nothing is due."""

    period: Duration = duration("24h", "In this time each device is contacted at least once, to find drift.")


class FleetDefaults(Model):
    """What a rollout gets where it says nothing."""

    retry: Retry = Field(default_factory=Retry, description="How failed attempts are repeated.")
    limits: Limits = Field(default_factory=Limits, description="How much happens at once.")
    timeout_per_device: Duration = duration("10m", "A device that has not settled after this time becomes a straggler.")


class FleetSpec(Model):
    """What holds for the whole repository."""

    repo_id: Id = Field(
        description="The fleet's id. It stands in approvals and in certificate names "
        "(`<device>.devices.<repoId>.fwctl`), so it can never change."
    )
    storage: Storage = Field(default_factory=lambda: FileStorage(type="file"), description="Where firmware images lie.")
    device_address: AddressTemplate = Field(
        description="Where a device listens, `host:port`, with {id}, {site} and {region} filled in; "
        "a device's own `address` wins."
    )
    tls: Literal["1.3", "1.2"] = Field(
        "1.3",
        description="The oldest version of TLS that is spoken with devices; each device's own setting counts too.",
    )
    delivery: Literal["push", "pull"] = Field(
        "push",
        description="`push`: the reconciler streams the image to the device; `pull`: the device fetches it from the "
        "storage, which must be one of type `https`.",
    )
    pass_interval: Duration = duration("5m", "The time between two passes of the reconciler (cron or daemon).")
    confirm_within: Duration | None = Field(
        None,
        description="After activation a device waits this long for the reconciler's confirmation, then reverts; "
        "at least and by default twice `passInterval`.",
    )
    sweep: Sweep = Field(default_factory=Sweep, description="The look at devices for which nothing is due.")
    defaults: FleetDefaults = Field(
        default_factory=FleetDefaults, description="What a rollout gets where it says nothing."
    )

    @property
    def confirm_seconds(self) -> int:
        """Seconds a device waits for its confirmation."""
        return 2 * self.pass_interval if self.confirm_within is None else self.confirm_within

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not 1 <= self.pass_interval <= 12 * 3600:
            raise PydanticCustomError("fwctl_at", "a pass interval lies between 1s and 12h", {"field": "passInterval"})
        if not 2 * self.pass_interval <= self.confirm_seconds <= 86400:
            raise PydanticCustomError(
                "fwctl_at",
                "a device must be given at least two pass intervals, and at most 24h, to be confirmed",
                {"field": "confirmWithin"},
            )
        if self.delivery == "pull" and self.storage.type == "file":
            raise PydanticCustomError(
                "fwctl_at",
                "devices cannot fetch from a folder: pull needs a storage of type https",
                {"field": "delivery"},
            )
        if self.sweep.period < self.pass_interval:
            raise PydanticCustomError("fwctl_at", "a sweep takes at least one pass interval", {"field": "sweep.period"})
        return self


class Fleet(Model):
    """The repository's own settings: `fleet.yaml`."""

    api_version: ApiVersion = Field(description="Always `fwctl/v1`.")
    kind: Literal["Fleet"] = Field(description="Always `Fleet`.")
    metadata: Metadata = Field(description="The fleet's name, for people.")
    spec: FleetSpec = Field(description="What holds for the whole repository.")


__all__ = ["FileStorage", "Fleet", "FleetDefaults", "FleetSpec", "HttpsStorage", "Storage", "Sweep"]
