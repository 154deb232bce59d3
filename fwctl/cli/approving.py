"""The work behind `approve`: check what may be signed, sign it, commit it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fwctl.cli.context import Context
from fwctl.cli.missing import Missing, read_missing
from fwctl.cli.planning import PlanResult, find_rollouts, forecast, may_begin
from fwctl.errors import Busy, InputError, TrustRefused, UsageError
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.render.words import counted
from fwctl.trust.authority import approval_path, envelope_bytes
from fwctl.trust.keystore import KeyStore
from fwctl.trust.signing import sign_approval
from fwctl_agent.protocol.statements import Approval, Mandate
from fwctl_agent.trust.approvals import CLOCK_TOLERANCE, Vote, tally

_RENEW_BEFORE = timedelta(days=7)
_RENEW_AFTER = timedelta(days=30)
"""so long after its end an approval may still be renewed; later, somebody approves anew"""
_CLOCK_BEHIND = timedelta(minutes=10)
_CLOCK_AHEAD = timedelta(days=30)
"""A repository may rest for days, and nothing offline tells that from a clock that is ahead by as much.
Statements dated in the future count nowhere; beyond this a person has to say that the clock is right."""


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    rollout: str
    signer: str
    days: int
    stage: int
    meaning: str
    renew: bool = False
    clock_is_right: bool = False


@dataclass(frozen=True)
class Ready:
    """Checked, shown, and ready to be signed: `approval` is exactly what the signature is put under."""

    result: PlanResult
    commit: str
    approval: Approval
    stages: int
    standing: Vote | None
    """the same person's approval of the same content, if it covers this one already"""
    missing: Missing
    """what is missing before this approval"""
    path: str
    """where it is committed: never over another one"""
    renews: Approval | None
    """the same person's newest approval of the same content that this one follows; None for a first one"""


@dataclass(frozen=True)
class Approved:
    """What was committed, and what is missing still."""

    path: str
    commit: str
    missing: Missing


def check(settings: Context, request: Request) -> Ready:
    """Return what would be signed.

    Raises:
        Busy: `E_DIRTY` if the work tree differs from the commit that would be approved.
        InputError: no lock, no key; or the clock lies before the commit, or implausibly after it.
        TrustRefused: the release is not signed well enough; or there is nothing to renew.
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
    state = settings.read(files, commit)
    _check_clock(settings, state, sure=request.clock_is_right)
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
    if not prepared.approved_stage and not request.renew:
        may_begin(state.repo, [prepared.rollout], settings.now().date())
    keystore = settings.keystore(state.repo.fleet.spec.repo_id)
    signer = _signer(keystore, state, request.signer)
    stages = max(wave.stage for wave in prepared.plan.waves)
    now = settings.now().replace(microsecond=0)
    earlier = _earlier(state, prepared.mandate, signer, now)
    renews = _renewable(prepared, earlier, request, now) if request.renew else None
    stage = renews.stage if renews else min(request.stage or stages, stages)
    days = min(request.days, state.authority.policy.max_approval_days)
    at = _after_earlier(state, prepared.mandate, [one.approved_at for one in earlier], now)
    approval = Approval(prepared.mandate, stage, at, now + timedelta(days=days), signer, request.meaning)
    votes = prepared.verdict.tally.votes if prepared.verdict else ()
    standing = next((vote for vote in votes if _covers(vote, approval, renew=request.renew)), None)
    path = approval_path(prepared.mandate, signer, stage)
    if path in files:
        path = approval_path(prepared.mandate, signer, stage, renewed=at)
    shown, missing = forecast(settings, state.repo, prepared), read_missing(keystore, state, prepared)
    return Ready(shown, commit, approval, stages, standing, missing, path, renews)


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
    path = ready.path
    data = envelope_bytes(sign_approval(approval, keystore.signer(approval.signer)))
    verb = "Renew the approval of" if ready.renews else "Approve"
    message = f"{verb} {ready.result.prepared.key} as {approval.signer}\n\nMandate: {mandate.id}\n"
    commit = settings.repo.commit_files({path: data}, message)
    after = settings.read(settings.committed()[1], commit)
    return Approved(path, commit, read_missing(keystore, after, after.rollouts[ready.result.prepared.key]))


def _earlier(state: CommitState, mandate: Mandate, signer: str, now: datetime) -> tuple[Approval, ...]:
    """Return a person's own approvals of this content, oldest first: each counted at the time that it was made."""
    found = []
    for envelope in state.authority.approvals(mandate):
        made = state.authority.made_at(envelope)
        if made is not None and made <= now + CLOCK_TOLERANCE:
            counted, _ = tally([envelope], mandate=mandate.id, policy=state.authority.policy, now=made)
            found += [vote.approval for vote in counted.votes if vote.person == signer]
    return tuple(sorted(found, key=lambda one: one.approved_at))


def _renewable(prepared: Prepared, earlier: tuple[Approval, ...], request: Request, now: datetime) -> Approval:
    """Return the approval to renew: the newest one, unless it ended long ago.

    Raises:
        TrustRefused: `E_NO_RENEWAL`.
        UsageError: another stage was asked for.
    """
    newest = max(earlier, key=lambda one: (one.stage, one.approved_at), default=None)
    if newest is None or now > newest.expires + _RENEW_AFTER:
        ended = f": yours ended on {newest.expires:%Y-%m-%d}" if newest else " by you"
        raise TrustRefused(
            f"there is no approval of this content to renew{ended}",
            code="E_NO_RENEWAL",
            place=prepared.rollout.path,
            remedy=f"Look at the plan and approve it: fwctl approve {prepared.key}",
        )
    if request.stage not in (0, newest.stage):
        raise UsageError(
            f"your approval is up to stage {newest.stage}; renewing changes nothing but its time",
            code="E_USAGE",
            place="--stage",
            remedy=f"For another stage approve anew: fwctl approve {prepared.key} --stage {request.stage}",
        )
    return newest


def _after_earlier(state: CommitState, mandate: Mandate, own: Iterable[datetime], now: datetime) -> datetime:
    """Return `now`, or the second after this rollout's newest earlier approval: devices tell their order by it alone.

    A date further ahead than a clock may be is left alone: it is not worth following.
    """
    dates = [*state.authority.approval_dates(mandate), *own]
    newest = max((date for date in dates if date <= now + CLOCK_TOLERANCE / 2), default=now - timedelta(seconds=1))
    return max(now, newest + timedelta(seconds=1))


def _covers(vote: Vote, approval: Approval, *, renew: bool) -> bool:
    """Tell whether a person's approval stands already; it may be renewed shortly before it ends, or when told to."""
    same = vote.person == approval.signer and vote.approval.stage >= approval.stage
    if renew:
        return same and vote.approval.expires >= approval.expires
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


def _check_clock(settings: Context, state: CommitState, *, sure: bool) -> None:
    """Refuse a clock before the last commit, or implausibly after it and all approvals (CONTRACTS, time).

    An approval from the past is dated before what it approves; one from the future raises the clocks of devices that
    have none of their own.
    """
    now, last = settings.now(), settings.repo.author(settings.repo.head()).time
    if now < last - _CLOCK_BEHIND:
        raise InputError(
            f"this machine's clock lies before the last commit ({last:%Y-%m-%d %H:%M}Z)",
            code="E_CLOCK",
            place="the clock of this machine",
            remedy="Set the clock, then approve again.",
        )
    newest = max([last, *state.authority.all_approval_dates()])
    if now > newest + _CLOCK_AHEAD and not sure:
        raise InputError(
            f"this machine's clock ({now:%Y-%m-%d %H:%M}Z) lies {(now - newest).days} days after all that was "
            f"committed and approved ({newest:%Y-%m-%d %H:%M}Z)",
            code="E_CLOCK",
            place="the clock of this machine",
            remedy="Set the clock, then approve again. If it is right: add --clock-is-right.",
        )
