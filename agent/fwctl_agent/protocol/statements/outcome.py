"""The outcome that a device signs, and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from fwctl_agent.protocol.canonical import Written
from fwctl_agent.protocol.fields import DIGEST, ID, VERSION, WORD, Fields, format_time

OUTCOME: Final = "application/vnd.fwctl.outcome.v1+json"


Result = Literal["staged", "confirmed", "reverted", "failed", "cancelled"]
RESULTS: Final = ("staged", "confirmed", "reverted", "failed", "cancelled")

FailureClass = Literal[
    "refused", "deferred", "unreachable", "download", "install", "health", "unconfirmed", "silent-revert"
]
FAILURE_CLASSES: Final = (
    "refused",
    "deferred",
    "unreachable",
    "download",
    "install",
    "health",
    "unconfirmed",
    "silent-revert",
)


@dataclass(frozen=True)
class RunningImage:
    """The image that a device runs. A factory image has no release and no mandate."""

    release: str | None
    image: str
    version: str
    mandate: str | None

    def to_wire(self) -> dict[str, Any]:
        return {
            "release": self.release,
            "image": self.image,
            "version": self.version,
            "mandate": self.mandate,
        }

    @classmethod
    def from_wire(cls, value: object) -> RunningImage:
        top = Fields(value, "running")
        image = cls(
            release=top.maybe_digest("release"),
            image=top.digest("image"),
            version=top.text("version", VERSION),
            mandate=top.maybe_digest("mandate"),
        )
        top.done()
        return image


@dataclass(frozen=True)
class SlotState:
    """One A/B slot: `empty`, `writing` or `verified`, and what stands in it."""

    name: str
    state: Literal["empty", "writing", "verified"]
    image: str | None
    version: str | None

    def to_wire(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, "image": self.image, "version": self.version}

    @classmethod
    def from_wire(cls, value: object) -> SlotState:
        top = Fields(value, "slot")
        slot = cls(
            name=top.text("name", WORD),
            state=cast(Literal["empty", "writing", "verified"], top.choice("state", ("empty", "writing", "verified"))),
            image=top.maybe_digest("image"),
            version=top.maybe_text("version", VERSION),
        )
        top.done()
        return slot


@dataclass(frozen=True)
class ProbeResult(Written):
    """What one probe said. `value` is a whole number where the probe measures something."""

    probe: str
    ok: bool
    detail: str
    value: int | None = None

    def to_wire(self) -> dict[str, Any]:
        return {"probe": self.probe, "ok": self.ok, "detail": self.detail, "value": self.value}

    @classmethod
    def from_wire(cls, value: object) -> ProbeResult:
        top = Fields(value, "probe")
        number = top.take("value")
        if number is not None and type(number) is not int:
            raise top.refuse("value", "must be a whole number or null")
        result = cls(top.text("probe", WORD), top.flag("ok"), top.text("detail", limit=500), number)
        top.done()
        return result


@dataclass(frozen=True)
class Phase(Written):
    """How long one phase took on the device, by its monotonic clock."""

    name: str
    start: datetime
    millis: int

    def to_wire(self) -> dict[str, Any]:
        return {"name": self.name, "start": format_time(self.start), "millis": self.millis}

    @classmethod
    def from_wire(cls, value: object) -> Phase:
        top = Fields(value, "phase")
        phase = cls(top.text("name", WORD), top.time("start"), top.integer("millis"))
        top.done()
        return phase


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an order ended, signed by the device. A later outcome of the same order has a higher counter."""

    device: str
    repo_id: str
    order: str
    mandate: str
    result: Result
    klass: FailureClass | None
    code: str | None
    running: RunningImage
    slots: tuple[SlotState, ...]
    evidence: tuple[ProbeResult, ...]
    phases: tuple[Phase, ...]
    counter: int

    def to_wire(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "repoId": self.repo_id,
            "order": self.order,
            "mandate": self.mandate,
            "result": self.result,
            "class": self.klass,
            "code": self.code,
            "running": self.running.to_wire(),
            "slots": [slot.to_wire() for slot in self.slots],
            "evidence": [result.to_wire() for result in self.evidence],
            "phases": [phase.to_wire() for phase in self.phases],
            "counter": self.counter,
        }

    @classmethod
    def from_wire(cls, value: object) -> Outcome:
        top = Fields(value, "outcome")
        klass = top.maybe_text("class")
        if klass is not None and klass not in FAILURE_CLASSES:
            raise top.refuse("class", "is not a failure class")
        outcome = cls(
            device=top.text("device", ID),
            repo_id=top.text("repoId", ID),
            order=top.text("order", DIGEST),
            mandate=top.digest("mandate"),
            result=cast(Result, top.choice("result", RESULTS)),
            klass=cast("FailureClass | None", klass),
            code=top.maybe_text("code", WORD),
            running=RunningImage.from_wire(top.take("running")),
            slots=top.items("slots", SlotState.from_wire, limit=8),
            evidence=top.items("evidence", ProbeResult.from_wire, limit=64),
            phases=top.items("phases", Phase.from_wire, limit=32),
            counter=top.integer("counter", 1),
        )
        top.done()
        return outcome
