"""Everything that a device must not forget, as one frozen value; what the journal stores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from fwctl_agent.protocol.fields import DIGEST as DIGEST_FORM
from fwctl_agent.protocol.fields import ID, VERSION, WORD, Fields, format_time, matching
from fwctl_agent.protocol.messages import STATES, AttemptMark, Spent, State
from fwctl_agent.protocol.statements import (
    InstallOrder,
    Phase,
    ProbeResult,
    Release,
    RunningImage,
    order_from_wire,
)
from fwctl_agent.runtime.images import Image, Slot
from fwctl_agent.runtime.ports import Moment

MAX_OUTCOMES: Final = 32
MAX_MARKS: Final = 256
MAX_KEYS: Final = 16
MAX_PHASES: Final = 24

Reason = Literal["ordered", "health", "watch", "unconfirmed"]
REASONS: Final = ("ordered", "health", "watch", "unconfirmed")
Verdict = Literal["pending", "good"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """The newest install order and how far it has come. It stays after its end: a revert may still refer to it."""

    order: InstallOrder
    release: Release
    rollback: Literal["allowed", "forbidden"]
    approved_at: datetime
    state: State
    since: Moment
    slot: str
    """where the new image goes"""
    back: str
    """the slot that ran before"""
    origin: Image
    """what ran before this mandate's first install"""
    offset: int = 0
    """bytes that are durable"""
    reused: bool = False
    """the bytes were there already, from an earlier attempt"""
    starts: int = 0
    """starts of the agent in this state, to end a crash loop"""
    activating: bool = False
    activations: int = 0
    also: tuple[str, ...] = ()
    """orders that end together with this one: activate, confirm, revert"""
    confirm: str | None = None
    reason: Reason | None = None
    code: str | None = None
    probes: Verdict = "pending"
    watching: bool = False
    evidence: tuple[ProbeResult, ...] = ()
    phases: tuple[Phase, ...] = ()

    @property
    def active(self) -> bool:
        """True while no other install order may begin."""
        return self.watching or self.state in (
            "accepted",
            "downloading",
            "verified",
            "staged",
            "trial",
            "reverting",
        )

    @property
    def image(self) -> Image:
        release = self.release
        running = RunningImage(release.digest, release.image, release.version, self.order.mandate)
        return Image(
            running=running,
            length=release.length,
            security_version=release.security_version,
            approved_at=self.approved_at,
        )

    def to_wire(self) -> dict[str, Any]:
        return {
            "order": self.order.to_wire(),
            "release": self.release.to_wire(),
            "rollback": self.rollback,
            "approvedAt": format_time(self.approved_at),
            "state": self.state,
            "since": _moment_to_wire(self.since),
            "slot": self.slot,
            "back": self.back,
            "origin": self.origin.to_wire(),
            "offset": self.offset,
            "reused": self.reused,
            "starts": self.starts,
            "activating": self.activating,
            "activations": self.activations,
            "also": list(self.also),
            "confirm": self.confirm,
            "reason": self.reason,
            "code": self.code,
            "probes": self.probes,
            "watching": self.watching,
            "evidence": [result.to_wire() for result in self.evidence],
            "phases": [phase.to_wire() for phase in self.phases],
        }

    @classmethod
    def from_wire(cls, value: object) -> Job:
        top = Fields(value, "job")
        order = order_from_wire(top.take("order"))
        if not isinstance(order, InstallOrder):
            raise top.refuse("order", "must be an install order")
        job = cls(
            order=order,
            release=Release.from_wire(top.take("release")),
            rollback=cast(Literal["allowed", "forbidden"], top.choice("rollback", ("allowed", "forbidden"))),
            approved_at=top.time("approvedAt"),
            state=cast(State, top.choice("state", STATES)),
            since=_moment(top.take("since")),
            slot=top.text("slot", WORD),
            back=top.text("back", WORD),
            origin=Image.from_wire(top.take("origin")),
            offset=top.integer("offset"),
            reused=top.flag("reused"),
            starts=top.integer("starts"),
            activating=top.flag("activating"),
            activations=top.integer("activations"),
            also=top.digests("also", limit=MAX_OUTCOMES),
            confirm=top.maybe_digest("confirm"),
            reason=cast("Reason | None", top.maybe_text("reason", WORD)),
            code=top.maybe_text("code", WORD),
            probes=cast(Verdict, top.choice("probes", ("pending", "good"))),
            watching=top.flag("watching"),
            evidence=top.items("evidence", ProbeResult.from_wire, limit=64),
            phases=top.items("phases", Phase.from_wire, limit=MAX_PHASES),
        )
        top.done()
        return job


@dataclass(frozen=True)
class Stored:
    """One sealed outcome. `state` is what the order's reply says."""

    order: str
    state: State
    envelope: dict[str, Any]


@dataclass(frozen=True)
class Epoch:
    """The highest epoch of one order key, with the signed order that proves it."""

    key: str
    epoch: int
    order: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The whole persistent state of a device; every list is bounded, oldest first."""

    device: str
    repo_id: str
    current: str
    """the slot whose image runs"""
    slots: tuple[Slot, ...]
    floor_clock: datetime
    job: Job | None = None
    outcomes: tuple[Stored, ...] = ()
    marks: tuple[AttemptMark, ...] = ()
    spent: tuple[Spent, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    floor: int = 0
    release_counters: tuple[tuple[str, int], ...] = ()
    counter: int = 0

    def slot(self, name: str) -> Slot:
        return next(slot for slot in self.slots if slot.name == name)

    @property
    def image(self) -> Image:
        """The image that runs. The current slot always holds one (I1)."""
        found = self.slot(self.current).image
        if found is None:
            raise ValueError("the current slot holds no image")
        return found

    @property
    def standby(self) -> Slot:
        return next(slot for slot in self.slots if slot.name != self.current)

    def outcome(self, order: str) -> Stored | None:
        return next((stored for stored in reversed(self.outcomes) if stored.order == order), None)

    def to_wire(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "repoId": self.repo_id,
            "current": self.current,
            "slots": [slot.to_wire() for slot in self.slots],
            "floorClock": format_time(self.floor_clock),
            "job": self.job.to_wire() if self.job else None,
            "outcomes": [{"order": o.order, "state": o.state, "envelope": o.envelope} for o in self.outcomes],
            "marks": [mark.to_wire() for mark in self.marks],
            "spent": [spent.to_wire() for spent in self.spent],
            "epochs": [{"key": e.key, "epoch": e.epoch, "order": e.order} for e in self.epochs],
            "floor": self.floor,
            "releaseCounters": [{"version": version, "counter": count} for version, count in self.release_counters],
            "counter": self.counter,
        }

    @classmethod
    def from_wire(cls, value: object) -> Record:
        top = Fields(value, "journal")
        job = top.take("job")
        record = cls(
            device=top.text("device", ID),
            repo_id=top.text("repoId", ID),
            current=top.text("current", WORD),
            slots=top.items("slots", Slot.from_wire, limit=8),
            floor_clock=top.time("floorClock"),
            job=None if job is None else Job.from_wire(job),
            outcomes=top.items("outcomes", _stored, limit=MAX_OUTCOMES),
            marks=top.items("marks", AttemptMark.from_wire, limit=MAX_MARKS),
            spent=top.items("spent", Spent.from_wire, limit=MAX_MARKS),
            epochs=top.items("epochs", _epoch, limit=MAX_KEYS),
            floor=top.integer("floor"),
            release_counters=top.items("releaseCounters", _release_counter, limit=MAX_MARKS),
            counter=top.integer("counter"),
        )
        top.done()
        return record


def _moment_to_wire(moment: Moment) -> dict[str, Any]:
    return {"wall": format_time(moment.wall), "boot": moment.boot, "tick": moment.tick}


def _moment(value: object) -> Moment:
    top = Fields(value, "moment")
    moment = Moment(top.time("wall"), top.text("boot", WORD), top.integer("tick"))
    top.done()
    return moment


def _stored(value: object) -> Stored:
    top = Fields(value, "outcome")
    state = cast(State, top.choice("state", STATES))
    stored = Stored(matching(DIGEST_FORM, "order")(top.take("order")), state, _object(top.take("envelope")))
    top.done()
    return stored


def _epoch(value: object) -> Epoch:
    top = Fields(value, "epoch")
    epoch = Epoch(top.text("key"), top.integer("epoch"), _object(top.take("order")))
    top.done()
    return epoch


def _release_counter(value: object) -> tuple[str, int]:
    top = Fields(value, "releaseCounter")
    found = top.text("version", VERSION), top.integer("counter")
    top.done()
    return found


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Fields({}, "journal").refuse("envelope", "must be an object")
    return value
