"""Kind RolloutPolicy: guard rails that hold for rollouts while the signed policy names the digest of their file."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import ApiVersion, Metadata, Model
from fwctl.manifests.scalars import Duration, Moment, PositiveCount, Seq, TimeZone, Wildcard

RuleName = Literal["minimumCanary", "minimumSoak", "maximumBlastRadius", "strategies", "freezes"]

Strategies = Literal["Direct", "Rolling", "Canary", "Regional", "BlueGreen"]


class AppliesTo(Model):
    """Which rollouts: all conditions must hold. `*` stands for any characters."""

    envs: Seq[Wildcard] = Field(("*",), min_length=1, description="Environments, such as `prod*`.")
    models: Seq[Wildcard] = Field(("*",), min_length=1, description="Device models, such as `gateway-*`.")


class Share(Model):
    """A number of devices, a share of the rollout's devices, or both: then both must hold."""

    percent: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="Share of the rollout's devices, rounded up to whole devices."
    )
    devices: PositiveCount | None = Field(None, description="Number of devices.")

    @model_validator(mode="after")
    def _says_how_many(self) -> Self:
        if self.percent is None and self.devices is None:
            raise PydanticCustomError("fwctl_needs", "it needs `percent`, `devices`, or both")
        return self


class Freeze(Model):
    """A time in which no device may start; what runs is never interrupted, and reverts ignore it."""

    from_: Moment = Field(alias="from", description="When it begins, such as `2026-12-20T00:00:00Z`.")
    until: Moment = Field(description="When it is over.")
    time_zone: TimeZone | None = Field(
        None, description="The zone of `from` and `until` where they carry no offset of their own."
    )
    reason: Annotated[str, Field(max_length=500)] = Field("", description="Why, for people.")

    @model_validator(mode="after")
    def _a_span(self) -> Self:
        for field, text in (("from", self.from_), ("until", self.until)):
            self._check(field, text)
        if self.begins >= self.ends:
            raise PydanticCustomError("fwctl_at", "it ends before it begins", {"field": "until"})
        return self

    def _check(self, field: str, text: str) -> None:
        try:
            bare = datetime.fromisoformat(text).tzinfo is None
        except ValueError:
            raise PydanticCustomError("fwctl_at", "there is no such day", {"field": field}) from None
        if bare and self.time_zone is None:
            raise PydanticCustomError("fwctl_at", "say `Z`, an offset, or a `timeZone`", {"field": field})
        if not bare and self.time_zone is not None:
            raise PydanticCustomError("fwctl_at", "an offset beside `timeZone` says two things", {"field": field})
        if bare:
            try:
                ZoneInfo(self.time_zone or "")
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise PydanticCustomError("fwctl_at", "there is no such time zone", {"field": "timeZone"}) from None

    @cached_property
    def begins(self) -> datetime:
        """The first moment, in UTC; of an hour that comes twice, the first."""
        return self._moment(self.from_, fold=0)

    @cached_property
    def ends(self) -> datetime:
        """The moment at which it is over, in UTC; of an hour that comes twice, the second."""
        return self._moment(self.until, fold=1)

    def _moment(self, text: str, *, fold: Literal[0, 1]) -> datetime:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and self.time_zone is not None:
            moment = moment.replace(tzinfo=ZoneInfo(self.time_zone), fold=fold)
        return moment.astimezone(UTC)


class Rules(Model):
    """What rollouts must keep to; a rule that is not given asks for nothing."""

    minimum_canary: Share | None = Field(
        None, description="At most so many devices in the first wave (of each region, where they go in parallel)."
    )
    minimum_soak: Duration | None = Field(None, description="Every wave is watched for at least so long.")
    maximum_blast_radius: Share | None = Field(
        None,
        description="At most so many devices can run the firmware before a gate has judged it there: "
        "the largest wave, or the largest waves of all regions that go in parallel together.",
    )
    strategies: Seq[Strategies] | None = Field(None, min_length=1, description="Only these strategies.")
    freezes: Seq[Freeze] = Field((), description="Times in which no device may start.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("fwctl_needs", "a policy without a rule guards nothing")
        return self


class PolicySpec(Model):
    """Which rollouts, and what they must keep to."""

    applies_to: AppliesTo = Field(default_factory=AppliesTo, description="Which rollouts; all if not given.")
    rules: Rules = Field(description="What they must keep to.")


class RolloutPolicy(Model):
    """Guard rails: `policies/<name>.yaml`, in force while the signed policy names the digest of the file."""

    api_version: ApiVersion = Field(description="Always `fwctl/v1`.")
    kind: Literal["RolloutPolicy"] = Field(description="Always `RolloutPolicy`.")
    metadata: Metadata = Field(description="The policy's name: the file's name without `.yaml`.")
    spec: PolicySpec = Field(description="Which rollouts, and what they must keep to.")


__all__ = ["AppliesTo", "Freeze", "PolicySpec", "RolloutPolicy", "RuleName", "Rules", "Share"]
