"""What `status` shows of a rollout, in a size that does not grow with the fleet.

A pass writes summaries into the ledger while it runs and when it ends; `status` shows one as current only where nothing
can have changed since: same commit, same revision of the ledger, and no moment passed at which time alone would change
what it says (`valid_until`). It is light to import, because it is what a shell waits for; `summarising` makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from fwctl.trust.expiry import Thing

FORM = 1
"""of what the ledger keeps; another one is not read"""
FLEET = ""
"""the key under which the ledger keeps the summary of the whole commit"""
ATTENTION: Final = ("failed", "straggler", "retry")
"""states of devices that somebody should know of"""

RolloutResult = Literal[
    "waiting",
    "progressing",
    "complete",
    "paused",
    "held",
    "stopped",
    "aborted",
    "rolling-back",
    "rolled-back",
    "not-approved",
]
WaveStateWord = Literal["waiting", "open", "switching", "soaking", "passed", "failed"]


@dataclass(frozen=True, slots=True)
class Named:
    """Where one device stands, and why: a `Standing` as it is shown."""

    device: str
    state: str
    reason: str
    due: datetime | None
    rule: str
    klass: str | None


@dataclass(frozen=True)
class WaveSummary:
    """One wave: where it stands, since when, why it does not move, and who needs somebody."""

    name: str
    stage: int
    size: int
    soak: int
    """seconds"""
    state: WaveStateWord
    reason: str
    counts: Mapping[str, int]
    attention: tuple[Named, ...]
    """the first that failed, are stragglers or are tried again"""
    under_way: tuple[Named, ...]
    """the first that are in flight"""
    opened: datetime | None = None
    soak_since: datetime | None = None
    judged: datetime | None = None
    region: str = ""
    track: str = ""
    """waves of one track go one after another"""
    window: str = ""
    """of its region: whether it is open, and until when; empty where it has none, or is over"""

    @property
    def soak_until(self) -> datetime | None:
        return self.soak_since + timedelta(seconds=self.soak) if self.soak_since else None

    @property
    def needy(self) -> int:
        """How many devices somebody should know of."""
        return sum(self.counts.get(state, 0) for state in ATTENTION)


@dataclass(frozen=True, slots=True)
class LimitSummary:
    """How many devices one limit holds."""

    limit: str
    value: str
    waiting: int
    note: str = ""
    until: datetime | None = None


@dataclass(frozen=True)
class BackSummary:
    """How a rollout goes back, or went; times in seconds, over the devices that were in reach all along."""

    since: datetime
    deadline: int
    met: bool | None
    devices: int
    waiting: int
    p50: float | None
    p95: float | None
    longest: float | None
    late: Mapping[str, float]
    """the first of those that were out of reach meanwhile, with their times"""
    late_devices: int
    late_longest: float | None


@dataclass(frozen=True)
class Summary:
    """One rollout: what git wants, how far it is approved, where its devices stand."""

    key: str
    model: str
    version: str
    plan: str
    mandate: str
    """empty: it has no lock"""
    state: RolloutResult
    reason: str
    rule: str
    since: datetime | None
    """since when the ledger has this state, under this mandate"""
    approved_stage: int
    stages: int
    approvers: tuple[str, ...] | None
    """None: nobody could judge"""
    stale: tuple[str, ...]
    size: int
    counts: Mapping[str, int]
    waves: tuple[WaveSummary, ...]
    back: BackSummary | None
    next_due: datetime | None
    devices: tuple[Named, ...] | None
    """all of them, where they are few"""
    at: datetime
    valid_until: datetime | None
    """what it says is true until then, if nothing is written into the ledger"""
    set_aside: tuple[str, ...] = ()
    """rules of guard rails that do not hold for it, with the reasons"""
    limits: tuple[LimitSummary, ...] = ()
    """that hold devices now"""

    @property
    def wants_approval(self) -> bool:
        """The next wave that has not passed needs a stage that nobody has approved."""
        here: dict[str, WaveSummary] = {}
        for wave in self.waves:
            if wave.state != "passed":
                here.setdefault(wave.track, wave)
        return any(wave.stage > self.approved_stage for wave in here.values())


@dataclass(frozen=True)
class FleetSummary:
    """The commit that a pass works on."""

    repo_id: str
    devices: int
    rollouts: tuple[str, ...]
    """keys, in the order in which they are shown"""
    pin: str
    """digest of the root of trust that everything was verified from"""
    ends: tuple[Thing, ...] = ()
    """what ends by itself: metadata, approvals that count, certificates on the machine that reconciles"""


def pin(root: str) -> str:
    """Return what tells one root of trust from another."""
    return hashlib.sha256(root.encode()).hexdigest()


def to_json(value: Summary | FleetSummary) -> dict[str, Any]:
    """Return what the ledger keeps."""
    return {"form": FORM, **_plain(value)}  # what FORM 1 did not have at first may be missing when it is read


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def fleet_from_json(body: Mapping[str, Any]) -> FleetSummary | None:
    """Return what `to_json` wrote; None if another release of fwctl wrote it in its own form."""
    if body.get("form") != FORM:
        return None
    ends = tuple(Thing(**(one | _moments(one, "expires", "begins"))) for one in body.get("ends", ()))
    return FleetSummary(body["repo_id"], body["devices"], tuple(body["rollouts"]), body["pin"], ends)


def from_json(body: Mapping[str, Any]) -> Summary | None:
    """Return what `to_json` wrote; None if another release of fwctl wrote it in its own form."""
    if body.get("form") != FORM:
        return None
    given = {name: value for name, value in body.items() if name != "form"}
    given |= _moments(given, "since", "next_due", "at", "valid_until")
    approvers, back, devices = given["approvers"], given["back"], given["devices"]
    given["approvers"] = None if approvers is None else tuple(approvers)
    given["stale"] = tuple(given["stale"])
    given["set_aside"] = tuple(given.get("set_aside", ()))
    given["limits"] = tuple(LimitSummary(**(one | _moments(one, "until"))) for one in given.get("limits", ()))
    given["waves"] = tuple(_wave(one) for one in given["waves"])
    given["back"] = None if back is None else BackSummary(**(back | _moments(back, "since")))
    given["devices"] = None if devices is None else _named(devices)
    return Summary(**given)


def _wave(body: Mapping[str, Any]) -> WaveSummary:
    listed = {name: _named(body[name]) for name in ("attention", "under_way")}
    return WaveSummary(**{**body, **listed, **_moments(body, "opened", "soak_since", "judged")})


def _named(listed: list[dict[str, Any]]) -> tuple[Named, ...]:
    return tuple(Named(**(one | _moments(one, "due"))) for one in listed)


def _moments(body: Mapping[str, Any], *names: str) -> dict[str, datetime | None]:
    return {name: datetime.fromisoformat(body[name]) if body[name] else None for name in names}
