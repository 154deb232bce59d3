"""The work behind `approve`: check what may be signed, sign it, commit it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fwctl.cli.context import Context
from fwctl.cli.planning import PlanResult, find_rollouts
from fwctl.errors import Busy, InputError, TrustRefused
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.trust.authority import approval_path, envelope_bytes
from fwctl.trust.keystore import KeyStore
from fwctl.trust.signing import sign_approval
from fwctl_agent.protocol.statements import Approval, Mandate


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    rollout: str
    signer: str
    days: int
    stage: int
    meaning: str


@dataclass(frozen=True)
class Ready:
    """Checked, shown, and ready to be signed."""

    request: Request
    result: PlanResult
    state: CommitState
    mandate: Mandate
    signer: str
    stage: int


@dataclass(frozen=True)
class Approved:
    """What was committed, and what is missing still."""

    path: str
    commit: str
    missing: str


def check(settings: Context, request: Request) -> Ready:
    """Return what would be signed.

    Raises:
        Busy: `E_DIRTY` if the work tree differs from the commit that would be approved.
        InputError: no lock, no key; or the clock lies before the commit.
        TrustRefused: the release is not signed well enough.
    """
    dirty = settings.repo.dirty()
    if dirty:
        raise Busy(
            f"{len(dirty)} files are not committed, so what you see is not what would be approved",
            code="E_DIRTY",
            place=", ".join(dirty[:3]),
            remedy="git add -A && git commit, then approve again.",
        )
    commit, files = settings.committed()
    _check_clock(settings)
    state = settings.read(files, commit)
    prepared = state.rollouts[find_rollouts(state.repo, request.rollout)[0].key]
    if prepared.mandate is None:
        raise InputError(
            "there is no lock, so there is nothing to approve yet",
            code="E_NO_LOCK",
            place=prepared.rollout.path,
            remedy=f"fwctl plan {prepared.key} --lock, then commit it.",
        )
    if prepared.refused is not None:
        raise prepared.refused
    keystore = settings.keystore(state.repo.fleet.spec.repo_id)
    signer = _signer(keystore, state, request.signer)
    stages = max(wave.stage for wave in prepared.plan.waves)
    return Ready(request, PlanResult(prepared, (), 0), state, prepared.mandate, signer, request.stage or stages)


def sign_and_commit(settings: Context, ready: Ready) -> Approved:
    """Sign, commit the one file, and judge the result as the reconciler will."""
    now = settings.now().replace(microsecond=0)
    days = min(ready.request.days, ready.state.authority.policy.max_approval_days)
    approval = Approval(
        mandate=ready.mandate,
        stage=ready.stage,
        approved_at=now,
        expires=now + timedelta(days=days),
        signer=ready.signer,
        meaning=ready.request.meaning,
    )
    keystore = settings.keystore(ready.mandate.repo_id)
    path = approval_path(ready.mandate, ready.signer, ready.stage)
    data = envelope_bytes(sign_approval(approval, keystore.signer(ready.signer)))
    message = f"Approve {ready.result.prepared.key} as {ready.signer}\n\nMandate: {ready.mandate.id}\n"
    commit = settings.repo.commit_files({path: data}, message)
    after = settings.read(settings.committed()[1], commit)
    return Approved(path, commit, _missing(after.rollouts[ready.result.prepared.key]))


def _missing(prepared: Prepared) -> str:
    return "" if prepared.approved_stage and not prepared.not_approved else prepared.not_approved


def _signer(keystore: KeyStore, state: CommitState, wanted: str) -> str:
    """Return whose key signs: the one named, or the only one here that the policy knows."""
    people = state.authority.policy.people
    mine = [name for name in keystore.people() if name in people]
    if wanted:
        if wanted not in people:
            raise TrustRefused(
                f"the policy knows nobody called {wanted}",
                code="E_NOT_APPROVER",
                place="trust/policy/policy.json",
                remedy=f"Sign as one of: {', '.join(sorted(people))}",
            )
        return wanted
    if len(mine) == 1:
        return mine[0]
    raise InputError(
        f"you have {len(mine)} keys of people in the policy" if mine else "you have no key of anybody in the policy",
        code="E_KEY_MISSING",
        place=str(keystore.folder),
        remedy=f"Say --as NAME: {', '.join(mine or sorted(people))}",
    )


def _check_clock(settings: Context) -> None:
    """Refuse a clock before the last commit: the approval would be dated before what it approves (CONTRACTS, time)."""
    last = settings.repo.author(settings.repo.head()).time
    if settings.now() < last - timedelta(minutes=10):
        raise InputError(
            f"this machine's clock lies before the last commit ({last:%Y-%m-%d %H:%M}Z)",
            code="E_CLOCK",
            place="the clock of this machine",
            remedy="Set the clock, then approve again.",
        )
