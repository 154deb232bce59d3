"""The newest install order and how far it has come, as the journal stores it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from fwctl_agent.protocol.canonical import written, written_list
from fwctl_agent.protocol.fields import WORD, Fields, format_time
from fwctl_agent.protocol.messages import STATES, State
from fwctl_agent.protocol.statements import (
    InstallOrder,
    Phase,
    ProbeResult,
    Release,
    RunningImage,
    order_from_wire,
)
from fwctl_agent.runtime.images import Image
from fwctl_agent.runtime.ports import Moment

MAX_ALSO: Final = 32
MAX_PHASES: Final = 24

Reason = Literal["ordered", "health", "watch", "unconfirmed"]
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
    def held(self) -> bool:
        """True while a staged slot waits for the order to activate it."""
        return self.state == "staged" and not self.activating

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

    @property
    def written(self) -> str:
        """The form of `to_wire`, put together from parts that most changes leave as they are."""
        before = written(
            {
                "rollback": self.rollback,
                "approvedAt": format_time(self.approved_at),
                "state": self.state,
                "since": _moment_to_wire(self.since),
                "slot": self.slot,
                "back": self.back,
            }
        )
        after = written(
            {
                "offset": self.offset,
                "reused": self.reused,
                "starts": self.starts,
                "activating": self.activating,
                "activations": self.activations,
                "also": self.also,
                "confirm": self.confirm,
                "reason": self.reason,
                "code": self.code,
                "probes": self.probes,
                "watching": self.watching,
            }
        )
        return (
            f'{{"order":{self.order.written},"release":{self.release.written},{before[1:-1]},'
            f'"origin":{self.origin.written},{after[1:-1]},'
            f'"evidence":{written_list(self.evidence)},"phases":{written_list(self.phases)}}}'
        )

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
            also=top.digests("also", limit=MAX_ALSO),
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


def _moment_to_wire(moment: Moment) -> dict[str, Any]:
    return {"wall": format_time(moment.wall), "boot": moment.boot, "tick": moment.tick}


def _moment(value: object) -> Moment:
    top = Fields(value, "moment")
    moment = Moment(top.time("wall"), top.text("boot", WORD), top.integer("tick"))
    top.done()
    return moment
