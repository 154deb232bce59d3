"""What `explain`, `rollout report` and a `status` without a fitting summary need: every device judged, here and now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fwctl.cli.context import Context
from fwctl.cli.nexts import next_for
from fwctl.cli.planning import find_rollouts
from fwctl.cli.standing import Status, dirty
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.ending import of_commit, of_machine
from fwctl.reconcile.glancing import glance
from fwctl.reconcile.joining import with_seat
from fwctl.reconcile.summarising import board_of, standing_of, summarise
from fwctl.reconcile.summary import RolloutResult, Summary
from fwctl.reconcile.waving import WaveLine, WayBack, wave_lines, way_back
from fwctl.rollouts.decide import decide
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView
from fwctl.state import Ledger, RolloutRow


@dataclass(frozen=True)
class RolloutStatus:
    """One rollout with all its devices: what git wants, how far it is approved, where everybody stands."""

    prepared: Prepared
    state: RolloutResult
    reason: str
    standings: tuple[Standing, ...]
    waves: tuple[WaveLine, ...] = ()
    back: WayBack | None = None
    recorded: RolloutRow | None = None
    """what the ledger says under this mandate"""
    next_due: datetime | None = None

    @property
    def key(self) -> str:
        return self.prepared.key

    @property
    def wants_approval(self) -> bool:
        """The next wave that has not passed needs a stage that nobody has approved."""
        here = next((line.wave for line in self.waves if line.state != "passed"), None)
        return here is not None and here.stage > self.prepared.approved_stage

    @property
    def next_commands(self) -> tuple[str, ...]:
        """What to type next about this rollout."""
        return next_for(self.key, self.state, locked=self.prepared.lock is not None, wants_approval=self.wants_approval)


def status_of(settings: Context, state: CommitState, name: str) -> Status:
    """Return where the rollouts of a commit that has been read stand now."""
    now, repo = settings.now(), state.repo
    rollouts = find_rollouts(repo, name) if name or repo.rollouts else ()
    until = state.authority.next_change(now)
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        found = tuple(_summary(state.rollouts[rollout.key], ledger, now, until) for rollout in rollouts)
        applied = ledger.meta("last_applied_commit") if ledger else None
    repo_id, devices = repo.fleet.spec.repo_id, len(repo.devices)
    ends = (*of_commit(state), *of_machine(settings.keystore(repo_id)))
    return Status(repo_id, state.commit, applied, devices, found, dirty(settings), bool(name), now, ends=ends)


def _summary(prepared: Prepared, ledger: Ledger | None, now: datetime, until: datetime | None) -> Summary:
    prepared = with_seat(prepared, ledger)
    view = _view(prepared, ledger)
    return summarise(prepared, view, decide(prepared.plan, view, now), ledger, now, trust_until=until)


def _view(prepared: Prepared, ledger: Ledger | None) -> RolloutView:
    """Return what `decide` sees; without a ledger no device was ever seen."""
    if ledger is not None:
        return glance(ledger, prepared)
    return RolloutView(
        approved_stage=prepared.approved_stage,
        not_approved=prepared.not_approved,
        freezes=prepared.guarded.freezes,
        devices={},
    )


def rollout_status(prepared: Prepared, ledger: Ledger | None, now: datetime) -> RolloutStatus:
    """Return where one rollout and all its devices stand."""
    prepared = with_seat(prepared, ledger)
    view = _view(prepared, ledger)
    row = ledger.rollout(prepared.key) if ledger else None
    plan, mandate = prepared.plan, prepared.mandate.id if prepared.mandate else ""
    decision = decide(plan, view, now)
    word, reason = standing_of(prepared, view, decision, row)
    standings = tuple(decision.standings.values())
    waves = wave_lines(
        board_of(decision), decision.holdings, ledger.waves(plan.key, mandate) if ledger and mandate else ()
    )
    back = None
    if ledger is not None and view.back_since is not None:
        back = way_back(ledger, plan, view.back_since, mandate, decision.counts.get("in-flight", 0), now)
    recorded = row if row is not None and mandate and row.mandate == mandate else None
    return RolloutStatus(prepared, word, reason, standings, waves, back, recorded, decision.next_due)
