"""The work behind `approve`: check what may be signed, sign it, commit it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fwctl.cli.context import Context
from fwctl.cli.planning import PlanResult, find_rollouts, forecast
from fwctl.errors import Busy, InputError, TrustRefused
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.render.words import counted
from fwctl.trust.authority import approval_path, envelope_bytes
from fwctl.trust.keystore import KeyStore
from fwctl.trust.signing import sign_approval
from fwctl_agent.protocol.statements import Approval, Mandate
from fwctl_agent.trust.approvals import CLOCK_TOLERANCE, Vote

_RENEW_BEFORE = timedelta(days=7)


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
    """Checked, shown, and ready to be signed: `approval` is exactly what the signature is put under."""

    result: PlanResult
    commit: str
    approval: Approval
    stages: int
    standing: Vote | None
    """the same person's approval of the same content, if it covers this one already"""
    missing: str
    """what is missing before this approval; empty if nothing is"""


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
            f"{counted(len(dirty), 'file')} not committed, so what you see is not what would be approved",
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
    stage = min(request.stage or stages, stages)
    now = settings.now().replace(microsecond=0)
    days = min(request.days, state.authority.policy.max_approval_days)
    approval = Approval(
        mandate=prepared.mandate,
        stage=stage,
        approved_at=_after_earlier(state, prepared.mandate, now),
        expires=now + timedelta(days=days),
        signer=signer,
        meaning=request.meaning,
    )
    votes = prepared.verdict.tally.votes if prepared.verdict else ()
    standing = next((vote for vote in votes if _covers(vote, approval)), None)
    return Ready(forecast(settings, state.repo, prepared), commit, approval, stages, standing, _missing(prepared))


def sign_and_commit(settings: Context, ready: Ready) -> Approved:
    """Sign, commit the one file, and judge the result as the reconciler will.

    Raises:
        Busy: `E_PLAN_STALE` if a commit has landed since the plan was shown.
    """
    approval, mandate = ready.approval, ready.approval.mandate
    head = settings.repo.head()
    if head != ready.commit:
        raise Busy(
            f"{head[:12]} was committed since {ready.commit[:12]} was shown",
            code="E_PLAN_STALE",
            place=ready.result.prepared.rollout.path,
            remedy="Look at the plan again and approve that: run the same command.",
        )
    keystore = settings.keystore(mandate.repo_id)
    path = approval_path(mandate, approval.signer, approval.stage)
    data = envelope_bytes(sign_approval(approval, keystore.signer(approval.signer)))
    message = f"Approve {ready.result.prepared.key} as {approval.signer}\n\nMandate: {mandate.id}\n"
    commit = settings.repo.commit_files({path: data}, message)
    after = settings.read(settings.committed()[1], commit)
    return Approved(path, commit, _missing(after.rollouts[ready.result.prepared.key]))


def _missing(prepared: Prepared) -> str:
    return "" if prepared.approved_stage and not prepared.not_approved else prepared.not_approved


def _after_earlier(state: CommitState, mandate: Mandate, now: datetime) -> datetime:
    """Return `now`, or the second after this rollout's newest earlier approval: devices tell their order by it alone.

    A date further ahead than a clock may be is left alone: it is not worth following.
    """
    dates = state.authority.approval_dates(mandate)
    newest = max((date for date in dates if date <= now + CLOCK_TOLERANCE / 2), default=now - timedelta(seconds=1))
    return max(now, newest + timedelta(seconds=1))


def _covers(vote: Vote, approval: Approval) -> bool:
    """Tell whether a person's approval stands already; shortly before it ends it may be renewed."""
    same = vote.person == approval.signer and vote.approval.stage >= approval.stage
    left, wanted = vote.approval.expires - approval.approved_at, approval.expires - approval.approved_at
    return same and left >= min(_RENEW_BEFORE, wanted / 2)


def _signer(keystore: KeyStore, state: CommitState, wanted: str) -> str:
    """Return whose key signs: the one named, or the only one here that the policy knows.

    A signature that no device would count is refused before it is made.
    """
    policy = state.authority.policy
    mine = [name for name in keystore.people() if name in policy.people]
    if not wanted and len(mine) != 1:
        raise _no_key(keystore, mine, sorted(policy.people))
    name = wanted or mine[0]
    if name not in policy.people:
        raise TrustRefused(
            f"the policy knows nobody called {name[:60]}",
            code="E_NOT_APPROVER",
            place="trust/policy/policy.json",
            remedy=f"Sign as one of: {', '.join(sorted(policy.people))}",
        )
    if policy.person(keystore.public(name).keyid) != name:
        raise TrustRefused(
            f"the key {name} on this machine is not the one that the policy has for {name}",
            code="E_NOT_APPROVER",
            place=str(keystore.key_path(name)),
            remedy="Sign where the right key is, or have the policy changed. See: fwctl keys list",
        )
    return name


def _no_key(keystore: KeyStore, mine: list[str], people: list[str]) -> InputError:
    if mine:
        return InputError(
            f"you have keys of {len(mine)} people in the policy",
            code="E_KEY_MISSING",
            place=str(keystore.folder / "keys"),
            remedy=f"Say whose: --as {' or --as '.join(mine)}",
        )
    return InputError(
        "you have no key of anybody in the policy",
        code="E_KEY_MISSING",
        place=str(keystore.folder / "keys"),
        remedy=f"Ask one of them to approve, or to add you to the policy: {', '.join(people)}",
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
