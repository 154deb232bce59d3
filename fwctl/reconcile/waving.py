"""Waves and ways back as `status`, `explain` and `rollout report` show them. Nothing is judged anew here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import accumulate

from fwctl.reconcile.summary import ATTENTION, WaveStateWord
from fwctl.rollouts.board import Board
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.regions import window_words
from fwctl.rollouts.standing import Standing
from fwctl.state import EventRow, Ledger, WaveRow
from fwctl.state.returns import out_of_reach, returned, returned_after

_PAGE = 500
NAMED = 20
"""devices of a wave that are told by name"""
INTERRUPTED = ("paused", "held", "stopped", "aborted", "rolling-back", "rolled-back")
"""states that somebody or some rule brought a rollout to"""


@dataclass(frozen=True)
class WaveLine:
    """One wave: where it stands, since when, why it does not move, how many stand how, and some by name."""

    wave: Wave
    state: WaveStateWord
    reason: str
    counts: Mapping[str, int]
    needy: Sequence[Standing] = ()
    flying: Sequence[Standing] = ()
    opened: datetime | None = None
    soak_since: datetime | None = None
    judged: datetime | None = None
    window: str = ""
    """of its region: whether it is open, and until when; empty where it has none, or is over"""

    @property
    def soak_until(self) -> datetime | None:
        return self.soak_since + timedelta(seconds=self.wave.soak) if self.soak_since else None


def wave_lines(board: Board, holdings: Mapping[str, str], rows: Iterable[WaveRow] = ()) -> tuple[WaveLine, ...]:
    """Return the waves of a plan; `holdings` says why the current ones do not move.

    `rows` bring the times of those that were opened.
    """
    known = {row.wave: row for row in rows}
    holdings = {} if board.back else holdings
    needy, flying = board.first(ATTENTION, NAMED), board.first(("in-flight",), NAMED)
    return tuple(
        replace(
            _line(board, number, known.get(wave.name), holdings.get(wave.name, "")),
            needy=needy[number],
            flying=flying[number],
            window=_window(board, wave),
        )
        for number, wave in enumerate(board.plan.all_waves)
    )


def _line(board: Board, number: int, row: WaveRow | None, holding: str) -> WaveLine:
    wave, hold, counts = board.plan.all_waves[number], board.holds[number], board.counts.standing(number)
    at = board.rollout.waves.get(wave.name)
    state: WaveStateWord = at.state if at else "waiting"
    reason = at.reason if at and at.state in ("passed", "failed") else ""
    if state in ("waiting", "open", "soaking"):
        reason = holding or reason
    if state == "waiting" and not reason and hold is not None and counts["held"]:
        reason = hold.reason
    if row is None:
        return WaveLine(wave, state, reason, counts, soak_since=at.soak_since if at else None)
    line = WaveLine(wave, state, reason, counts)
    return replace(line, opened=row.opened_at, soak_since=row.soak_since, judged=row.judged_at)


def _window(board: Board, wave: Wave) -> str:
    at = board.rollout.waves.get(wave.name)
    over = board.back or (at is not None and at.state in ("passed", "failed"))
    return "" if over or not wave.region else window_words(board.plan, wave, board.now)


@dataclass(frozen=True)
class WayBack:
    """How a rollout goes back, or went: counts by standing and the measured times."""

    since: datetime
    deadline: int
    """seconds, as declared"""
    times: Mapping[float, int]
    """seconds from the beginning to the settled revert order -> how many devices; those in reach all along"""
    late: Mapping[str, float]
    """device -> the same, for those that were out of reach meanwhile: the deadline does not speak of them"""
    waiting: int
    """reachable devices that are still on their way"""
    now: datetime

    @cached_property
    def devices(self) -> int:
        """How many in reach all along are back."""
        return sum(self.times.values())

    def quantile(self, share: float) -> float | None:
        """Return the time within which this share of the devices was back (nearest rank)."""
        rank = max(1, -(-self.devices * round(share * 100) // 100))
        so_far = accumulate(self.times[seconds] for seconds in sorted(self.times))
        return next((time for time, number in zip(sorted(self.times), so_far, strict=True) if number >= rank), None)

    @property
    def longest(self) -> float | None:
        return max(self.times, default=None)

    @property
    def met(self) -> bool | None:
        """Whether the deadline held; None while that is still open, or where nothing had to go back."""
        if (self.longest or 0) > self.deadline:
            return False
        if self.waiting:
            return False if (self.now - self.since).total_seconds() > self.deadline else None
        return True if self.times else None


def way_back(ledger: Ledger, plan: Plan, since: datetime, mandate: str, waiting: int, now: datetime) -> WayBack:
    """Measure a way back from the recorded start to each settled revert or cancel order (whole seconds).

    SQLite sums up; only devices that came after the deadline are asked for by name.
    """
    deadline = plan.spec.rollback.deadline
    times = Counter(returned(ledger, mandate, since))
    after = returned_after(ledger, mandate, since, since + timedelta(seconds=deadline))
    away = out_of_reach(ledger, since, after)
    late = {device: (end - since).total_seconds() for device, end in after.items() if device in away}
    times.subtract(Counter(after[device] for device in late))
    left = {(end - since).total_seconds(): number for end, number in times.items() if number > 0}
    return WayBack(since, deadline, left, late, waiting, now)


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
