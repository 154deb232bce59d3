"""`reconcile --once`: rounds of decide and execute until nothing is due or the time is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, assert_never

from fwctl.errors import FwctlError
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.tools import Tools
from fwctl.reconcile.views import rollout_view
from fwctl.reconcile.visit import Visitor, finish_leftover
from fwctl.rollouts.actions import Finish, GoBack, MoveWave, Quarantine, Stop, Visit
from fwctl.rollouts.decide import Decision, decide
from fwctl.rollouts.standing import FINAL
from fwctl.rollouts.view import RolloutView
from fwctl.state import (
    BatchWriter,
    Lease,
    Ledger,
    OrderRow,
    Quarantined,
    RolloutMoved,
    RolloutRow,
    RolloutState,
    SetMeta,
    WaveMoved,
    WaveState,
)

LEASE_TTL = timedelta(minutes=10)
CONNECTIONS = 100
"""visits at once: more only make each other's handshakes time out (measured on 2 cores with the fleet beside it)"""
STORAGE_CODES = ("E_HASH", "E_STORAGE_MISSING")
_IDLE_SLEEP = 0.5
ROUND_SECONDS = 0.2
"""least time between two decisions while visits run"""

STOPS = {"refused": RolloutState.HELD, "paused": RolloutState.PAUSED, "aborted": RolloutState.ABORTED}
"""a stop by any other rule is a gate that failed"""
ENDS = {
    "complete": RolloutState.COMPLETE,
    "failed": RolloutState.STOPPED,
    "rolled-back": RolloutState.ROLLED_BACK,
}

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
    """One rollout in one round."""

    prepared: Prepared
    view: RolloutView
    decision: Decision


Key = tuple[str, str]
"""(rollout, device)"""


@dataclass
class Loop:
    """One pass over one commit. The caller holds the lease and the open ledger.

    There is no barrier between rounds: while slow devices are still being visited, what the others brought is judged,
    and a rollback that it asks for begins at once.
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
    views: dict[str, RolloutView] = field(default_factory=dict)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS))

    async def run(self) -> PassReport:
        """Work until nothing is due, or until the deadline; what is under way then is brought to a resting point.

        Raises:
            FwctlError: the ledger, the storage or the lease failed; everything decided so far is recorded.
        """
        started = self.tools.clock()
        await self._open(started)
        try:
            while await self._round():
                await asyncio.to_thread(self.lease.renew, self.tools.clock(), LEASE_TTL)
        finally:
            for task in self.active.values():
                task.cancel()
            await asyncio.gather(*self.active.values(), return_exceptions=True)
        for error in self.failed.values():
            raise error
        finished = self.tools.clock()
        if self.only is None:  # a part of a commit is not the commit
            await self.writer.write(SetMeta(at=finished, key="last_applied_commit", value=self.state.commit))
        reports = tuple(self._report(prepared, finished) for prepared in self._rollouts())
        return PassReport(self.state.commit, self.lease.epoch, self.visits, reports, started, finished)

    async def _round(self) -> bool:
        """Decide once and start what is to be done; False when the pass is over."""
        self._reap()
        now, begun = self.tools.clock(), time.monotonic()
        rollouts = [one for one in self._rollouts() if one.mandate and one.key not in self.failed]
        work = [self._decide(prepared, now) for prepared in rollouts]
        # What goes back comes first: it is what somebody is waiting for.
        work.sort(key=lambda one: one.view.back_since is None)
        acted = False
        over = now >= self.deadline or self.stopping()
        for one in () if over else work:
            acted = await self._act(one, now) or acted
        if not over and self.only is None:
            self._begin_leftovers(now)
        if self.active:
            # Deciding costs time in a large fleet: it takes a fifth of the loop's time at the most.
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

    def _decide(self, prepared: Prepared, now: datetime) -> _Running:
        visiting = frozenset(device for rollout, device in self.active if rollout == prepared.key)
        view = replace(rollout_view(self.ledger, prepared), visiting=visiting)
        self.views[prepared.key] = view
        decision = decide(prepared.plan, view, now)
        if self.only is not None and view.back_since is None:
            stops = tuple(action for action in decision.actions if isinstance(action, Stop | GoBack))
            decision = Decision(stops, {}, None)
        return _Running(prepared, view, decision)

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
                    await self.writer.write(change)
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
                self.tools.storage.stat(prepared.plan.release.image)
        except FwctlError as error:
            self.failed[prepared.key] = error
            return
        row = self.ledger.rollout(prepared.key)
        resting = (RolloutState.WAITING, RolloutState.COMPLETE, RolloutState.PAUSED)
        if row is not None and row.state in resting and one.view.finished is None and not one.view.stopped:
            await self._move(prepared, RolloutState.PROGRESSING, f"{len(devices)} devices are due", now)
        if prepared.mandate is None:
            raise TypeError("a rollout without a lock sends nothing")
        visitor = Visitor(self.tools, prepared, prepared.mandate, lambda: self.views[prepared.key])
        self.tools.watcher.opened(prepared.key, sum(s.state not in FINAL for s in one.decision.standings.values()))
        self.visits += len(devices)
        for device in devices:
            self.active[prepared.key, device] = asyncio.create_task(self._visit(visitor, device))

    def _begin_leftovers(self, now: datetime) -> None:
        """What plans that no commit holds any more left behind is brought to its end, approved successor or not.

        Their open orders are finished or cancelled (R16); a device that was away when its rollout went back is taken
        back when it returns, whatever has been committed since.
        """
        wanted = {one.mandate.id for one in self.state.rollouts.values() if one.mandate}
        back = set(self.ledger.taken_back()) - wanted
        due = {row.device: row for row in self.ledger.orders_due(now) if row.verb == "install"}
        left = {device: row for device, row in due.items() if row.mandate not in wanted}
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

    async def _visit(self, visitor: Visitor, device: str) -> None:
        async with self.slots:
            await visitor.visit(device)

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
        view = rollout_view(self.ledger, prepared)
        decision = decide(prepared.plan, view, now)
        state, reason = standing_of(prepared, view, decision, self.ledger.rollout(prepared.key))
        return RolloutReport(prepared.key, state, reason, dict(decision.counts), decision.next_due)


_WORDS: dict[RolloutState, RolloutResult] = {
    RolloutState.WAITING: "waiting",
    RolloutState.PROGRESSING: "progressing",
    RolloutState.COMPLETE: "complete",
    RolloutState.PAUSED: "paused",
    RolloutState.HELD: "held",
    RolloutState.STOPPED: "stopped",
    RolloutState.ABORTED: "aborted",
    RolloutState.ROLLING_BACK: "rolling-back",
    RolloutState.ROLLED_BACK: "rolled-back",
}


def standing_of(
    prepared: Prepared, view: RolloutView, decision: Decision, row: RolloutRow | None
) -> tuple[RolloutResult, str]:
    """Return the one word for where a rollout stands, and why."""
    if view.back_since is None and prepared.refused is not None:
        return "held", prepared.not_approved
    if prepared.mandate is None or (view.back_since is None and prepared.approved_stage == 0):
        return "not-approved", prepared.not_approved
    if row is None or row.mandate != prepared.mandate.id:
        return "waiting", decision.holding
    word = _WORDS[row.state]
    if word == "paused" and not view.stopped:
        return "progressing", decision.holding
    return word, (decision.holding or row.reason) if word in ("waiting", "progressing") else row.reason
