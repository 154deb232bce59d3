"""One commit, read once: manifests, plans, locks, trust and approvals. No device and no ledger is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from fwctl.errors import FwctlError, InputError
from fwctl.gitrepo import Files
from fwctl.manifests import lifecycle
from fwctl.manifests.components import check_bills
from fwctl.manifests.diagnostic import Diagnostic, ordered
from fwctl.manifests.load import load
from fwctl.manifests.models.control import ControlState
from fwctl.manifests.repo import FleetRepo, Loaded, LoadedControl, LoadedRollout
from fwctl.reconcile.memo import Memo
from fwctl.rollouts.check import check_plan
from fwctl.rollouts.compile import Compiled, compile_locked
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.rails import findings as guarding
from fwctl.rollouts.rails.rules import UNGUARDED, Guarded, guard, rails_of
from fwctl.rollouts.releases import release_of
from fwctl.rollouts.view import Control, ControlWord
from fwctl_agent.protocol.lock import Lock, MerkleTree, Proof
from fwctl_agent.protocol.messages import TrustVersions
from fwctl_agent.protocol.statements import Mandate, Release

if TYPE_CHECKING:
    from fwctl.trust.authority import Authority, Verdict

STATEMENTS = ("trust/", "approvals/")


class ManifestErrors(InputError):
    """The commit does not validate. `diagnostics` says everything that is wrong with it."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        errors = sum(1 for found in diagnostics if found.severity == "error")
        super().__init__(
            f"the manifests have {errors} error{'s' if errors != 1 else ''}",
            code="E_MANIFESTS",
            remedy="Run `fwctl validate` and mend what it shows.",
        )
        self.diagnostics = diagnostics


@dataclass(frozen=True)
class Prepared:
    """One rollout of the commit, ready to be decided on. Without a lock there is no mandate and nothing runs."""

    rollout: LoadedRollout
    plan: Plan
    lock: Lock | None
    mandate: Mandate | None
    verdict: Verdict | None
    refused: FwctlError | None
    """why nothing of it may run, apart from missing approvals (release not signed, withdrawn, ...)"""
    control: Control | None = None
    """what a person decided, as far as it is about this mandate"""
    approvals: tuple[dict[str, Any], ...] = ()
    releases: Mapping[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    """release digest -> its statements, of the plan's release and of the stops on the way to it"""
    guarded: Guarded = UNGUARDED
    """what the guard rails in force say of it"""
    approved_at: datetime | None = None
    """when the oldest approval was given that devices count; None while nothing is approved"""

    @property
    def key(self) -> str:
        return self.plan.key

    def release(self, digest: str) -> Release:
        """Return a release that the plan orders."""
        found = self.plan.paths.stop(digest)
        if found is None:
            raise TypeError("what a plan orders is in its chain")
        return found

    def statements(self, digest: str) -> tuple[dict[str, Any], ...]:
        """Return the statements of a release that the plan orders; a device needs no others."""
        return self.releases.get(digest, ())

    @property
    def approved_stage(self) -> int:
        return self.verdict.stage if self.verdict and not self.refused else 0

    @property
    def not_approved(self) -> str:
        """Why the next stage may not run; empty if all may."""
        if self.refused:
            return f"{self.refused.code}: {self.refused.message}"
        if self.verdict is None:
            return "it has no lock yet"
        return f"{self.verdict.code}: {self.verdict.why}" if self.verdict.code else ""

    @cached_property
    def tree(self) -> MerkleTree:
        if self.lock is None:
            raise TypeError("only a locked rollout has a tree")
        return self.lock.tree()

    def leaf(self, device: str) -> str:
        """Return the device's line in the lock; nothing for a late joiner."""
        if self.lock is None:
            raise TypeError("only a locked rollout has leaves")
        return self.lock.lines[self.index[device]] if device in self.index else ""

    def proof(self, device: str) -> Proof:
        """Return the proof that the device's line is in the lock; an empty one for a late joiner."""
        return self.tree.proof(self.index[device]) if device in self.index else Proof(0, ())

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Device -> position of its leaf in the lock."""
        return {device: at for at, device in enumerate(self.lock.devices)} if self.lock else {}


@dataclass(frozen=True)
class CommitState:
    """Everything that one commit says."""

    commit: str
    repo: FleetRepo
    authority: Authority
    rollouts: Mapping[str, Prepared]

    @cached_property
    def images(self) -> Mapping[str, str]:
        """Release digest -> digest of its image, for the releases that are rolled out and those on the way to them."""
        plans = (one.plan for one in self.rollouts.values())
        return {release.digest: release.image for plan in plans for release in (*plan.stops, plan.release)}

    def releases(self, model: str) -> list[str]:
        """Return the digests of all releases of a model that the commit has, rolled out or not."""
        return [release_of(one.model).digest for (of, _), one in self.repo.firmware.items() if of == model]


def check_files(files: Mapping[str, bytes]) -> tuple[Loaded, tuple[Diagnostic, ...]]:
    """Load and check all manifests of a commit or work tree; the diagnostics include those that need a plan."""
    if isinstance(files, Files):
        return files.once(check_files, lambda: _checked(files))
    return _checked(Files.of(files))


def _checked(files: Files) -> tuple[Loaded, tuple[Diagnostic, ...]]:
    memo = files.once(Memo, lambda: Memo(files))
    loaded = load(files, parse=memo.parse, recall=memo.recall)
    if loaded.repo is None:
        return loaded, loaded.diagnostics
    found = list(loaded.diagnostics)
    for rollout in loaded.repo.rollouts.values():
        compiling = partial(compiled, loaded.repo, rollout, files)
        found += memo.findings(loaded.repo, rollout, partial(check_plan, loaded.repo, rollout, compiling))
    found += check_bills(loaded.repo, files.keys(), memo.digest)
    return loaded, ordered(found)


def compiled(repo: FleetRepo, rollout: LoadedRollout, files: Mapping[str, bytes]) -> Compiled:
    """Return a rollout compiled with the lock among `files`; made once for the same files.

    Raises:
        InputError: `E_LOCK_INVALID`, `E_NO_WAVE`, `E_REGION`.
    """
    if not isinstance(files, Files):
        return compile_locked(repo, rollout, files)
    memo = files.once(Memo, lambda: Memo(files))
    # the repository is held with the result, so that its id stays its own
    return files.once((compiled, id(repo), rollout.key), lambda: (repo, memo.compiled(repo, rollout)))[1]


def load_repo(files: Mapping[str, bytes]) -> FleetRepo:
    """Return the manifests of a commit.

    Raises:
        ManifestErrors: at least one finding is an error.
    """
    loaded, diagnostics = check_files(files)
    if loaded.repo is None or any(found.severity == "error" for found in diagnostics):
        raise ManifestErrors(diagnostics)
    return loaded.repo


def read_commit(
    files: Mapping[str, bytes], *, commit: str, pinned: str, now: datetime, lowest: TrustVersions | None = None
) -> CommitState:
    """Read, validate and verify one commit.

    Raises:
        ManifestErrors: it does not validate.
        TrustRefused: its trust files are not signed as the pinned root demands.
    """
    from fwctl.trust.authority import Authority  # TUF and cryptography: who only validates needs neither

    files = files if isinstance(files, Files) else Files.of(files)
    repo = load_repo(files)
    authority = Authority.verify(_statements(files), pinned=pinned, now=now, lowest=lowest)
    rollouts = {key: prepare(repo, rollout, files, authority, now) for key, rollout in repo.rollouts.items()}
    return CommitState(commit, repo, authority, rollouts)


def prepare(
    repo: FleetRepo, rollout: LoadedRollout, files: Mapping[str, bytes], authority: Authority | None, now: datetime
) -> Prepared:
    """Compile one rollout and judge its approvals; without an authority only the plan is made."""
    return judge(repo, compiled(repo, rollout, files), authority, now)


def judge(repo: FleetRepo, made: Compiled, authority: Authority | None, now: datetime) -> Prepared:
    """Judge the approvals of a compiled rollout, if there is an authority to do so."""
    rollout, plan, lock, mandate = made.rollout, made.plan, made.lock, made.mandate
    if lock is None or mandate is None:
        return Prepared(rollout, plan, None, None, None, None)
    control = control_of(repo.controls.get(rollout.key), mandate)
    if authority is None:
        return Prepared(rollout, plan, lock, mandate, None, None, control)
    guarded = guard(rails_of(repo, authority.policy.guard_rails), plan)
    verdict = authority.judge(mandate, stages=max(wave.stage for wave in plan.waves), now=now)
    return Prepared(
        rollout,
        plan,
        lock,
        mandate,
        verdict,
        _refused(repo, plan, authority, guarded, rollout.path),
        control,
        authority.approvals(mandate),
        {one.digest: authority.releases(one.model, one.version) for one in (*plan.stops, plan.release)},
        guarded,
        authority.approved_at(verdict, mandate),
    )


def _refused(repo: FleetRepo, plan: Plan, authority: Authority, guarded: Guarded, path: str) -> FwctlError | None:
    """Return the first reason why nothing of a locked rollout may start, whatever has been approved."""
    try:
        authority.check_release(plan.release)
        for stop in plan.stops:
            authority.check_release(stop, final=False)
    except FwctlError as error:
        return error
    firmware = repo.firmware[plan.release.model, plan.release.version]
    return lifecycle.refusal(firmware.model.spec, firmware.path) or guarding.refusal(guarded, path)


def control_of(loaded: LoadedControl | None, mandate: Mandate) -> Control | None:
    """Return what was decided about this mandate. A pause holds whatever is approved; all else is about one mandate."""
    if loaded is None:
        return None
    spec = loaded.model.spec
    mine = spec.mandate == mandate.id
    promoted = frozenset(spec.promoted) if mine else frozenset[str]()
    state = _CONTROL[spec.state] if mine or spec.state == "paused" else "running"
    if state == "running" and not promoted:
        return None
    return Control(state, spec.reason, spec.actor, revert=spec.revert and mine, promoted=promoted)


_CONTROL: Mapping[ControlState, ControlWord] = {
    "running": "running",
    "paused": "paused",
    "aborted": "aborted",
    "rolledBack": "rolled-back",
}


def _statements(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path.startswith(STATEMENTS) or path.endswith(".dsse.json")}
