"""Waves and ways back as `status`, `explain` and `rollout report` show them. Nothing is judged anew here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fwctl.reconcile.summary import WaveStateWord
from fwctl.rollouts.decide import Decision
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView
from fwctl.rollouts.waves import current
from fwctl.state import EventRow, Ledger, OrderStatus, WaveRow

_PAGE = 500
INTERRUPTED = ("paused", "held", "stopped", "aborted", "rolling-back", "rolled-back")
"""states that somebody or some rule brought a rollout to"""


@dataclass(frozen=True)
class WaveLine:
    """One wave: where it stands, since when, and why it does not move."""

    wave: Wave
    state: WaveStateWord
    reason: str
    standings: tuple[Standing, ...]
    opened: datetime | None = None
    soak_since: datetime | None = None
    judged: datetime | None = None

    @property
    def soak_until(self) -> datetime | None:
        return self.soak_since + timedelta(seconds=self.wave.soak) if self.soak_since else None

    @property
    def counts(self) -> Counter[str]:
        return Counter(standing.state for standing in self.standings)


def wave_lines(plan: Plan, view: RolloutView, decision: Decision, rows: Iterable[WaveRow] = ()) -> tuple[WaveLine, ...]:
    """Return the waves of a plan; `rows` bring the times of those that were opened."""
    known = {row.wave: row for row in rows}
    here = current(plan, view)
    return tuple(
        _line(wave, view, decision, known.get(wave.name), here=here is not None and here.name == wave.name)
        for wave in plan.waves
    )


def _line(wave: Wave, view: RolloutView, decision: Decision, row: WaveRow | None, *, here: bool) -> WaveLine:
    standings = tuple(decision.standings[device] for device in wave.devices if device in decision.standings)
    at = view.waves.get(wave.name)
    state: WaveStateWord = at.state if at else "waiting"
    reason = at.reason if at and at.state in ("passed", "failed") else ""
    if here and view.back_since is None and state in ("waiting", "open", "soaking"):
        reason = decision.holding or reason
    if state == "waiting" and not reason:
        reason = next((one.reason for one in standings if one.state == "held"), "")
    if row is None:
        return WaveLine(wave, state, reason, standings, soak_since=at.soak_since if at else None)
    return WaveLine(wave, state, reason, standings, row.opened_at, row.soak_since, row.judged_at)


@dataclass(frozen=True)
class WayBack:
    """How a rollout goes back, or went: counts by standing and the measured times."""

    since: datetime
    deadline: int
    """seconds, as declared"""
    times: Mapping[str, float]
    """device -> seconds from the beginning to its settled revert order; those in reach all along"""
    late: Mapping[str, float]
    """the same for devices that were out of reach meanwhile: the deadline does not speak of them"""
    waiting: int
    """reachable devices that are still on their way"""
    now: datetime

    def quantile(self, share: float) -> float | None:
        """Return the time within which this share of the devices was back (nearest rank)."""
        times = sorted(self.times.values())
        return times[max(0, -(-len(times) * round(share * 100) // 100) - 1)] if times else None

    @property
    def longest(self) -> float | None:
        return max(self.times.values(), default=None)

    @property
    def met(self) -> bool | None:
        """Whether the deadline held; None while that is still open, or where nothing had to go back."""
        if (self.longest or 0) > self.deadline:
            return False
        if self.waiting:
            return False if (self.now - self.since).total_seconds() > self.deadline else None
        return True if self.times else None


def way_back(
    ledger: Ledger,
    plan: Plan,
    since: datetime,
    mandate: str,
    standings: Collection[Standing],
    now: datetime,
) -> WayBack:
    """Measure a way back from the recorded start to each settled revert or cancel order (whole seconds)."""
    ended: dict[str, datetime] = {}
    for order in ledger.orders(mandate=mandate):
        backwards = order.verb in ("revert", "cancel") and order.failure_class != "refused"
        done = order.finished_at if backwards and order.status is OrderStatus.SETTLED else None
        if done is not None and done >= since:
            ended[order.device] = max(done, ended.get(order.device, done))
    times = {device: (end - since).total_seconds() for device, end in ended.items()}
    deadline = plan.spec.rollback.deadline
    late = {
        device: seconds
        for device, seconds in times.items()
        if seconds > deadline and _was_away(ledger, device, since, ended[device])
    }
    waiting = sum(standing.state == "in-flight" for standing in standings)
    return WayBack(since, deadline, {d: s for d, s in times.items() if d not in late}, late, waiting, now)


def _was_away(ledger: Ledger, device: str, since: datetime, until: datetime) -> bool:
    """Say whether a device was out of reach at any time between two moments, as the ledger has it."""
    away = False
    for event in ledger.events(device=device):
        if event.at > until:
            break
        if event.kind == "device.unreachable":
            away = True
            if event.at >= since:
                return True
        elif event.kind in ("device.reachable", "device.seen") and event.at < since:
            away = False
    return away


def why_stopped(ledger: Ledger, key: str, mandate: str) -> EventRow | None:
    """Return the event that stopped a rollout or sent it back: what became of it later does not tell the rule."""
    kinds = ("rollout.rolling-back", "rollout.stopped", "rollout.aborted", "rollout.held", "rollout.paused")
    before: int | None = None
    while page := ledger.latest_events(limit=_PAGE, before=before, rollout=key):
        for event in page:
            if event.kind in kinds and event.data.get("mandate") == mandate:
                return event
        before = page[-1].seq
    return None
