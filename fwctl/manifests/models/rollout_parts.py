"""The parts of a rollout: when it may go on, how it stops, how much at once."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import Model
from fwctl.manifests.scalars import (
    AmountOf,
    ByteSize,
    Count,
    Cron,
    Duration,
    Id,
    LabelKey,
    LabelValue,
    Metric,
    Name,
    Percent,
    PositiveCount,
    Seq,
    WindowZone,
    amount,
    duration,
)

Number = Annotated[float, Field(ge=-1e15, le=1e15)]


class NumberFact(Model):
    """A device-reported number compared with a value."""

    key: Metric = Field(description="The fact, such as `battery`.")
    operator: Literal["GreaterThan", "LessThan", "AtLeast", "AtMost"] = Field(description="The comparison.")
    value: Number = Field(description="What it is compared with.")


class TextFact(Model):
    """A device-reported text compared with a value."""

    key: Metric = Field(description="The fact, such as `powerSource`.")
    operator: Literal["Equals", "NotEquals"] = Field(description="The comparison.")
    value: LabelValue = Field(description="What it is compared with.")


class FlagFact(Model):
    """A device-reported yes or no."""

    key: Metric = Field(description="The fact, such as `busy`.")
    operator: Literal["IsTrue", "IsFalse"] = Field(description="What it must be.")


Fact = Annotated[NumberFact | TextFact | FlagFact, Field(discriminator="operator")]


class Readiness(Model):
    """How long a device may say that it is not ready."""

    max_defer: Duration = duration("2d", "A device deferred for longer becomes a straggler.")


class Preconditions(Model):
    """What must hold on a device before it starts; it can hold a device back, never add one."""

    facts: Seq[Fact] = Field((), description="Conditions on what the device reports; all must hold.")
    readiness: Readiness = Field(default_factory=Readiness, description="How long a device may defer.")


class MaxFailureRate(Model):
    """How many may fail before the rollout stops."""

    LATER: ClassVar[frozenset[str]] = frozenset({"confidence"})

    percent: Percent = Field(2.0, description="More failures than this share stop the rollout.")
    min_sample: PositiveCount = Field(
        20, description="Only the early stop waits for so many settled devices; the end of a wave does not."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = Field(
        None,
        description="How sure it must be that the true rate is too high (Wilson's bound); not asked, if not given.",
    )


class MinReached(Model):
    """How many must have been reached before a wave can pass."""

    percent: Percent = Field(90.0, description="Share of the wave that must run the firmware, confirmed.")


class Limit(Model):
    """The range in which a metric is healthy."""

    min: Number | None = Field(None, description="Below this it is unhealthy.")
    max: Number | None = Field(None, description="Above this it is unhealthy.")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.min is None and self.max is None:
            raise PydanticCustomError("fwctl_needs", "a limit needs `min`, `max`, or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("fwctl_at", "`min` is above `max`", {"field": "min"})
        return self


class CompareWithControl(Model):
    """Comparison of updated devices with those not yet updated."""

    LATER: ClassVar[frozenset[str]] = frozenset({"less_is_worse", "min_sample"})

    metrics: Seq[Metric] = Field(min_length=1, description="The metrics compared.")
    less_is_worse: Seq[Metric] = Field((), description="Those of `metrics` of which less is worse; of others more is.")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.99, description="How sure the difference must be before it counts."
    )
    min_sample: PositiveCount = Field(10, description="Fewer devices on either side prove nothing.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := sorted(set(self.less_is_worse) - set(self.metrics)):
            raise PydanticCustomError(
                "fwctl_at", "`{name}` is not among `metrics`", {"field": "lessIsWorse", "name": unknown[0]}
            )
        return self


class Health(Model):
    """What a healthy device is."""

    probes: Id = Field("default", description="The probe set in the agent's configuration that is run.")
    limits: dict[Metric, Limit] = Field(default_factory=dict, description="Range per metric.")
    compare_with_control: CompareWithControl | None = Field(
        None, description="Compare with devices not yet updated; not applicable where none is left."
    )


class Gates(Model):
    """What decides whether a wave passes."""

    max_failure_rate: MaxFailureRate = Field(default_factory=MaxFailureRate, description="How many may fail.")
    min_reached: MinReached = Field(default_factory=MinReached, description="How many must be reached.")
    health: Health = Field(default_factory=Health, description="What a healthy device is.")
    timeout_per_device: Duration | None = Field(
        None, description="A device not settled after this time is a straggler; the fleet's default if not given."
    )


class Rollback(Model):
    """What happens when a gate fails."""

    allowed: bool = Field(True, description="Whether the approval also covers going back one step.")
    automatic: bool = Field(True, description="Go back without asking when a gate fails.")
    scope: Literal["rollout", "wave"] = Field(
        "rollout", description="Who goes back when a gate fails: everybody, or only waves that have not passed."
    )
    deadline: Duration = duration("2m", "From the failed gate to the last reachable device being back.")
    max_concurrent: PositiveCount = Field(2000, description="Reverts at once; nothing else holds them back.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.automatic and not self.allowed:
            raise PydanticCustomError(
                "fwctl_at", "a rollback that is not allowed cannot be automatic", {"field": "automatic"}
            )
        return self


class Backoff(Model):
    """The wait between attempts: initial * factor^n, at most max, give or take jitter."""

    initial: Duration = duration("30s", "The first wait.")
    factor: Annotated[float, Field(ge=1, le=10)] = Field(2.0, description="Each wait is so many times the last.")
    max: Duration = duration("10m", "The longest wait.")
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(0.2, description="Share by which a wait varies.")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.initial > self.max:
            raise PydanticCustomError("fwctl_at", "the first wait is longer than `max`", {"field": "initial"})
        return self


class Retry(Model):
    """How failed attempts are repeated; the failure's class says whether."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] = Field(3, description="Attempts per device, the first counts.")
    backoff: Backoff = Field(default_factory=Backoff, description="The wait between attempts.")


class Disruption(Model):
    """How many devices of one place may be out of service at once."""

    group_by: Seq[LabelKey] = Field(("site",), min_length=1, description="Keys that make a place.")
    max_unavailable: AmountOf = amount(1, "Devices per place, as a number or a share.")


class IncreaseEvery(Model):
    """What must have happened before each increase of a rate."""

    reached: PositiveCount | None = Field(None, description="So many more devices run the firmware, confirmed.")
    started: PositiveCount | None = Field(None, description="So many more devices were started.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.reached is None) == (self.started is None):
            raise PydanticCustomError("fwctl_needs", "`increaseEvery` needs `reached` or `started`, one of them")
        return self


class Ramp(Model):
    """A rate that begins low and rises: base * factor^n, at most `maxPerMinute`."""

    base_per_minute: PositiveCount = Field(description="Devices started per minute at first.")
    factor: Annotated[float, Field(gt=1, le=10)] = Field(2.0, description="Each increase is by so many times.")
    increase_every: IncreaseEvery = Field(description="When the rate rises: `{reached: N}` or `{started: N}`.")


class Limits(Model):
    """How much happens at once."""

    LATER: ClassVar[frozenset[str]] = frozenset({"ramp", "jitter"})

    max_concurrent: PositiveCount = Field(500, description="Devices in flight at once.")
    max_per_minute: PositiveCount = Field(5000, description="Devices started per minute.")
    ramp: Ramp | None = Field(None, description="A rate that begins low and rises to `maxPerMinute`.")
    jitter: Duration = duration("0s", "After its wave has opened, a device starts up to so much later, by lot.")
    disruption: Disruption | None = Field(None, description="Devices per place that may be out of service.")
    bytes_per_minute_per_site: ByteSize | None = Field(None, description="Image bytes sent to one site per minute.")


class Span(Model):
    """A recurring span of time."""

    cron: Cron = Field(description="When it begins: minute, hour, day of month, month, day of week.")
    duration: Duration = Field(description="How long it is.")
    time_zone: WindowZone = Field("UTC", description="The zone of `cron`; `device` means each device's own.")


class Window(Model):
    """When devices may start; what runs is never interrupted and reverts ignore it."""

    allow: Seq[Span] = Field((), description="Only in these spans, if any is given.")
    deny: Seq[Span] = Field((), description="Never in these; deny wins.")

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if not self.allow and not self.deny:
            raise PydanticCustomError("fwctl_needs", "a window needs `allow`, `deny`, or both")
        return self


class LateJoiners(Model):
    """Devices that match only after the approval."""

    max: Count = Field(description="How many of them may join under this approval.")


class GuardRailException(Model):
    """One rule of a guard rail that does not hold for this rollout."""

    policy: Name = Field(description="The RolloutPolicy.")
    rule: Literal["minimumCanary", "minimumSoak", "maximumBlastRadius", "strategies", "freezes"] = Field(
        description="Its rule; a finding names it."
    )
    reason: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description="Why, for those who approve it and for the record."
    )

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if not self.reason.strip():
            raise PydanticCustomError("fwctl_at", "say why: approvers read it", {"field": "reason"})
        return self
