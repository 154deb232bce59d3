"""The work behind `pause`, `resume`, `promote`, `abort` and `rollback`: what it would mean, then `control/` in git."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from fwctl.cli.context import Context
from fwctl.cli.init import slug
from fwctl.cli.looking import view_of
from fwctl.cli.planning import find_rollouts
from fwctl.cli.watching import watcher
from fwctl.cli.weighing import Case, Effect, Wish, effects_of, stands, wanted
from fwctl.errors import Busy, InputError, UsageError
from fwctl.fleet.loop import run
from fwctl.manifests.models.control import ControlSpec, ControlState
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import load_repo, prepare
from fwctl.reconcile.leftovers import dropped_with
from fwctl.reconcile.reports import RolloutReport
from fwctl.reconcile.run import reconcile_once
from fwctl.reconcile.setting import AtOnce, open_ledger
from fwctl.rollouts.decide import decide

MAX_REASON = 500


@dataclass(frozen=True)
class Proposal:
    """What a wish would write and mean. Nothing is written where `standing` says that it is so already."""

    wish: Wish
    key: str
    path: str
    spec: ControlSpec
    effects: tuple[Effect, ...]
    seen: bool
    """this machine has the ledger, so it knows how far the devices are"""
    deadline: timedelta
    standing: str = ""

    @property
    def severe(self) -> bool:
        """Say whether devices are taken back: the name has to be typed."""
        return not self.standing and (self.wish.verb == "rollback" or self.spec.revert)


@dataclass(frozen=True)
class Done:
    """What was written, and what a pass at once did."""

    proposal: Proposal
    commit: str
    report: RolloutReport | None = None

    @property
    def ok(self) -> bool:
        """Say whether no device refuses."""
        return self.report is None or not self.report.counts.get("failed")


def propose(settings: Context, wish: Wish) -> Proposal:
    """Return what the wish would write at HEAD, and what it would mean for the devices.

    Raises:
        Busy: `E_DIRTY` if the control file was edited by hand and not committed.
        InputError: no such rollout, or it has no lock, so nothing of it can run.
        TrustRefused: `promote` of a stage that is not approved.
        UsageError: what is asked cannot be done to this rollout as it stands.
    """
    reason = one_line(wish.reason)
    _, files = settings.committed()
    repo = load_repo(files)
    rollout = find_rollouts(repo, wish.rollout)[0]
    path = f"control/{rollout.key}.yaml"
    _check_untouched(settings, path, files.get(path))
    case = _case(settings, wish, repo, rollout.key, files)
    mandate = case.prepared.mandate
    if mandate is None:
        raise InputError(
            "it has no lock, so nothing of it can run",
            code="E_NO_LOCK",
            place=rollout.path,
            remedy=f"There is nothing to {wish.verb}. Next: fwctl plan {rollout.key} --lock",
        )
    actor = slug(settings.repo.user())
    promoted = case.prepared.control.promoted if case.prepared.control else frozenset[str]()
    if standing := stands(case):
        state, waves = "running", frozenset[str]()
    else:
        state, waves = wanted(case, promoted)
    spec = ControlSpec(
        state=_STATES[state],
        reason=reason,
        actor=actor,
        revert=wish.verb == "abort" and wish.revert and not standing,
        promoted=tuple(sorted(waves)),
        mandate=mandate.id if waves or state in ("aborted", "rolled-back") else None,
    )
    deadline = timedelta(seconds=case.prepared.plan.spec.rollback.deadline)
    effects = () if standing else tuple(effects_of(case))
    return Proposal(wish, rollout.key, path, spec, effects, case.seen, deadline, standing)


def confirmed(proposal: Proposal, given: str, *, ask: bool) -> bool:
    """Return whether a severe wish was meant: by `--confirm NAME`, or by typing the name at a terminal.

    Raises:
        UsageError: `E_CONFIRM` for another name; `E_NO_INPUT` where nobody can be asked.
    """
    names = (proposal.key, proposal.key.partition("/")[2])
    if given:
        if given in names:
            return True
        raise UsageError(
            f"--confirm names {given[:80]}, the rollout is {proposal.key}",
            code="E_CONFIRM",
            remedy=f"If you mean it: --confirm {names[1]}",
        )
    if not ask or not sys.stdin.isatty():
        raise UsageError(
            "this takes devices back, and nobody can be asked here",
            code="E_NO_INPUT",
            remedy=f"If you mean it: --confirm {names[1]}",
        )
    import typer

    typed = typer.prompt(f"Type {names[1]} to go on", default="", show_default=False, err=True)
    return typed.strip() in names


def carry_out(settings: Context, proposal: Proposal) -> Done:
    """Commit the control file, and act at once if that was asked for.

    Raises:
        Busy: `E_LOCKED`: it stands in git, and the reconciler that is at work picks it up.
    """
    wish = proposal.wish
    if wish.at_once:
        _check_ledger(settings)
    if proposal.standing:
        commit: str = settings.repo.head()
    else:
        message = f"{wish.verb.capitalize()} {proposal.key}: {proposal.spec.reason}\n"
        commit = settings.repo.commit_files({proposal.path: text_of(proposal)}, message)
    report = run(_at_once(settings, proposal)) if wish.at_once else None
    return Done(proposal, commit, report)


def text_of(proposal: Proposal) -> bytes:
    """Return the control file. Every text is quoted, so that no name or reason can be read as something else."""
    spec = proposal.spec
    lines = [
        f"# Written by `fwctl {proposal.wish.verb}`. No approval covers this file: it can stop and take back only.",
        "apiVersion: fwctl/v1",
        "kind: RolloutControl",
        f"metadata: {{name: {_quoted(proposal.key.partition('/')[2])}}}",
        "spec:",
        f"  state: {spec.state}",
        f"  reason: {_quoted(spec.reason)}",
        f"  actor: {_quoted(spec.actor)}",
        *(["  revert: true"] if spec.revert else []),
        *([f"  promoted: [{', '.join(spec.promoted)}]"] if spec.promoted else []),
        *([f"  mandate: {_quoted(spec.mandate)}"] if spec.mandate else []),
    ]
    return ("\n".join(lines) + "\n").encode()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_STATES: Mapping[str, ControlState] = {
    "running": "running",
    "paused": "paused",
    "aborted": "aborted",
    "rolled-back": "rolledBack",
}


def one_line(text: str) -> str:
    """Return a reason as it is kept. Raises UsageError `E_REASON` for an empty, long or unprintable one."""
    text = text.strip()
    if text and text.isprintable() and len(text) <= MAX_REASON:
        return text
    raise UsageError(
        "a reason is one line of at most 500 characters, and it must say something",
        code="E_REASON",
        place="--reason",
        remedy='For example --reason "sensors in Lyon report no data": it stands in git, events and reports.',
    )


def _check_untouched(settings: Context, path: str, committed: bytes | None) -> None:
    file = settings.worktree / path
    if (file.read_bytes() if file.is_file() else None) != committed:
        raise Busy(
            "it differs from what is committed, and would be overwritten",
            code="E_DIRTY",
            place=path,
            remedy=f"Commit it, or put it back: git checkout HEAD -- {path}",
        )


def _case(settings: Context, wish: Wish, repo: FleetRepo, key: str, files: Mapping[str, bytes]) -> Case:
    repo_id, now = repo.fleet.spec.repo_id, settings.now()
    if wish.verb == "promote":
        settings.pinned_root(repo_id, files)
    authority = settings.authority(repo_id, files)
    prepared = prepare(repo, repo.rollouts[key], files, authority, now)
    with settings.ledger(repo_id) as ledger:
        # What may be stopped does not hang on who may judge approvals here.
        view = view_of(ledger, prepared, authority)
        if ledger is not None and authority is None:
            from fwctl.reconcile.views import rollout_view

            view = rollout_view(ledger, prepared)
        mandate = prepared.mandate.id if prepared.mandate else ""
        dropped = dropped_with(ledger, mandate, prepared.plan) if ledger is not None else ()
    standings = decide(prepared.plan, view, now).standings
    return Case(wish, prepared, view, standings, ledger is not None, now, len(dropped))


def _check_ledger(settings: Context) -> None:
    """Before anything is committed: `--now` needs what a reconciler needs."""
    repo_id = load_repo(settings.committed()[1]).fleet.spec.repo_id
    open_ledger(settings.state_dir(repo_id), new=False).close()


async def _at_once(settings: Context, proposal: Proposal) -> RolloutReport:
    commit, files = settings.committed()
    setting, wish = settings.setting(load_repo(files).fleet.spec.repo_id), proposal.wish
    word = AtOnce(proposal.key, proposal.spec.actor, proposal.spec.reason, wish.verb)
    try:
        with open_ledger(setting.state_dir, new=False) as ledger, watcher(sys.stderr) as watching:
            report = await reconcile_once(
                files,
                commit=commit,
                setting=setting,
                ledger=ledger,
                holder=f"fwctl {wish.verb} --now",
                max_duration=proposal.deadline,
                watcher=watching,
                repo=settings.repo,
                at_once=word,
            )
    except Busy as error:
        raise Busy(
            f"{wish.verb} of {proposal.key} stands in git (commit {commit[:12]}), but not at once: {error.message}",
            code=error.code,
            place=error.place,
            remedy="That reconciler picks the commit up at its next pass; there is nothing more to do.",
        ) from error
    return report.rollouts[0]
