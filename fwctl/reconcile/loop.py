"""`reconcile --once`: rounds of decide and execute until nothing is due or the time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, assert_never

from fwctl.errors import FwctlError
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.tools import Tools
from fwctl.reconcile.views import rollout_view
from fwctl.reconcile.visit import Visitor
from fwctl.rollouts.actions import Finish, Stop, Visit
from fwctl.rollouts.decide import Decision, decide
from fwctl.rollouts.standing import FINAL
from fwctl.rollouts.view import RolloutView
from fwctl.state import BatchWriter, Lease, Ledger, RolloutMoved, RolloutState, SetMeta

LEASE_TTL = timedelta(minutes=10)
CONNECTIONS = 100
"""visits at once: more only make each other's handshakes time out (measured on 2 cores with the fleet beside it)"""
_IDLE_SLEEP = 0.5

RolloutResult = Literal["waiting", "progressing", "complete", "stopped", "held", "not-approved"]


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
    """One rollout during the pass."""

    prepared: Prepared
    view: RolloutView
    decision: Decision
    visits: int = 0


@dataclass
class Loop:
    """One pass over one commit. The caller holds the lease and the open ledger."""

    state: CommitState
    ledger: Ledger
    lease: Lease
    writer: BatchWriter
    tools: Tools
    deadline: datetime
    visits: int = 0
    failed: dict[str, FwctlError] = field(default_factory=dict)
    """rollouts whose image is not to be had: they wait, the others go on"""

    async def run(self) -> PassReport:
        """Work until nothing is due, or until the deadline.

        Raises:
            FwctlError: the ledger, the storage or the lease failed; everything decided so far is recorded.
        """
        started = self.tools.clock()
        await self._open(started)
        while True:
            now = self.tools.clock()
            work = [
                self._round(prepared, now)
                for prepared in self.state.rollouts.values()
                if prepared.mandate is not None and prepared.key not in self.failed
            ]
            acted = [one for one in work if one.decision.actions]
            for one in acted:
                await self._act(one, now)
            if not acted and not await self._pause(work, now):
                break
            await asyncio.to_thread(self.lease.renew, self.tools.clock(), LEASE_TTL)
        for error in self.failed.values():
            raise error
        finished = self.tools.clock()
        await self.writer.write(SetMeta(at=finished, key="last_applied_commit", value=self.state.commit))
        reports = tuple(self._report(prepared, finished) for prepared in self.state.rollouts.values())
        return PassReport(self.state.commit, self.lease.epoch, self.visits, reports, started, finished)

    async def _open(self, now: datetime) -> None:
        """Say in the ledger which rollouts this commit has, before anything is sent for them."""
        for prepared in self.state.rollouts.values():
            row = self.ledger.rollout(prepared.key)
            mandate = prepared.mandate.id if prepared.mandate else ""
            if row is None or row.mandate != mandate:
                state = RolloutState.WAITING
                await self._move(prepared, state, prepared.not_approved or "it may start", now)

    def _round(self, prepared: Prepared, now: datetime) -> _Running:
        view = rollout_view(self.ledger, prepared)
        return _Running(prepared, view, decide(prepared.plan, view, now))

    async def _act(self, one: _Running, now: datetime) -> None:
        visits: list[str] = []
        for action in one.decision.actions:
            match action:
                case Visit(device=device):
                    visits.append(device)
                case Stop(rule=rule, reason=reason):
                    await self._move(one.prepared, RolloutState.HELD, reason, now, rule=rule)
                case Finish(state=state, reason=reason):
                    ended = RolloutState.COMPLETE if state == "complete" else RolloutState.STOPPED
                    await self._move(one.prepared, ended, reason, now)
                case _:
                    assert_never(action)
        if visits:
            await self._visit_all(one, visits, now)

    async def _visit_all(self, one: _Running, devices: list[str], now: datetime) -> None:
        prepared = one.prepared
        # A missing image is ours, not the devices' failure: say so before the first of them is contacted.
        try:
            self.tools.storage.stat(prepared.plan.release.image)
        except FwctlError as error:
            self.failed[prepared.key] = error
            return
        row = self.ledger.rollout(prepared.key)
        if row is not None and row.state in (RolloutState.WAITING, RolloutState.COMPLETE) and one.view.finished is None:
            await self._move(prepared, RolloutState.PROGRESSING, f"{len(devices)} devices are due", now)
        if prepared.mandate is None:
            raise TypeError("a rollout without a lock sends nothing")
        visitor = Visitor(self.tools, prepared, prepared.mandate, one.view)
        slots = asyncio.Semaphore(min(prepared.plan.limits.max_concurrent, CONNECTIONS))

        async def visit(device: str) -> None:
            async with slots:
                await visitor.visit(device)

        self.tools.watcher.opened(prepared.key, sum(s.state not in FINAL for s in one.decision.standings.values()))
        self.visits += len(devices)
        async with asyncio.TaskGroup() as tasks:
            for device in devices:
                tasks.create_task(visit(device))

    async def _pause(self, work: list[_Running], now: datetime) -> bool:
        """Sleep until the next thing is due, if that is before the deadline; False when the pass is over.

        Only devices in flight or about to be tried again are waited for: a straggler's hour is the next pass's matter.
        """
        dues = [
            standing.due
            for one in work
            for standing in one.decision.standings.values()
            if standing.due is not None and standing.state in ("in-flight", "retry", "pending") and standing.due > now
        ]
        due = min(dues, default=None)
        if due is None or due >= self.deadline:
            return False
        await asyncio.sleep(min(max((due - now).total_seconds(), 0.05), _IDLE_SLEEP))
        return True

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
        row = self.ledger.rollout(prepared.key)
        state, reason = standing_of(prepared, view, row.state if row else None, row.reason if row else "")
        return RolloutReport(prepared.key, state, reason, dict(decision.counts), decision.next_due)


def standing_of(
    prepared: Prepared, view: RolloutView, state: RolloutState | None, reason: str
) -> tuple[RolloutResult, str]:
    """Return the one word for where a rollout stands, and why."""
    if prepared.refused is not None:
        return "held", prepared.not_approved
    if prepared.mandate is None or prepared.approved_stage == 0:
        return "not-approved", prepared.not_approved
    if view.stopped:
        return "held" if state is RolloutState.HELD else "stopped", reason
    if view.finished is not None:
        return ("complete" if view.finished.state == "complete" else "stopped"), view.finished.reason
    return ("progressing" if state is RolloutState.PROGRESSING else "waiting"), reason
