"""The work behind `pause`, `resume`, `promote`, `abort` and `rollback`: what it would mean, then `control/` in git."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from fwctl.cli.context import Context
from fwctl.cli.init import slug
from fwctl.cli.looking import view_of
from fwctl.cli.planning import find_rollouts
from fwctl.cli.watching import watcher
from fwctl.errors import Busy, InputError, TrustRefused, UsageError
from fwctl.manifests.models.control import ControlSpec, ControlState
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import Prepared, load_repo, prepare
from fwctl.reconcile.loop import RolloutReport
from fwctl.reconcile.run import AtOnce, open_ledger, reconcile_once
from fwctl.rollouts.decide import decide
from fwctl.rollouts.gates import Fail, Tally, judge
from fwctl.rollouts.plan import Wave
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView
from fwctl.rollouts.waves import current

Verb = Literal["pause", "resume", "promote", "abort", "rollback"]
MAX_REASON = 500


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for. `at_once` does not wait for the next pass; `wave` is for promote, `revert` for abort."""

    verb: Verb
    rollout: str
    reason: str
    revert: bool = False
    wave: str = ""
    at_once: bool = False


@dataclass(frozen=True)
class Effect:
    """What becomes of so many devices."""

    who: str
    devices: int | None
    """None where no ledger tells it"""
    what: str


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


@dataclass(frozen=True)
class _Case:
    """One rollout as it stands."""

    wish: Wish
    prepared: Prepared
    view: RolloutView
    standings: Mapping[str, Standing]
    seen: bool
    now: datetime

    @property
    def key(self) -> str:
        return self.prepared.key

    @property
    def state(self) -> str:
        return self.prepared.control.state if self.prepared.control else "running"

    @property
    def goes_back(self) -> bool:
        control = self.prepared.control
        told = control is not None and (control.state == "rolled-back" or control.revert)
        return told or self.view.back_since is not None


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
    if standing := _stands(case):
        state, waves = "running", frozenset[str]()
    else:
        state, waves = _wanted(case, promoted)
    spec = ControlSpec(
        state=_STATES[state],
        reason=reason,
        actor=actor,
        revert=wish.verb == "abort" and wish.revert and not standing,
        promoted=tuple(sorted(waves)),
        mandate=mandate.id if waves or state in ("aborted", "rolled-back") else None,
    )
    deadline = timedelta(seconds=case.prepared.plan.spec.rollback.deadline)
    effects = () if standing else tuple(_effects(case))
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
    report = asyncio.run(_at_once(settings, proposal)) if wish.at_once else None
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


def _case(settings: Context, wish: Wish, repo: FleetRepo, key: str, files: Mapping[str, bytes]) -> _Case:
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
    return _Case(wish, prepared, view, decide(prepared.plan, view, now).standings, ledger is not None, now)


def _stands(case: _Case) -> str:
    """Return why there is nothing to write; empty if there is."""
    control, wish = case.prepared.control, case.wish
    words = f" ({control.words})" if control else ""
    match wish.verb:
        case "pause" if case.state == "paused":
            return f"{case.key} is paused already{words}"
        case "resume" if case.state == "running" and not case.goes_back:
            held = f"; what holds it is something else: {case.view.stopped}" if case.view.stopped else ""
            return f"{case.key} is not paused{held}"
        case "abort" if case.state == "aborted" and not wish.revert:
            return f"{case.key} is aborted already{words}"
        case "abort" | "rollback" if case.goes_back:
            return f"{case.key} goes back already{words}"
        case "promote" if _wave(case) is None:
            return f"{case.key}: {wish.wave or 'every wave'} has passed already"
        case _:
            return ""


def _wanted(case: _Case, promoted: frozenset[str]) -> tuple[str, frozenset[str]]:
    """Return the state and the promoted waves to write.

    Raises:
        UsageError: `E_CONTROL`.
    """
    verb = case.wish.verb
    over = "has gone back or goes back" if case.goes_back else "is aborted" if case.state == "aborted" else ""
    if over and verb in ("pause", "resume", "promote"):
        raise _cannot(
            case,
            f"it {over}, and goes on only with a new approval",
            f"To try again: raise `round` in rollouts/{case.key}.yaml, then fwctl plan {case.key} --lock",
        )
    match verb:
        case "pause":
            return "paused", promoted
        case "resume":
            return "running", promoted
        case "promote":
            return "running", promoted | {_promotable(case).name}
        case "abort" if not case.wish.revert:
            return "aborted", frozenset()
        case _:
            if not case.prepared.plan.spec.rollback.allowed:
                why = "its approval forbids going back: devices would refuse it"
                raise _cannot(case, why, f"fwctl abort {case.key} --keep --reason WHY stops it where it is.")
            return ("aborted" if verb == "abort" else "rolled-back"), frozenset()


def _wave(case: _Case) -> Wave | None:
    """Return the wave that is meant; None if it has passed. Without a ledger nobody knows which one is current."""
    plan, name = case.prepared.plan, case.wish.wave
    if not name and not case.seen:
        raise _cannot(case, "this machine has no ledger, so it does not know the current wave", "Say --wave NAME.")
    waves = {wave.name: wave for wave in plan.waves}
    if name and name not in waves:
        raise UsageError(
            f"{case.key} has no wave {name[:40]}",
            code="E_NO_WAVE",
            place="--wave",
            remedy=f"One of: {', '.join(list(waves)[:10])}",
        )
    if not name:
        return current(plan, case.view)
    view = case.view.waves.get(name)
    return None if view is not None and view.state == "passed" else waves[name]


def _promotable(case: _Case) -> Wave:
    wave, at = _wave(case), current(case.prepared.plan, case.view)
    if wave is None or at is None:
        raise TypeError("a wave that has passed is told before")
    if case.state == "paused":
        raise _cannot(case, "it is paused", f"Resume it first: fwctl resume {case.key} --reason WHY")
    if case.view.stopped:
        raise _cannot(case, f"it is {case.view.stopped}", f"See why: fwctl explain {case.key}")
    if case.seen and wave.name != at.name:
        raise _cannot(case, f"{wave.name} waits for {at.name}", f"Promote {at.name} first, if you mean it.")
    if wave.stage > case.prepared.approved_stage:
        raise TrustRefused(
            f"{wave.name} is not approved; a promotion shortens a wait and approves nothing",
            code="E_NOT_APPROVED",
            place=case.key,
            remedy=f"fwctl approve {case.key}",
        )
    members = [case.standings[device] for device in wave.devices if device in case.standings]
    if isinstance(verdict := judge(case.prepared.plan.spec.gates, Tally.of(members)), Fail):
        raise _cannot(
            case, f"the gate of {wave.name} failed ({verdict.reason}), and a failed gate is never promoted", _SEE_WHY
        )
    return wave


_SEE_WHY = "See what failed: fwctl status ROLLOUT"


def _cannot(case: _Case, why: str, remedy: str) -> UsageError:
    return UsageError(
        f"{case.wish.verb} is not possible: {why}",
        code="E_CONTROL",
        place=case.key,
        remedy=remedy.replace("ROLLOUT", case.key),
    )


def _effects(case: _Case) -> Iterator[Effect]:
    """Say what becomes of whom, by where they stand now."""
    version = case.prepared.plan.release.version
    if case.wish.verb == "promote":
        yield from _promotion(case)
        return
    back = case.wish.verb == "rollback" or case.wish.revert
    counts = Counter(_backwards(case) if back else _forwards(case))
    waits = (
        "will wait until it is resumed"
        if case.wish.verb == "pause"
        else f"will never get {version} under this approval"
    )
    if case.wish.verb == "resume":
        waits = "may start when due"
    words: Sequence[tuple[str, str]] = (
        ("queued", waits),
        ("in flight", "will be cancelled, or taken back" if back else "will finish what was begun"),
        ("done", "will be taken back to what ran before" if back else f"will keep {version}"),
        ("away", "will be taken back on return"),
        ("failed", "will stay as is"),
        ("unchanged", f"ran {version} before this rollout, and will keep it"),
        ("back", "went back already"),
    )
    if not case.seen:
        yield from (Effect(who, None, what) for who, what in words[:3])
        return
    for who, what in words:
        if counts[who]:
            yield Effect(who, counts[who], what)


def _promotion(case: _Case) -> Iterator[Effect]:
    waves, wave = case.prepared.plan.waves, _promotable(case)
    later = waves[waves.index(wave) + 1 :]
    what = f"gate and soak of {wave.name} are not waited for"
    yield Effect(wave.name, len(wave.devices), what)
    if later:
        may = "may start" if later[0].stage <= case.prepared.approved_stage else "waits for approval"
        yield Effect(later[0].name, len(later[0].devices), may)


def _forwards(case: _Case) -> Iterator[str]:
    words = {"reached": "done", "in-flight": "in flight", "failed": "failed"}
    return (words.get(standing.state, "queued") for standing in case.standings.values())


def _backwards(case: _Case) -> Iterator[str]:
    plan, view = case.prepared.plan, replace(case.view, back_since=case.now)
    for device, standing in decide(plan, view, case.now).standings.items():
        forward = case.standings[device].state if device in case.standings else "held"
        match standing.state:
            case "in-flight":
                yield "in flight" if forward == "in-flight" else "done"
            case "retry":
                yield "away"
            case "back":
                yield "back"
            case "untouched":
                yield {"reached": "unchanged", "failed": "failed"}.get(forward, "queued")
            case _:
                yield "failed"


def _check_ledger(settings: Context) -> None:
    """Before anything is committed: `--now` needs what a reconciler needs."""
    setting = settings.setting(load_repo(settings.committed()[1]))
    open_ledger(setting.state_dir, new=False).close()


async def _at_once(settings: Context, proposal: Proposal) -> RolloutReport:
    commit, files = settings.committed()
    setting, wish = settings.setting(load_repo(files)), proposal.wish
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
