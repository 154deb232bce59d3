"""`reconcile --once`: rounds of decide and execute until nothing is due or the time is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import assert_never

from fwctl.errors import FwctlError
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.summarising import standing_of
from fwctl.reconcile.summary import RolloutResult
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.reconcile.views import Live, rollout_view
from fwctl.reconcile.visit import Visitor, finish_leftover
from fwctl.rollouts.actions import Finish, GoBack, MoveWave, Quarantine, Stop, Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import Decision, decide, decide_on
from fwctl.rollouts.standing import FINAL
from fwctl.rollouts.view import RolloutView
from fwctl.state import (
    BatchWriter,
    Lease,
    Ledger,
    OrderRow,
    Quarantined,
    RolloutMoved,
    RolloutState,
    SetMeta,
    WaveMoved,
    WaveState,
)

LEASE_TTL = timedelta(minutes=10)
RENEW_SECONDS = 20.0
"""every write is fenced; renewing only keeps others from waiting for a lease that has expired"""
STORAGE_CODES = ("E_HASH", "E_STORAGE_MISSING", "E_LENGTH")
_IDLE_SLEEP = 0.5
ROUND_SECONDS = 0.2
"""least time between two decisions while visits run"""
LEFTOVER_SECONDS = 1.0
"""least time between two looks for what earlier plans left behind"""

STOPS = {"refused": RolloutState.HELD, "paused": RolloutState.PAUSED, "aborted": RolloutState.ABORTED}
"""a stop by any other rule is a gate that failed"""
ENDS = {
    "complete": RolloutState.COMPLETE,
    "failed": RolloutState.STOPPED,
    "rolled-back": RolloutState.ROLLED_BACK,
}


@dataclass(frozen=True)
class RolloutReport:
    """Where one rollout stands after the pass."""

    key: str
    state: RolloutResult
    reason: str
    counts: Mapping[str, int]
    next_due: datetime | None


@dataclass(frozen=True)
class PassReport:
    """What a pass did. `visits` is how many devices were contacted."""

    commit: str
    epoch: int
    visits: int
    rollouts: tuple[RolloutReport, ...]
    started: datetime
    finished: datetime

    @property
    def ok(self) -> bool:
        """False if anything stopped or went wrong: exit code 1."""
        return all(report.state in ("waiting", "progressing", "complete") for report in self.rollouts)

    @property
    def next_due(self) -> datetime | None:
        return min((report.next_due for report in self.rollouts if report.next_due), default=None)


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
    stopping: Callable[[], bool] = lambda: False
    only: str | None = None
    """the one rollout that a person's word must not wait for: it is stopped or taken back; nothing goes forward"""
    visits: int = 0
    failed: dict[str, FwctlError] = field(default_factory=dict)
    """rollouts whose image is not to be had: they wait, the others go on"""
    active: dict[Key, asyncio.Task[None]] = field(default_factory=dict)
    running: dict[str, _Running] = field(default_factory=dict)
    _renewed: float = field(default_factory=time.monotonic)
    _looked_back: float = -inf

    async def run(self) -> PassReport:
        """Work until nothing is due, or until the deadline; what is under way then is brought to a resting point.

        Raises:
            FwctlError: the ledger, the storage or the lease failed; everything decided so far is recorded.
        """
        started = self.tools.clock()
        await self._open(started)
        pace = asyncio.create_task(self.tools.lanes.pace())
        try:
            while await self._round():
                await self._keep_lease()
        finally:
            for task in (pace, *self.active.values()):
                task.cancel()
            await asyncio.gather(pace, *self.active.values(), return_exceptions=True)
        for error in self.failed.values():
            raise error
        finished = self.tools.clock()
        if self.only is None:  # a part of a commit is not the commit
            await self.writer.write(SetMeta(at=finished, key="last_applied_commit", value=self.state.commit))
        reports = tuple(self._report(prepared, finished) for prepared in self._rollouts())
        return PassReport(self.state.commit, self.lease.epoch, self.visits, reports, started, finished)

    async def _keep_lease(self) -> None:
        if time.monotonic() - self._renewed >= RENEW_SECONDS:
            self._renewed = time.monotonic()
            await asyncio.to_thread(self.lease.renew, self.tools.clock(), LEASE_TTL)

    async def _round(self) -> bool:
        """Decide once and start what is to be done; False when the pass is over."""
        self._reap()
        now, begun = self.tools.clock(), time.monotonic()
        work = self._decide_all(now)
        # What goes back comes first: it is what somebody is waiting for.
        work.sort(key=lambda one: one.view.back_since is None)
        acted = False
        over = now >= self.deadline or self.stopping()
        for one in () if over else work:
            acted = await self._act(one, now) or acted
        if not over and self.only is None and begun - self._looked_back >= LEFTOVER_SECONDS:
            self._looked_back = begun
            self._begin_leftovers(now)
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

    def _decide_all(self, now: datetime) -> list[_Running]:
        """Bring every rollout up to date with the ledger and decide on it."""
        news = frozenset(self.tools.news)
        self.tools.news.clear()
        wanted = [one for one in self._rollouts() if one.mandate and one.key not in self.failed]
        return [self._decide(prepared, news, now) for prepared in wanted]

    def _decide(self, prepared: Prepared, news: frozenset[str], now: datetime) -> _Running:
        visiting = frozenset(device for rollout, device in self.active if rollout == prepared.key)
        one = self.running.get(prepared.key)
        live, board = (one.live, one.board) if one else (Live(self.ledger, prepared), Board(prepared.plan))
        view, changed = live.look(news, visiting)
        board.update(view, changed, now)
        decision = decide_on(board)
        self.running[prepared.key] = _Running(prepared, live, board, view, decision)
        if self.only is not None and view.back_since is None:
            stops = tuple(action for action in decision.actions if isinstance(action, Stop | GoBack))
            return _Running(prepared, live, board, view, Decision(stops, {}, None))
        return self.running[prepared.key]

    async def _act(self, one: _Running, now: datetime) -> bool:
        """Do what was decided; visits go on in the background."""
        visits: list[str] = []
        for action in one.decision.actions:
            match action:
                case Visit(device=device):
                    visits.append(device)
                case Stop(rule=rule, reason=reason):
                    await self._move(one.prepared, STOPS.get(rule, RolloutState.STOPPED), reason, now, rule=rule)
                case GoBack(rule=rule, reason=reason):
                    await self._move(one.prepared, RolloutState.ROLLING_BACK, reason, now, rule=rule)
                case MoveWave():
                    await self._move_wave(one.prepared, action, now)
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
                self.tools.images.stat(prepared.plan.release.image)
        except FwctlError as error:
            self.failed[prepared.key] = error
            return
        row = self.ledger.rollout(prepared.key)
        resting = (RolloutState.WAITING, RolloutState.COMPLETE, RolloutState.PAUSED)
        if row is not None and row.state in resting and one.view.finished is None and not one.view.stopped:
            await self._move(prepared, RolloutState.PROGRESSING, f"{len(devices)} devices are due", now)
        if prepared.mandate is None:
            raise TypeError("a rollout without a lock sends nothing")
        visitor = Visitor(self.tools, prepared, prepared.mandate, lambda: self.running[prepared.key].view)
        open_ = sum(number for state, number in one.decision.counts.items() if state not in FINAL)
        self.tools.watcher.opened(prepared.key, open_)
        self.visits += len(devices)
        for device in devices:
            self.active[prepared.key, device] = asyncio.create_task(visitor.visit(device))

    def _begin_leftovers(self, now: datetime) -> None:
        """What plans that no commit holds any more left behind is brought to its end, approved successor or not.

        Their open orders are finished or cancelled (R16); a device that was away when its rollout went back is taken
        back when it returns, whatever has been committed since.
        """
        wanted = {one.mandate.id for one in self.state.rollouts.values() if one.mandate}
        back = set(self.ledger.taken_back()) - wanted
        left = {row.device: row for row in self.ledger.leftovers(now, wanted)}
        for mandate in back:
            left |= {order.device: order for order in self._away(mandate)}
        later = {row.id for row in self.ledger.devices(left) if row.next_due and row.next_due > now}
        busy = {device for _, device in self.active} | later
        for device, row in left.items():
            if device in self.state.repo.devices and device not in busy:
                self.visits += 1
                repo_id = self.state.repo.fleet.spec.repo_id
                visit = finish_leftover(self.tools, row, repo_id, back=row.mandate in back)
                self.active[row.rollout, device] = asyncio.create_task(visit)

    def _away(self, mandate: str) -> list[OrderRow]:
        """Return the install orders of a mandate that went back, of devices that still run what it brought."""
        running = {row.id for row in self.ledger.devices_of(mandate) if mandate not in row.spent}
        orders = self.ledger.orders(mandate=mandate) if running else ()
        refused = {order.device for order in orders if order.verb == "revert" and order.failure_class == "refused"}
        return [order for order in orders if order.verb == "install" and order.device in running - refused]

    async def _pause(self, work: list[_Running], now: datetime) -> bool:
        """Sleep until the next thing is due, if that is before the deadline; False when the pass is over."""
        due = min((soon for one in work if (soon := one.decision.soon(now))), default=None)
        if due is None or due >= self.deadline:
            return False
        await asyncio.sleep(min(max((due - now).total_seconds(), 0.05), _IDLE_SLEEP))
        return True

    async def _move_wave(self, prepared: Prepared, action: MoveWave, now: datetime) -> None:
        mandate = prepared.mandate.id if prepared.mandate else ""
        state, reason = WaveState(action.state), action.reason
        await self.writer.write(
            WaveMoved(at=now, rollout=prepared.key, mandate=mandate, wave=action.wave, state=state, reason=reason)
        )

    async def _move(
        self, prepared: Prepared, state: RolloutState, reason: str, now: datetime, *, rule: str = ""
    ) -> None:
        await self.writer.write(
            RolloutMoved(
                at=now,
                rollout=prepared.key,
                mandate=prepared.mandate.id if prepared.mandate else "",
                commit=self.state.commit,
                state=state,
                reason=reason,
                rule=rule,
                round=prepared.plan.spec.round,
            )
        )

    def _report(self, prepared: Prepared, now: datetime) -> RolloutReport:
        if prepared.mandate:
            one = self._decide(prepared, frozenset(self.tools.news), now)
            view, decision = one.view, self.running[prepared.key].decision
        else:
            view = rollout_view(self.ledger, prepared)
            decision = decide(prepared.plan, view, now)
        state, reason = standing_of(prepared, view, decision, self.ledger.rollout(prepared.key))
        return RolloutReport(prepared.key, state, reason, dict(decision.counts), decision.next_due)
