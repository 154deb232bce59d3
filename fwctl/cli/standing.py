"""The work behind `status`: git's wish and the ledger's record, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fwctl.cli.context import Context
from fwctl.cli.nexts import next_commands
from fwctl.cli.planning import find_rollouts
from fwctl.cli.waving import WaveLine, WayBack, wave_lines, way_back
from fwctl.errors import FwctlError
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.loop import RolloutResult, standing_of
from fwctl.reconcile.views import rollout_view
from fwctl.rollouts.decide import decide
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView
from fwctl.state import Ledger, RolloutRow


@dataclass(frozen=True)
class RolloutStatus:
    """One rollout: what git wants, how far it is approved, where its devices stand."""

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
        if self.prepared.lock is None:
            return (f"fwctl plan {self.key} --lock",)
        if self.state in ("waiting", "progressing") and self.wants_approval:
            return (f"fwctl approve {self.key}",)
        return next_commands(self.key, self.state)


@dataclass(frozen=True)
class Status:
    """The fleet at one commit."""

    repo_id: str
    commit: str
    last_applied: str | None
    devices: int
    rollouts: tuple[RolloutStatus, ...]
    dirty: tuple[str, ...]
    detailed: bool
    now: datetime

    @property
    def next_commands(self) -> tuple[str, ...]:
        """What to type next, by the first rollout that needs something."""
        busy = [one for one in self.rollouts if one.state != "complete"]
        if busy or self.detailed:
            return (busy or self.rollouts)[0].next_commands
        return ("fwctl rollout create",) if not self.rollouts else ("fwctl device list",)


def read_status(settings: Context, name: str) -> Status:
    """Return where the rollouts of HEAD stand."""
    commit, files = settings.committed()
    return status_of(settings, settings.read(files, commit), name)


def status_of(settings: Context, state: CommitState, name: str) -> Status:
    """Return where the rollouts of a commit that has been read stand now."""
    now, repo = settings.now(), state.repo
    rollouts = find_rollouts(repo, name) if name or repo.rollouts else ()
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        found = tuple(rollout_status(state.rollouts[rollout.key], ledger, now) for rollout in rollouts)
        applied = ledger.meta("last_applied_commit") if ledger else None
    repo_id, devices = repo.fleet.spec.repo_id, len(repo.devices)
    return Status(repo_id, state.commit, applied, devices, found, _dirty(settings), bool(name), now)


def rollout_status(prepared: Prepared, ledger: Ledger | None, now: datetime) -> RolloutStatus:
    """Return where one rollout stands; without a ledger no device was ever seen."""
    if ledger is None:
        view = RolloutView(approved_stage=prepared.approved_stage, not_approved=prepared.not_approved, devices={})
        return _assemble(prepared, view, None, None, now)
    return _assemble(prepared, rollout_view(ledger, prepared), ledger, ledger.rollout(prepared.key), now)


def _assemble(
    prepared: Prepared, view: RolloutView, ledger: Ledger | None, row: RolloutRow | None, now: datetime
) -> RolloutStatus:
    plan, mandate = prepared.plan, prepared.mandate.id if prepared.mandate else ""
    decision = decide(plan, view, now)
    word, reason = standing_of(prepared, view, decision, row)
    standings = tuple(decision.standings.values())
    waves = wave_lines(plan, view, decision, ledger.waves(plan.key, mandate) if ledger and mandate else ())
    back = None
    if ledger is not None and view.back_since is not None:
        back = way_back(ledger, plan, view.back_since, ledger.orders(mandate=mandate), standings, now)
    recorded = row if row is not None and mandate and row.mandate == mandate else None
    return RolloutStatus(prepared, word, reason, standings, waves, back, recorded, decision.next_due)


def _dirty(settings: Context) -> tuple[str, ...]:
    try:
        return settings.repo.dirty()
    except FwctlError:
        return ()
