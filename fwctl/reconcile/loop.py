"""`reconcile --once`: rounds of decide and execute until nothing is due or the time is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf
from typing import assert_never

from fwctl.errors import FwctlError
from fwctl.reconcile import records
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.finishing import finish_leftover
from fwctl.reconcile.images import STORAGE_CODES
from fwctl.reconcile.leftovers import Leftovers
from fwctl.reconcile.reports import PassReport, RolloutReport
from fwctl.reconcile.setting import LEASE_TTL
from fwctl.reconcile.summarising import paused, stored, stored_fleet, summarise
from fwctl.reconcile.summary import Summary
from fwctl.reconcile.sweep import SWEEP, Sweeper, next_sweep_due
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.reconcile.views import Live
from fwctl.reconcile.visit import Visitor
from fwctl.rollouts.actions import Finish, GoBack, MoveWave, Quarantine, Stop, Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import Decision, decide_on
from fwctl.rollouts.standing import FINAL
from fwctl.rollouts.view import RolloutView
from fwctl.state import (
    BatchWriter,
    Lease,
    Ledger,
    Quarantined,
    RolloutState,
    SetMeta,
    SummaryStored,
)
from fwctl.trust.expiry import Thing

RENEW_SECONDS = 20.0
"""every write is fenced; renewing only keeps others from waiting for a lease that has expired"""
_IDLE_SLEEP = 0.5
ROUND_SECONDS = 0.2
"""least time between two decisions while visits run"""
SUMMARY_SECONDS = 5.0
"""least time between two summaries while the pass runs; `status` believes one for 30 s"""
LEFTOVER_SECONDS = 1.0
"""least time between two looks for what was left behind"""
LEFTOVERS = "(leftovers)"
"""stands in place of a rollout where visits are kept by rollout, as `SWEEP` does"""

STOPS = {"refused": RolloutState.HELD, "paused": RolloutState.PAUSED, "aborted": RolloutState.ABORTED}
"""a stop by any other rule is a gate that failed"""
ENDS = {
    "complete": RolloutState.COMPLETE,
    "failed": RolloutState.STOPPED,
    "rolled-back": RolloutState.ROLLED_BACK,
}


@dataclass
class _Running:
    """One rollout as the pass keeps it: what the ledger says, where everybody stands, what was decided last."""

    prepared: Prepared
    live: Live
    board: Board
    view: RolloutView
    decision: Decision


Key = tuple[str, str]
"""(rollout, device)"""


@dataclass
class Loop:
    """One pass over one commit. The caller holds the lease and the open ledger.

    There is no barrier between rounds: while slow devices are still being visited, what the others brought is judged,
    and a rollback that it asks for begins at once. A round costs what has changed since the last one, not the fleet.
    """

    state: CommitState
    ledger: Ledger
    lease: Lease
    writer: BatchWriter
    tools: Tools
    deadline: datetime
    pinned: str
    """the root of trust that the commit was verified from"""
    certificates: tuple[Thing, ...] = ()
    """those on this machine, with their ends, for `status` to warn of"""
    stopping: Callable[[], bool] = lambda: False
    only: str | None = None
    """the one rollout that a person's word must not wait for: it is stopped or taken back; nothing goes forward"""
    visits: int = 0
    failed: dict[str, FwctlError] = field(default_factory=dict)
    """rollouts whose image is not to be had: they wait, the others go on"""
    active: dict[Key, asyncio.Task[None]] = field(default_factory=dict)
    running: dict[str, _Running] = field(default_factory=dict)
    sweeper: Sweeper = field(init=False)
    leftovers: Leftovers = field(init=False)
    _renewed: float = field(default_factory=time.monotonic)
    _looked_back: float = -inf
    _tell_at: float = field(default_factory=lambda: time.monotonic() + SUMMARY_SECONDS)
    _trusted_until: datetime | None = None

    def __post_init__(self) -> None:
        self.sweeper = Sweeper(self.tools)
        self.leftovers = Leftovers(self.ledger, self.state)

    async def run(self) -> PassReport:
        """Work until nothing is due, or until the deadline; what is under way then is brought to a resting point.

        Raises:
            FwctlError: the ledger, the storage or the lease failed; everything decided so far is recorded.
        """
        started = self.tools.clock()
        self._trusted_until = self.state.authority.next_change(started)
        await self._open(started)
        pace = asyncio.create_task(self.tools.lanes.pace())
        try:
            while await self._round():
                await self._keep_lease()
                await self._tell(self.tools.clock())
        finally:
            for task in (pace, *self.active.values()):
                task.cancel()
            await asyncio.gather(pace, *self.active.values(), return_exceptions=True)
        for error in self.failed.values():
            raise error
        finished = self.tools.clock()
        revision, summaries = self._summaries(finished)
        applied = SetMeta(at=finished, key="last_applied_commit", value=self.state.commit)
        # A part of a commit is not the commit.
        undone = any(one.decision.actions and one.prepared.mandate for one in self.running.values())
        # Out of time, or told to stop: what is decided and not done is the work of the next pass, which must not rest.
        looks = finished if undone else self._next_look(finished)
        stored = self._stored(summaries, revision, finished, looks=looks)
        await self.writer.write(*([applied] if self.only is None else []), *stored)
        reports, swept = tuple(map(RolloutReport.of, summaries)), self.sweeper.swept
        visits = self.visits + swept.devices  # a look is left out when a rollout was quicker
        return PassReport(self.state.commit, self.lease.epoch, visits, reports, started, finished, swept)

    def _next_look(self, now: datetime) -> datetime | None:
        """Return when a device is due next that no rollout asks for."""
        moments = (next_sweep_due(self.ledger, self.state, now), self.leftovers.next_due())
        return min((moment for moment in moments if moment is not None), default=None)

    async def _keep_lease(self) -> None:
        if time.monotonic() - self._renewed >= RENEW_SECONDS:
            self._renewed = time.monotonic()
            await asyncio.to_thread(self.lease.renew, self.tools.clock(), LEASE_TTL)

    async def _round(self) -> bool:
        """Decide once and start what is to be done; False when the pass is over."""
        self._reap()
        now, begun = self.tools.clock(), time.monotonic()
        work, acted = self._work(now), False
        over = now >= self.deadline or self._outdated(now) or self.stopping()
        for one in () if over else work:
            acted = await self._act(one, now) or acted
        if not over and self.only is None and begun - self._looked_back >= LEFTOVER_SECONDS:
            self._looked_back = begun
            self._begin_leftovers(now)
        moving = any(not isinstance(action, Visit) for one in work for action in one.decision.actions)
        if not over and not moving and self.only is None:
            self._begin_sweep(now)
        if self.active:
            # Deciding takes a fifth of the loop's time at the most.
            await self._settle(max(ROUND_SECONDS, 4 * (time.monotonic() - begun)))
            return True
        if over:
            return False
        return acted or await self._pause(work, now)

    def _rollouts(self) -> list[Prepared]:
        """Return the rollouts that this pass is about."""
        return [one for key, one in self.state.rollouts.items() if self.only in (None, key)]

    def _reap(self) -> None:
        """Forget finished visits; one that failed for a reason of ours ends the pass."""
        for key, task in list(self.active.items()):
            if task.done():
                del self.active[key]
                self._take(key[0], task)

    def _take(self, rollout: str, task: asyncio.Task[None]) -> None:
        try:
            task.result()
        except FwctlError as error:
            if error.code not in STORAGE_CODES:
                raise
            self.failed[rollout] = error  # its image is damaged: this rollout waits, the others go on

    async def _settle(self, seconds: float) -> None:
        """Give running visits a moment; if all of them end within it, go on at once."""
        if self.active:
            await asyncio.wait(self.active.values(), timeout=seconds)

    async def _open(self, now: datetime) -> None:
        """Say in the ledger which rollouts this commit has, before anything is sent for them."""
        for prepared in self._rollouts():
            row = self.ledger.rollout(prepared.key)
            mandate = prepared.mandate.id if prepared.mandate else ""
            if row is None or row.mandate != mandate:
                state = RolloutState.WAITING
                await self._move(prepared, state, prepared.not_approved or "it may start", now)
            elif row.state is RolloutState.PROGRESSING and not prepared.approved_stage and row.back_since is None:
                await self._move(prepared, RolloutState.WAITING, paused(prepared, begun=True), now)

    def _outdated(self, now: datetime) -> bool:
        """Say whether time has changed what is trusted or approved since the commit was read."""
        return self._trusted_until is not None and now >= self._trusted_until

    def _view(self, rollout: str) -> RolloutView:
        """Return what a visit decides by: nothing new begins on approvals that have ended meanwhile."""
        view = self.running[rollout].view
        if not self._outdated(self.tools.clock()):
            return view
        return replace(view, approved_stage=0, not_approved="what is trusted has changed with time")

    def _decide_all(self, now: datetime) -> list[_Running]:
        """Bring every rollout up to date with the ledger and decide on it."""
        news = frozenset(self.tools.news)
        self.tools.news.clear()
        return [self._decide(prepared, news, now) for prepared in self._rollouts()]

    def _decide(self, prepared: Prepared, news: frozenset[str], now: datetime) -> _Running:
        members = prepared.plan.wave_of
        visiting = frozenset(device for _, device in self.active if device in members)
        one = self.running.get(prepared.key)
        live, board = (one.live, one.board) if one else (Live(self.ledger, prepared), Board(prepared.plan))
        view, changed = live.look(news, visiting)
        board.update(view, changed, now)
        self.running[prepared.key] = _Running(prepared, live, board, view, decide_on(board))
        return self.running[prepared.key]

    def _work(self, now: datetime) -> list[_Running]:
        """Decide, and return the rollouts that something may be done about, with what goes back first."""
        work = [one for one in self._decide_all(now) if one.prepared.mandate and one.prepared.key not in self.failed]
        for one in work if self.only is not None else ():
            if one.view.back_since is None:
                stops = tuple(action for action in one.decision.actions if isinstance(action, Stop | GoBack))
                one.decision = Decision(stops, {}, None)
        # It is what somebody is waiting for.
        return sorted(work, key=lambda one: one.view.back_since is None)

    async def _act(self, one: _Running, now: datetime) -> bool:
        """Do what was decided; visits go on in the background."""
        visits: list[str] = []
        for action in one.decision.actions:
            match action:
                case Visit(device=device):
                    visits.append(device)
                case Stop(rule=rule, reason=reason):
                    await self._move(one.prepared, STOPS.get(rule, RolloutState.STOPPED), reason, now, rule=rule)
                case GoBack(rule=rule, reason=reason, keeps=keeps):
                    await self._move(one.prepared, RolloutState.ROLLING_BACK, reason, now, rule=rule, keeps=keeps)
                case MoveWave():
                    await self.writer.write(records.wave_moved(one.prepared, action, now))
                case Quarantine(device=device, reason=reason):
                    change = Quarantined(at=now, device=device, reason=reason, rollout=one.prepared.key)
                    await Recorder(self.tools, device).write(change)
                case Finish(state=state, reason=reason):
                    await self._move(one.prepared, ENDS[state], reason, now)
                case _:
                    assert_never(action)
        if visits:
            await self._begin(one, visits, now)
        return bool(one.decision.actions)

    async def _begin(self, one: _Running, devices: list[str], now: datetime) -> None:
        prepared = one.prepared
        # A missing image is ours, not the devices' failure: say so before the first of them is contacted.
        try:
            if one.view.back_since is None:
                for release in (*prepared.plan.stops, prepared.plan.release):
                    await self.tools.images.stat(release.image)
        except FwctlError as error:
            self.failed[prepared.key] = error
            return
        row = self.ledger.rollout(prepared.key)
        resting = (RolloutState.WAITING, RolloutState.COMPLETE, RolloutState.PAUSED)
        may = one.view.finished is None and not one.view.stopped and one.view.approved_stage > 0
        if row is not None and row.state in resting and may:
            await self._move(prepared, RolloutState.PROGRESSING, f"{len(devices)} devices are due", now)
        if prepared.mandate is None:
            raise TypeError("a rollout without a lock sends nothing")
        visitor = Visitor(self.tools, prepared, prepared.mandate, lambda: self._view(prepared.key))
        open_ = sum(number for state, number in one.decision.counts.items() if state not in FINAL)
        self.tools.watcher.opened(prepared.key, open_)
        # One visit at a time: who is called for another reason is decided on again after it.
        busy = {device for _, device in self.active}
        free = [device for device in devices if device not in busy]
        self.visits += len(free)
        for device in free:
            self.active[prepared.key, device] = asyncio.create_task(visitor.visit(device))

    def _begin_leftovers(self, now: datetime) -> None:
        busy = {device for _, device in self.active}
        for leftover in self.leftovers.due(busy, now):
            self.visits += 1
            visit = asyncio.create_task(finish_leftover(self.tools, leftover))
            self.active[LEFTOVERS, leftover.row.device] = visit

    def _begin_sweep(self, now: datetime) -> None:
        if self.sweeper.has_room(now, beside=len(self.active) > len(self.sweeper.under_way)):
            busy = {device for _, device in self.active}
            for device in self.sweeper.take(lambda device: device in busy or self._wanted(device)):
                self.active[SWEEP, device] = asyncio.create_task(self.sweeper.look(device))

    def _wanted(self, device: str) -> bool:
        """Say whether a rollout is about to visit a device, or waits for it: it is seen then anyway."""
        at_work = (one.board for one in self.running.values() if one.prepared.mandate)
        return any(device in board and board[device].state in ("pending", "retry", "in-flight") for board in at_work)

    async def _pause(self, work: list[_Running], now: datetime) -> bool:
        """Sleep until the next thing is due, if that is before the deadline; False when the pass is over."""
        due = min((soon for one in work if (soon := one.decision.soon(now))), default=None)
        if due is None or due >= self.deadline:
            return False
        await asyncio.sleep(min(max((due - now).total_seconds(), 0.05), _IDLE_SLEEP))
        return True

    async def _move(
        self,
        prepared: Prepared,
        state: RolloutState,
        reason: str,
        now: datetime,
        *,
        rule: str = "",
        keeps: bool = False,
    ) -> None:
        await self.writer.write(records.moved(prepared, self.state.commit, state, reason, now, rule=rule, keeps=keeps))

    async def _tell(self, now: datetime) -> None:
        """Write down now and then where the rollouts stand, for whoever looks while the pass runs."""
        if time.monotonic() >= self._tell_at:
            begun = time.monotonic()
            revision, summaries = self._summaries(now)
            # Whoever is due for a look is left for the end of the pass to find out: until then, somebody is.
            await self.writer.write(*self._stored(summaries, revision, now, looks=now))
            self._tell_at = time.monotonic() + max(SUMMARY_SECONDS, 20 * (time.monotonic() - begun))

    def _summaries(self, now: datetime) -> tuple[int, list[Summary]]:
        """Sum up every rollout that the pass is about; return the revision of the ledger that all of it rests on."""
        revision = self.ledger.revision()  # first: what is written meanwhile only makes the summaries older
        return revision, [
            summarise(one.prepared, one.view, one.decision, self.ledger, now, trust_until=self._trusted_until)
            for one in self._decide_all(now)
        ]

    def _stored(
        self, summaries: list[Summary], revision: int, now: datetime, *, looks: datetime | None
    ) -> Iterator[SummaryStored]:
        """Yield what to write down; `looks` is when the next device is due for a look."""
        yield stored_fleet(
            self.state,
            pinned=self.pinned,
            certificates=self.certificates,
            now=now,
            revision=revision,
            looks=looks,
        )
        yield from (stored(one, commit=self.state.commit, revision=revision) for one in summaries)
