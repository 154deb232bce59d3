"""Everything that a device must not forget, as one frozen value; what the journal stores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from fwctl_agent.protocol.canonical import Written, written, written_list
from fwctl_agent.protocol.fields import DIGEST as DIGEST_FORM
from fwctl_agent.protocol.fields import ID, VERSION, WORD, Fields, format_time, matching
from fwctl_agent.protocol.messages import STATES, AttemptMark, Spent, State
from fwctl_agent.runtime.images import Image, Slot
from fwctl_agent.runtime.job import Job

MAX_OUTCOMES: Final = 32
MAX_MARKS: Final = 256
MAX_KEYS: Final = 16


@dataclass(frozen=True)
class Stored(Written):
    """One sealed outcome. `state` is what the order's reply says."""

    order: str
    state: State
    envelope: dict[str, Any]

    def to_wire(self) -> dict[str, Any]:
        return {"order": self.order, "state": self.state, "envelope": self.envelope}


@dataclass(frozen=True)
class Epoch(Written):
    """The highest epoch of one order key, with the signed order that proves it."""

    key: str
    epoch: int
    order: dict[str, Any]

    def to_wire(self) -> dict[str, Any]:
        return {"key": self.key, "epoch": self.epoch, "order": self.order}


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
            "outcomes": [stored.to_wire() for stored in self.outcomes],
            "marks": [mark.to_wire() for mark in self.marks],
            "spent": [spent.to_wire() for spent in self.spent],
            "epochs": [epoch.to_wire() for epoch in self.epochs],
            "floor": self.floor,
            "releaseCounters": [{"version": version, "counter": count} for version, count in self.release_counters],
            "counter": self.counter,
        }

    @property
    def written(self) -> bytes:
        """The form of `to_wire` for the journal, put together from parts that most changes leave as they are."""
        before = written({"device": self.device, "repoId": self.repo_id, "current": self.current})
        counters = [{"version": version, "counter": count} for version, count in self.release_counters]
        text = (
            f'{before[:-1]},"slots":{written_list(self.slots)},"floorClock":"{format_time(self.floor_clock)}",'
            f'"job":{self.job.written if self.job else "null"},"outcomes":{written_list(self.outcomes)},'
            f'"marks":{written_list(self.marks)},"spent":{written_list(self.spent)},"epochs":{written_list(self.epochs)},'
            f'"floor":{self.floor},"releaseCounters":{written(counters)},"counter":{self.counter}}}'
        )
        return text.encode()

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
