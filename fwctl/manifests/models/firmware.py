"""Kind Firmware: one image for one model and version."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import ApiVersion, Model, OptionalMetadata
from fwctl.manifests.scalars import Counter, Date, Digest, Id, ImageUri, Prose, Seq, Version, version_key


class Image(Model):
    """The bytes."""

    digest: Digest = Field(description="SHA-256 of the image.")
    length: Annotated[int, Field(ge=1, le=2**40)] = Field(description="The image's size in bytes.")
    uri: ImageUri | None = Field(
        None, description="Where a device could fetch it; not needed where the reconciler pushes it."
    )


class RequiresFrom(Model):
    """Which versions can go to this one directly."""

    at_least: Version | None = Field(None, description="The lowest version that can go here directly.")
    below: Version | None = Field(None, description="Only versions below this one can.")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.at_least is None and self.below is None:
            raise PydanticCustomError("fwctl_needs", "`requiresFrom` needs `atLeast`, `below`, or both")
        if self.at_least and self.below and version_key(self.at_least) >= version_key(self.below):
            raise PydanticCustomError(
                "fwctl_at", "no version is at least `atLeast` and below `below`", {"field": "below"}
            )
        return self


class DataFormat(Model):
    """Formats of the device's persistent data, so that going back does not meet data it cannot read."""

    writes: Annotated[int, Field(ge=0, le=1_000_000)] = Field(1, description="The data format it writes.")
    reads: Seq[Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        (), description="The data formats it reads; the one it writes is always among them."
    )

    @property
    def readable(self) -> frozenset[int]:
        """All formats that the firmware reads."""
        return frozenset((self.writes, *self.reads))


class Deprecation(Model):
    """How a deprecated firmware ends."""

    sunset: Date = Field(description="From this day (UTC) on it counts as sunset.")
    reason: Annotated[str, Field(max_length=500)] = Field("", description="Why, for people.")
    successor: Version | None = Field(None, description="The version that devices are to go to instead.")


class FirmwareSpec(Model):
    """One image for one model and version, as the release statement says it too."""

    model: Id = Field(description="The product it is built for: the folder's name.")
    version: Version = Field(description="Its version, quoted: the file's name without `.yaml`.")
    hardware: Seq[Id] = Field(min_length=1, description="The boards or revisions it runs on.")
    image: Image = Field(description="The bytes.")
    release_counter: Counter = Field(description="Rises with each release of a model; orders releases.")
    security_version: Counter = Field(
        0, description="What a security floor is compared with; raise it when an older image must not come back."
    )
    requires_from: RequiresFrom | None = Field(
        None, description="Which versions can go to this one directly; null: all."
    )
    data: DataFormat = Field(default_factory=DataFormat, description="Formats of persistent data.")
    stop: bool = Field(
        False, description="Whether every device that goes from below this version to above it must pass through it."
    )
    state: Literal["draft", "candidate", "released", "deprecated", "sunset", "withdrawn"] = Field(
        "released", description="Its life cycle; sunset and withdrawn firmware cannot be rolled out."
    )
    deprecation: Deprecation | None = Field(
        None, description="Since when and why it is deprecated, and until when it may still be rolled out."
    )
    notes: Prose = Field("", description="Release notes, for people.")
    sbom: Digest | None = Field(None, description="SHA-256 of the software bill of materials.")

    @model_validator(mode="after")
    def _hardware_once(self) -> Self:
        if len(set(self.hardware)) != len(self.hardware):
            raise PydanticCustomError("fwctl_at", "the same hardware twice", {"field": "hardware"})
        return self


class Firmware(Model):
    """One image for one model and version: `firmware/<model>/<version>.yaml`."""

    api_version: ApiVersion = Field(description="Always `fwctl/v1`.")
    kind: Literal["Firmware"] = Field(description="Always `Firmware`.")
    metadata: OptionalMetadata = Field(
        default_factory=OptionalMetadata, description="A name for people; model and version identify it."
    )
    spec: FirmwareSpec = Field(description="What the image is and where it fits.")
