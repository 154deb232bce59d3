"""What travels between reconciler and device: request bodies, replies, the device document.

HTTP, all under mutual TLS:

    GET  /v1/device                      -> 200 DeviceDocument
    PUT  /v1/trust         {name: text}  -> 200 trust versions | 422 RefusedReply
    PUT  /v1/orders/{id}   OrderRequest  -> 200 OrderReply (ended) | 202 OrderReply (under way)
                                            | 409 BusyReply | 422 RefusedReply
    PUT  /v1/orders/{id}/image  bytes, `Content-Range: bytes FIRST-LAST/TOTAL`
                                         -> 200 OrderReply (ended) | 202 OrderReply | 409 BusyReply
                                            | 416 OrderReply (its `image.offset` says where to go on)
                                            | 404 RefusedReply (no such order) | 422 RefusedReply
    GET  /v1/orders/{id}?wait=SECONDS    -> 200 OrderReply (long poll) | 404 RefusedReply

A RefusedReply may come with 408 (too slow), 413 (too large) or 503 (overloaded) wherever it may come with 422.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from fwctl_agent.errors import Refusal, RefusalClass
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import DIGEST, ID, VERSION, WORD, Fields, format_time, integer
from fwctl_agent.protocol.statements import RunningImage, SlotState

PROTOCOL: Final = 1
MAX_ORDER_BODY: Final = 1 << 20
MAX_TRUST_BODY: Final = 4 << 20
MAX_REPLY: Final = 1 << 20
MAX_WAIT: Final = 60

State = Literal[
    "idle",
    "accepted",
    "downloading",
    "verified",
    "staged",
    "trial",
    "confirmed",
    "reverting",
    "reverted",
    "failed",
]
STATES: Final = (
    "idle",
    "accepted",
    "downloading",
    "verified",
    "staged",
    "trial",
    "confirmed",
    "reverting",
    "reverted",
    "failed",
)


def _envelope(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal("E_SCHEMA", "an envelope must be an object")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Refusal("E_SCHEMA", "an entry must be text")
    return value


@dataclass(frozen=True)
class OrderRequest:
    """Everything that a device needs to judge one order by itself. Envelopes are DSSE in JSON form."""

    order: dict[str, Any]
    approvals: tuple[dict[str, Any], ...]
    releases: tuple[dict[str, Any], ...]
    trust: Mapping[str, str]
    """file name below `trust/` -> text, byte for byte"""

    def to_bytes(self) -> bytes:
        return canonical.dump(self.to_wire())

    def to_wire(self) -> dict[str, Any]:
        return {
            "order": self.order,
            "approvals": list(self.approvals),
            "releases": list(self.releases),
            "trust": dict(self.trust),
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> OrderRequest:
        top = Fields(canonical.decode(data, what="order request", max_bytes=MAX_ORDER_BODY), "request")
        request = cls(
            order=_envelope(top.take("order")),
            approvals=top.items("approvals", _envelope, limit=64),
            releases=top.items("releases", _envelope, limit=64),
            trust=bundle_from_wire(top.take("trust")),
        )
        top.done()
        return request


def bundle_from_wire(value: object) -> dict[str, str]:
    """Read a trust bundle: file name below `trust/` -> text."""
    return Fields({"trust": value}, "request").mapping("trust", _text, limit=300)


@dataclass(frozen=True)
class OrderReply:
    """Where an order stands. `image` says which bytes the device still waits for."""

    order: str
    state: State
    offset: int | None
    """next byte wanted; None when no image is wanted"""
    outcome: dict[str, Any] | None
    """the DSSE envelope of the outcome, once the order ended"""
    resume_after: int | None
    """seconds until it makes sense to ask again (a reboot lies between)"""

    def to_wire(self) -> dict[str, Any]:
        return {
            "order": self.order,
            "state": self.state,
            "image": None if self.offset is None else {"offset": self.offset},
            "outcome": self.outcome,
            "resumeAfter": self.resume_after,
        }

    @classmethod
    def from_wire(cls, value: object) -> OrderReply:
        top = Fields(value, "reply")
        image, outcome, resume = top.take("image"), top.take("outcome"), top.take("resumeAfter")
        offset = None
        if image is not None:
            fields = Fields(image, "reply.image")
            offset = fields.integer("offset")
            fields.done()
        reply = cls(
            order=top.text("order", DIGEST),
            state=cast(State, top.choice("state", STATES)),
            offset=offset,
            outcome=None if outcome is None else _envelope(outcome),
            resume_after=None if resume is None else integer(resume),
        )
        top.done()
        return reply


@dataclass(frozen=True)
class RefusedReply:
    """422: the device says no, with the class that tells what happens next."""

    klass: RefusalClass
    code: str
    message: str

    def to_wire(self) -> dict[str, Any]:
        return {"class": self.klass, "code": self.code, "message": self.message}

    @classmethod
    def from_wire(cls, value: object) -> RefusedReply:
        top = Fields(value, "refusal")
        reply = cls(
            klass=cast(RefusalClass, top.choice("class", ("refused", "deferred", "resync"))),
            code=top.text("code", WORD),
            message=top.text("message", limit=2000),
        )
        top.done()
        return reply


@dataclass(frozen=True)
class BusyReply:
    """409: another order runs."""

    running: str

    def to_wire(self) -> dict[str, Any]:
        return {"code": "E_BUSY", "running": self.running}

    @classmethod
    def from_wire(cls, value: object) -> BusyReply:
        top = Fields(value, "busy")
        top.choice("code", ("E_BUSY",))
        reply = cls(top.digest("running"))
        top.done()
        return reply


@dataclass(frozen=True)
class TrustVersions:
    """Versions of the metadata that a device trusts; 0 where it has none yet."""

    root: int
    targets: int
    policy: int
    snapshot: int
    timestamp: int

    def to_wire(self) -> dict[str, int]:
        return {
            "root": self.root,
            "targets": self.targets,
            "policy": self.policy,
            "snapshot": self.snapshot,
            "timestamp": self.timestamp,
        }

    @classmethod
    def from_wire(cls, value: object) -> TrustVersions:
        top = Fields(value, "trust")
        versions = cls(*(top.integer(name) for name in ("root", "targets", "policy", "snapshot", "timestamp")))
        top.done()
        return versions


@dataclass(frozen=True)
class Spent(canonical.Written):
    """A mandate that this device has taken back, and why: `ordered`, `health` or `watch`."""

    mandate: str
    reason: Literal["ordered", "health", "watch"]

    def to_wire(self) -> dict[str, str]:
        return {"mandate": self.mandate, "reason": self.reason}

    @classmethod
    def from_wire(cls, value: object) -> Spent:
        top = Fields(value, "spent")
        reason = top.choice("reason", ("ordered", "health", "watch"))
        spent = cls(top.digest("mandate"), cast(Literal["ordered", "health", "watch"], reason))
        top.done()
        return spent


@dataclass(frozen=True)
class AttemptMark(canonical.Written):
    """The highest attempt that this device has accepted for a mandate and verb."""

    mandate: str
    verb: str
    attempt: int

    def to_wire(self) -> dict[str, Any]:
        return {"mandate": self.mandate, "verb": self.verb, "attempt": self.attempt}

    @classmethod
    def from_wire(cls, value: object) -> AttemptMark:
        top = Fields(value, "mark")
        mark = cls(top.digest("mandate"), top.text("verb", WORD), top.integer("attempt", 1))
        top.done()
        return mark


@dataclass(frozen=True, kw_only=True)
class DeviceDocument:
    """`GET /v1/device`: what a device says of itself. Unsigned; mutual TLS vouches for it."""

    id: str
    model: str
    hardware: str
    env: str
    enrolled_at: datetime
    agent: str
    protocol: int
    state: State
    order: str | None
    running: RunningImage
    slots: tuple[SlotState, ...]
    trust: TrustVersions
    highest_timestamp: str | None
    """the timestamp metadata as our key signed it"""
    highest_orders: tuple[dict[str, Any], ...]
    """per order key, the signed order with the highest epoch"""
    floor: int
    floor_clock: datetime
    clock_suspect: bool
    spent: tuple[Spent, ...]
    marks: tuple[AttemptMark, ...]
    outcomes: tuple[dict[str, Any], ...]
    facts: Mapping[str, str | int | bool]
    vitals: Mapping[str, int]
    counter: int

    def to_wire(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "model": self.model,
            "hardware": self.hardware,
            "env": self.env,
            "enrolledAt": format_time(self.enrolled_at),
            "agent": self.agent,
            "protocol": self.protocol,
            "state": self.state,
            "order": self.order,
            "running": self.running.to_wire(),
            "slots": [slot.to_wire() for slot in self.slots],
            "trust": self.trust.to_wire(),
            "highestTimestamp": self.highest_timestamp,
            "highestOrders": list(self.highest_orders),
            "floor": self.floor,
            "floorClock": format_time(self.floor_clock),
            "clockSuspect": self.clock_suspect,
            "spent": [spent.to_wire() for spent in self.spent],
            "marks": [mark.to_wire() for mark in self.marks],
            "outcomes": list(self.outcomes),
            "facts": dict(self.facts),
            "vitals": dict(self.vitals),
            "counter": self.counter,
        }

    @classmethod
    def from_wire(cls, value: object) -> DeviceDocument:
        top = Fields(value, "device")
        stamp = top.take("highestTimestamp")
        document = cls(
            id=top.text("id", ID),
            model=top.text("model", ID),
            hardware=top.text("hardware", WORD),
            env=top.text("env", ID),
            enrolled_at=top.time("enrolledAt"),
            agent=top.text("agent", VERSION),
            protocol=top.integer("protocol", 1, 999),
            state=cast(State, top.choice("state", STATES)),
            order=top.maybe_digest("order"),
            running=RunningImage.from_wire(top.take("running")),
            slots=top.items("slots", SlotState.from_wire, limit=8),
            trust=TrustVersions.from_wire(top.take("trust")),
            highest_timestamp=None if stamp is None else _text(stamp),
            highest_orders=top.items("highestOrders", _envelope, limit=16),
            floor=top.integer("floor"),
            floor_clock=top.time("floorClock"),
            clock_suspect=top.flag("clockSuspect"),
            spent=top.items("spent", Spent.from_wire, limit=256),
            marks=top.items("marks", AttemptMark.from_wire, limit=256),
            outcomes=top.items("outcomes", _envelope, limit=64),
            facts=top.mapping("facts", _fact, limit=64),
            vitals=top.mapping("vitals", _vital, limit=64),
            counter=top.integer("counter"),
        )
        top.done()
        return document


def _fact(value: object) -> str | int | bool:
    if isinstance(value, str | int) and (not isinstance(value, str) or len(value) <= 256):
        return value
    raise Refusal("E_SCHEMA", "a fact is text, a whole number, or true or false")


def _vital(value: object) -> int:
    if type(value) is int:
        return value
    raise Refusal("E_SCHEMA", "a vital is a whole number")
