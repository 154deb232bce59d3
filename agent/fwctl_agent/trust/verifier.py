"""Judge an order exactly as the device does: what passes in the pull request passes on the device.

The checks of an install order, numbered as in the code (CONTRACTS, table "Orders"):

 1. signed by an order key of the policy, for this device, with a content-derived id
 2. not expired, not valid for longer than a day
 3. epoch not below the highest seen for this key
 4. approvals: k of n for the path and stage, of exactly this mandate, for this repository and environment
 5. the mandate is not spent here, and no approval set older than the running one
 6. release: k of n signers, not withdrawn, named by the mandate and by the leaf's chain
 7. leaf and proof place this device in the approved lock; or the approved late-joiner terms fit it
 8. hardware, precursor, release counter, floor; along the chain only to the right
 9. the attempt is a new one

Fresh metadata (TUF snapshot and timestamp) is judged before, by `TrustedMetadata.advance(fresh=True)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.lock import Leaf, verify_inclusion
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import (
    ORDER,
    FollowUp,
    InstallOrder,
    Mandate,
    Order,
    Release,
    RunningImage,
    order_from_wire,
)
from fwctl_agent.protocol.versions import version_key
from fwctl_agent.trust.approvals import CLOCK_TOLERANCE, Vote
from fwctl_agent.trust.envelope import Sealed
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.verification import Verification

MAX_ORDER_LIFE = timedelta(hours=24)
PLAUSIBLE = timedelta(days=366)
"""how long a device may go without a new approval before its clock alone proves no end of a certificate any more"""
_PLAIN = Verification()


@dataclass(frozen=True, kw_only=True)
class DeviceContext:
    """What the judge knows of the device: identity, what it runs, and the marks that only ever rise."""

    id: str
    repo_id: str
    model: str
    hardware: str
    env: str
    enrolled_at: datetime
    running: RunningImage
    floor: int
    release_counters: Mapping[str, int]
    """version -> highest release counter accepted"""
    epochs: Mapping[str, int]
    """order key id -> highest epoch seen"""
    spent: frozenset[str]
    marks: Mapping[tuple[str, str], int]
    """(mandate, verb) -> highest attempt accepted"""
    running_approved_at: datetime | None
    """oldest counted approval of the running mandate"""


@dataclass(frozen=True)
class TrustedTime:
    """The moment to judge by; `suspect` when the clock lay before the floor clock and `now` is only a lower bound."""

    now: datetime
    suspect: bool
    floor: datetime | None = None
    """the floor clock: what signed approvals have proved to be past"""

    @property
    def ahead(self) -> bool:
        """Whether the clock is so far beyond what was ever proved that it may well be wrong."""
        return self.floor is not None and self.now - self.floor > PLAUSIBLE


@dataclass(frozen=True)
class AcceptedInstall:
    order: InstallOrder
    release: Release
    mandate: Mandate
    approved_at: datetime
    """the oldest approval that counts"""
    order_key: str
    approvers: tuple[str, ...]


@dataclass(frozen=True)
class AcceptedFollowUp:
    order: FollowUp
    order_key: str


def open_order(envelope: Mapping[str, object], policy: Policy) -> tuple[Order, str]:
    """Return the order and the id of the order key that signed it.

    Raises:
        Refusal: `E_SIG_TYPE`, `E_SIG_MISSING`, `E_SIG_THRESHOLD` or `E_SCHEMA`.
    """
    return _open(Sealed.open(dict(envelope), ORDER), policy)


def _open(sealed: Sealed, policy: Policy) -> tuple[Order, str]:
    signers = sealed.signers(policy.order_keys.values())
    if not signers:
        raise Refusal("E_SIG_THRESHOLD", "the order is not signed by an order key of the policy")
    return order_from_wire(sealed.statement()), min(signers)


def judge_install(
    request: OrderRequest,
    *,
    context: DeviceContext,
    policy: Policy,
    time: TrustedTime,
    verification: Verification = _PLAIN,
    sealed: Sealed | None = None,
) -> AcceptedInstall:
    """Return what may be installed, after every check above; `verification` makes those that concern no one device.

    `sealed` is the order of `request`, where it has been opened already.

    Raises:
        Refusal: the first check that fails, with its stable code.
    """
    order, key = _opened(request, sealed, context, policy)  # 1
    if not isinstance(order, InstallOrder):
        raise Refusal("E_SCHEMA", "this is not an install order")
    _check_life(order, time)  # 2
    _check_epoch(order, key, context)  # 3
    leaf = Leaf.parse(order.leaf) if order.leaf else None
    mandate, votes = _approved(request, order, leaf, context, policy, time, verification)  # 4
    approved_at = min(vote.approval.approved_at for vote in votes)
    _check_replay(mandate, approved_at, context)  # 5
    release = _release(request, order, mandate, policy, verification)  # 6
    chain = _covered(order, leaf, mandate, approved_at, context)  # 7
    _check_fit(release, chain, mandate, context, policy)  # 8
    _check_attempt(order, context)  # 9
    return AcceptedInstall(order, release, mandate, approved_at, key, tuple(vote.person for vote in votes))


def judge_follow_up(
    request: OrderRequest,
    *,
    context: DeviceContext,
    policy: Policy,
    time: TrustedTime,
    release: Release | None,
    sealed: Sealed | None = None,
) -> AcceptedFollowUp:
    """Judge activate, confirm, revert or cancel; `release` is that of the install order it refers to, if known.

    Only activate looks at expiry, withdrawal and floor: nothing that has happened since may block a confirm, a revert
    or a cancel. What the order refers to is the state machine's to check.

    Raises:
        Refusal: with the code of the first check that fails.
    """
    order, key = _opened(request, sealed, context, policy)
    if isinstance(order, InstallOrder):
        raise Refusal("E_SCHEMA", "an install order is judged as one")
    _check_epoch(order, key, context)
    if order.verb == "activate":
        _check_life(order, time)
        if order.release in policy.withdrawn:
            raise Refusal("E_WITHDRAWN", f"release {order.release[:19]} has been withdrawn")
        if order.mandate in context.spent:
            raise Refusal("E_ORDER_REPLAY", "this mandate was taken back on this device")
        if release is not None:
            _check_floor(release, final=True, context=context, policy=policy)
    _check_attempt(order, context)
    return AcceptedFollowUp(order, key)


def _opened(request: OrderRequest, sealed: Sealed | None, context: DeviceContext, policy: Policy) -> tuple[Order, str]:
    order, key = _open(sealed or Sealed.open(request.order, ORDER), policy)
    if order.device != context.id:
        raise Refusal("E_ORDER_REPLAY", f"this order is for {order.device}, not for {context.id}")
    return order, key


def _check_life(order: Order, time: TrustedTime) -> None:
    if order.expires - order.issued_at > MAX_ORDER_LIFE:
        raise Refusal("E_EXPIRED", "an order may be valid for at most 24 hours")
    if time.now >= order.expires:
        raise Refusal("E_EXPIRED", f"the order expired at {order.expires:%Y-%m-%dT%H:%M:%SZ}")
    if order.issued_at > time.now + CLOCK_TOLERANCE and not time.suspect:
        raise Refusal("E_CLOCK", "the order is dated in the future")


def _check_epoch(order: Order, key: str, context: DeviceContext) -> None:
    seen = context.epochs.get(key, 0)
    if order.epoch < seen:
        raise Refusal("E_ORDER_REPLAY", f"epoch {order.epoch} lies below {seen}: a newer reconciler is in charge")


def _approved(
    request: OrderRequest,
    order: InstallOrder,
    leaf: Leaf | None,
    context: DeviceContext,
    policy: Policy,
    time: TrustedTime,
    verification: Verification,
) -> tuple[Mandate, tuple[Vote, ...]]:
    judged, mandate = verification.tally(
        request.approvals, mandate=order.mandate, policy=policy, now=time.now, suspect=time.suspect
    )
    if mandate is None:
        codes = {ignored.code for ignored in judged.ignored} or {"E_SIG_MISSING"}
        why = "; ".join(f"{one.who}: {one.why}" for one in judged.ignored) or "the order carries no approval"
        raise Refusal(codes.pop() if len(codes) == 1 else "E_SIG_THRESHOLD", f"no approval counts: {why}")
    if mandate.repo_id != context.repo_id or mandate.repo_id != policy.repo_id:
        raise Refusal("E_APPROVAL_SCOPE", f"approved for repository {mandate.repo_id}, not for {context.repo_id}")
    if mandate.env != context.env:
        raise Refusal("E_APPROVAL_SCOPE", f"approved for environment {mandate.env}, this device is in {context.env}")
    late = mandate.late_joiners.stage if mandate.late_joiners is not None else 1
    return mandate, judged.approved(policy, mandate.path, leaf.stage if leaf else late)


def _check_replay(mandate: Mandate, approved_at: datetime, context: DeviceContext) -> None:
    if mandate.id in context.spent:
        raise Refusal("E_ORDER_REPLAY", "this mandate was taken back on this device; a new round needs new approval")
    running = context.running_approved_at
    if running is not None and approved_at < running and mandate.id != context.running.mandate:
        raise Refusal("E_ORDER_REPLAY", "the approvals are older than those of the firmware that runs")


def _release(
    request: OrderRequest, order: InstallOrder, mandate: Mandate, policy: Policy, verification: Verification
) -> Release:
    if order.release not in mandate.releases:
        raise Refusal("E_NOT_APPROVED", "the approvals do not name this release")
    return verification.release(request.releases, digest=order.release, policy=policy)


def _covered(
    order: InstallOrder, leaf: Leaf | None, mandate: Mandate, approved_at: datetime, context: DeviceContext
) -> tuple[str, ...]:
    """Return the chain of releases that this device may move along.

    Nobody approved a chain for a late joiner, so each release is judged as its last one: all floors hold.
    """
    if leaf is None:
        late = mandate.late_joiners
        if late is None or (late.model, late.env) != (context.model, context.env) or context.enrolled_at <= approved_at:
            raise Refusal("E_NOT_APPROVED", "no lock line for this device, and no late-joiner terms that fit it")
        return (order.release,)
    if leaf.device != context.id:
        raise Refusal("E_NOT_APPROVED", f"the lock line is that of {leaf.device}")
    verify_inclusion(order.leaf, order.proof, root=mandate.lock_root, size=mandate.lock_size)
    if order.release not in leaf.chain:
        raise Refusal("E_NOT_APPROVED", "the lock names other releases for this device")
    return leaf.chain


def _check_fit(
    release: Release, chain: tuple[str, ...], mandate: Mandate, context: DeviceContext, policy: Policy
) -> None:
    if release.model != context.model or context.hardware not in release.hardware:
        raise Refusal(
            "E_HW_MISMATCH",
            f"built for {release.model} on {', '.join(release.hardware)}; this is a {context.model} on "
            f"{context.hardware}",
        )
    wanted = release.requires_from
    if wanted is not None and context.running.version not in wanted:
        raise Refusal("E_PRECURSOR", f"may follow {wanted} only; this device runs {context.running.version}")
    if release.release_counter < context.release_counters.get(release.version, 0):
        raise Refusal("E_ORDER_REPLAY", f"a newer release of version {release.version} was accepted before")
    at = chain.index(release.digest)
    if context.running.release in chain and at < chain.index(context.running.release):
        raise Refusal("E_ORDER_REPLAY", "within a mandate a device moves only forward along its chain")
    back = version_key(release.version) < version_key(context.running.version)
    if back and context.running.mandate == mandate.id and context.running.release not in chain:
        raise Refusal("E_ORDER_REPLAY", "within a mandate a late joiner moves only to a newer version")
    _check_floor(release, final=at == len(chain) - 1, context=context, policy=policy)


def _check_floor(release: Release, *, final: bool, context: DeviceContext, policy: Policy) -> None:
    """Only a non-final stop of an approved chain may lie below the policy's floor; nothing below the stored one."""
    floor = max(context.floor, policy.floors.get(release.model, 0) if final else 0)
    if release.security_version < floor:
        raise Refusal("E_ROLLBACK_FLOOR", f"security version {release.security_version} lies below the floor {floor}")


def _check_attempt(order: Order, context: DeviceContext) -> None:
    mark = context.marks.get((order.mandate, order.verb), 0)
    if order.attempt <= mark:
        raise Refusal("E_ORDER_REPLAY", f"attempt {order.attempt} of this {order.verb} is over (highest: {mark})")
