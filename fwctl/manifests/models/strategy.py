"""The five strategies: each compiles to waves."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import Model
from fwctl.manifests.models.rollout_parts import Window
from fwctl.manifests.scalars import AmountOf, Duration, Id, RegionOrWave, Seq, WaveName, amount, duration

_APPROVAL = "Waves that wait for a further approval."
_SOAK = "How long a wave is watched before the next one starts."


class Direct(Model):
    """One wave: all targets at once."""

    type: Literal["Direct"] = Field(description="`Direct`: one wave.")
    soak: Duration = duration("0s", "How long the wave is watched before the rollout is complete.")


class Rolling(Model):
    """Batches one after another."""

    type: Literal["Rolling"] = Field(description="`Rolling`: batches one after another.")
    batch_size: AmountOf = amount("10%", "Devices per batch, as a number or a share.")
    max_unavailable: AmountOf | None = Field(None, description="Devices of a batch that may be out of service at once.")
    soak: Duration = duration("5m", _SOAK)
    approval_before: Seq[WaveName] = Field((), description=_APPROVAL)


class Canary(Model):
    """A few first, then more: cumulative percentages with a gate and a soak between."""

    type: Literal["Canary"] = Field(description="`Canary`: a few first, then more.")
    initial_percentage: Annotated[float, Field(gt=0, le=100)] = Field(5.0, description="Share in the first wave.")
    increments: Seq[Annotated[float, Field(gt=0, le=100)]] = Field(
        (25.0, 50.0, 100.0), description="Cumulative shares of the waves after it, rising, the last one 100."
    )
    soak: Duration = duration("15m", _SOAK)
    approval_before: Seq[WaveName] = Field((), description=_APPROVAL)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        steps = (self.initial_percentage, *self.increments)
        if any(later <= earlier for earlier, later in pairwise(steps)):
            raise PydanticCustomError(
                "fwctl_at", "each percentage must be above the one before", {"field": "increments"}
            )
        if steps[-1] != 100:
            raise PydanticCustomError(
                "fwctl_at", "the last percentage must be 100, or devices are never reached", {"field": "increments"}
            )
        return self


Inner = Annotated[Direct | Rolling | Canary, Field(discriminator="type")]


class RegionStep(Model):
    """One region."""

    name: Id = Field(description="The region, as the inventory has it.")
    window: Window | None = Field(None, description="When devices of this region may start.")
    strategy: Inner | None = Field(None, description="How this region goes; `inner` if not given.")


class Regional(Model):
    """Region by region, or all regions in parallel."""

    type: Literal["Regional"] = Field(description="`Regional`: region by region.")
    regions: Seq[RegionStep] = Field(min_length=1, description="The regions, in order.")
    order: Literal["Sequential", "Parallel"] = Field("Sequential", description="One after another, or at once.")
    inner: Inner = Field(default_factory=lambda: Canary(type="Canary"), description="How each region goes.")
    soak: Duration = duration("1h", "How long a region is watched before the next one starts.")
    approval_before: Seq[RegionOrWave] = Field(
        (), description="Regions (their first wave), or waves such as `eu/wave-2`, that wait for a further approval."
    )

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [step.name for step in self.regions]
        if len(set(names)) != len(names):
            raise PydanticCustomError("fwctl_at", "the same region twice", {"field": "regions"})
        return self


class BlueGreen(Model):
    """Write the standby slots of all targets, then switch everywhere at once."""

    type: Literal["BlueGreen"] = Field(description="`BlueGreen`: stage everywhere, then switch at once.")
    switch: Literal["Automatic", "Manual"] = Field(
        "Automatic", description="Switch when the gate of the staged slots passes, or wait for `fwctl promote`."
    )
    soak: Duration = duration("30m", "How long the fleet is watched after the switch.")
    retain: Duration = duration(
        "24h",
        "How long after the soak the rollout keeps watch over the old slots: until then late failures still take "
        "everybody back. `fwctl promote` ends it.",
    )


Strategy = Annotated[Direct | Rolling | Canary | Regional | BlueGreen, Field(discriminator="type")]
