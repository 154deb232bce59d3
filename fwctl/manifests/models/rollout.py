"""Kind Rollout: the intent that some devices run some firmware, and how carefully to get there."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import ApiVersion, Metadata, Model
from fwctl.manifests.models.fleet import FleetSpec
from fwctl.manifests.models.rollout_parts import (
    Gates,
    GuardRailException,
    LateJoiners,
    Limits,
    Preconditions,
    Retry,
    Rollback,
    Window,
)
from fwctl.manifests.models.selector import Selector
from fwctl.manifests.models.strategy import Canary, Strategy
from fwctl.manifests.scalars import Duration, Id, Name, Seq, Version


class FirmwareRef(Model):
    """Which firmware."""

    model: Id = Field(description="The model, as in `firmware/<model>/`.")
    version: Version = Field(description="The version, quoted.")


class Exclude(Model):
    """Who is left out, whatever else says otherwise."""

    groups: Seq[Name] = Field((), description="Members of these groups.")
    devices: Seq[Id] = Field((), description="These devices.")
    selector: Selector | None = Field(None, description="Devices that match.")


class Targets(Model):
    """Which devices: candidates, narrowed by the selector, less those excluded.

    Candidates are the members of `groups` and the `devices`; with `all`, or a selector alone, every device of
    the rollout's environment that has the firmware's model.
    """

    groups: Seq[Name] = Field((), description="Groups whose members are candidates.")
    devices: Seq[Id] = Field((), description="Devices that are candidates.")
    all: bool = Field(False, description="Every device of this environment and model is a candidate.")
    selector: Selector | None = Field(None, description="Only candidates that match stay.")
    exclude: Exclude = Field(default_factory=Exclude, description="Who is left out.")

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if self.all and (self.groups or self.devices):
            raise PydanticCustomError(
                "fwctl_at", "`all` beside `groups` or `devices` says two things", {"field": "all"}
            )
        if not (self.all or self.groups or self.devices or self.selector):
            raise PydanticCustomError("fwctl_needs", "targets need `groups`, `devices`, a `selector`, or `all: true`")
        return self


class RolloutSpec(Model):
    """Which devices shall run which firmware, and how carefully to get there."""

    LATER: ClassVar[frozenset[str]] = frozenset({"exceptions"})

    firmware: FirmwareRef = Field(description="The firmware that the targets shall run.")
    targets: Targets = Field(description="Which devices.")
    strategy: Strategy = Field(default_factory=lambda: Canary(type="Canary"), description="How they get there.")
    preconditions: Preconditions = Field(
        default_factory=Preconditions, description="What must hold on a device before it starts."
    )
    gates: Gates = Field(default_factory=Gates, description="What decides whether a wave passes.")
    rollback: Rollback = Field(default_factory=Rollback, description="What happens when a gate fails.")
    retry: Retry | None = Field(None, description="How failed attempts are repeated; the fleet's default if not given.")
    limits: Limits | None = Field(None, description="How much happens at once; the fleet's default if not given.")
    window: Window | None = Field(None, description="When devices may start; always if not given.")
    late_joiners: LateJoiners | None = Field(
        None, description="Whether devices that match later may join; not, if not given."
    )
    replaces: Name | None = Field(
        None, description="The rollout of the same environment that this one takes devices over from."
    )
    round: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1, description="Raise it to approve the same content again after a rollback."
    )
    exceptions: Seq[GuardRailException] = Field(
        (), description="Rules of guard rails that do not hold for this rollout, each with its reason."
    )
    watch: Duration | None = Field(
        None, description="How long a device keeps probing itself after confirmation; the strategy's soak if not given."
    )

    @property
    def watch_seconds(self) -> int:
        """Seconds a device keeps probing itself after confirmation."""
        return self.strategy.soak if self.watch is None else self.watch


class Rollout(Model):
    """The intent: `rollouts/<env>/<name>.yaml`."""

    api_version: ApiVersion = Field(description="Always `fwctl/v1`.")
    kind: Literal["Rollout"] = Field(description="Always `Rollout`.")
    metadata: Metadata = Field(description="The rollout's name: the file's name without `.yaml`.")
    spec: RolloutSpec = Field(description="Which devices, which firmware, how carefully.")


def resolve_spec(fleet: FleetSpec, spec: RolloutSpec) -> RolloutSpec:
    """Return the rollout's spec with the fleet's defaults filled in where it says nothing."""
    gates = spec.gates
    if gates.timeout_per_device is None:
        gates = gates.model_copy(update={"timeout_per_device": fleet.defaults.timeout_per_device})
    return spec.model_copy(
        update={
            "gates": gates,
            "retry": spec.retry or fleet.defaults.retry,
            "limits": spec.limits or fleet.defaults.limits,
            "watch": spec.watch_seconds,
        }
    )
