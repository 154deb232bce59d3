"""Kind RolloutControl: what a person decided about a rollout. It stands outside the approved bytes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import ApiVersion, Metadata, Model
from fwctl.manifests.scalars import AnyWave, Digest, Name, Seq

ControlState = Literal["running", "paused", "aborted", "rolledBack"]


class ControlSpec(Model):
    """What a person decided, why, and about which approval. It can stop, take back, and shorten a wait; never expand.

    `paused` holds for whatever is approved, until it is resumed. `aborted`, `rolledBack` and `promoted` are about one
    mandate: what is approved afterwards starts afresh.
    """

    state: ControlState = Field(
        description="`paused` starts nothing more until it is resumed; `aborted` starts nothing more at all; "
        "`rolledBack` takes every device back."
    )
    reason: Annotated[str, Field(max_length=500)] = Field(
        "", description="Why, in one line; it must be given unless `running`. Devices, events and reports show it."
    )
    actor: Name = Field(description="Who decided it.")
    revert: bool = Field(False, description="With `aborted`: also take back the devices that have the firmware.")
    promoted: Seq[AnyWave] = Field(
        (), description="Waves that pass without waiting for gate and soak; a failed gate stays failed."
    )
    mandate: Digest | None = Field(
        None,
        description="The mandate that `aborted`, `rolledBack` and `promoted` are about; `fwctl rollout show` tells it.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.state != "running" and not self.reason.strip():
            raise PydanticCustomError("fwctl_at", "say why: whoever finds it stopped will ask", {"field": "reason"})
        if self.revert and self.state != "aborted":
            raise PydanticCustomError("fwctl_at", "`revert` goes with `aborted` only", {"field": "revert"})
        if self.mandate is None and (self.promoted or self.state in ("aborted", "rolledBack")):
            raise PydanticCustomError(
                "fwctl_needs", "`aborted`, `rolledBack` and `promoted` need the `mandate` that they are about"
            )
        return self


class RolloutControl(Model):
    """What a person decided about a rollout: `control/<env>/<name>.yaml`, written by `fwctl pause` and its like."""

    api_version: ApiVersion = Field(description="Always `fwctl/v1`.")
    kind: Literal["RolloutControl"] = Field(description="Always `RolloutControl`.")
    metadata: Metadata = Field(description="The rollout's name: the file's name without `.yaml`.")
    spec: ControlSpec = Field(description="What was decided, by whom and why.")


__all__ = ["ControlSpec", "ControlState", "RolloutControl"]
