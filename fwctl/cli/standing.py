"""The work behind `status`: git's wish and the ledger's record, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fwctl.cli.context import Context
from fwctl.cli.planning import find_rollouts
from fwctl.errors import FwctlError
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.reconcile.loop import RolloutResult, standing_of
from fwctl.reconcile.views import rollout_view
from fwctl.rollouts.decide import decide
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView
from fwctl.state import Ledger, ledger_path


@dataclass(frozen=True)
class RolloutStatus:
    """One rollout: what git wants, how far it is approved, where its devices stand."""

    prepared: Prepared
    state: RolloutResult
    reason: str
    standings: tuple[Standing, ...]


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
        for one in self.rollouts:
            key = one.prepared.key
            if one.prepared.lock is None:
                return (f"fwctl plan {key} --lock",)
            if one.state == "not-approved":
                return (f"fwctl approve {key}",)
            if one.state in ("held", "stopped"):
                return (f"fwctl status {key}", "fwctl events")
            if one.state in ("waiting", "progressing"):
                return ("fwctl reconcile --once",)
        return ("fwctl rollout create",) if not self.rollouts else ("fwctl device list",)


def read_status(settings: Context, name: str) -> Status:
    """Return where the rollouts of HEAD stand."""
    commit, files = settings.committed()
    state = settings.read(files, commit)
    repo_id = state.repo.fleet.spec.repo_id
    path = ledger_path(settings.state_dir(repo_id))
    ledger = Ledger.open(path, readonly=True) if path.exists() else None
    try:
        rollouts = find_rollouts(state.repo, name) if name or state.repo.rollouts else ()
        found = tuple(_status(state, rollout.key, ledger, settings.now()) for rollout in rollouts)
        applied = ledger.meta("last_applied_commit") if ledger else None
    finally:
        if ledger:
            ledger.close()
    return Status(
        repo_id, commit, applied, len(state.repo.devices), found, _dirty(settings), bool(name), settings.now()
    )


def _status(state: CommitState, key: str, ledger: Ledger | None, now: datetime) -> RolloutStatus:
    prepared = state.rollouts[key]
    row = ledger.rollout(key) if ledger else None
    view = (
        rollout_view(ledger, prepared)
        if ledger
        else RolloutView(approved_stage=prepared.approved_stage, not_approved=prepared.not_approved, devices={})
    )
    decision = decide(prepared.plan, view, now)
    word, reason = standing_of(prepared, view, decision, row)
    return RolloutStatus(prepared, word, reason, tuple(decision.standings.values()))


def _dirty(settings: Context) -> tuple[str, ...]:
    try:
        return settings.repo.dirty()
    except FwctlError:
        return ()
