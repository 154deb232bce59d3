"""Count who signed: distinct people with distinct key material, by the policy's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import APPROVAL, RELEASE, Approval, Mandate, Release
from fwctl_agent.trust.envelope import Sealed, merged
from fwctl_agent.trust.policy import Policy, Quorum

CLOCK_TOLERANCE = timedelta(minutes=10)
"""how far a laptop may be ahead of the judge before its approval counts as dated in the future"""
STRANGER: Final = "not signed by a key of anybody in the policy"


@dataclass(frozen=True)
class Vote:
    """One person's valid approval."""

    person: str
    approval: Approval


@dataclass(frozen=True)
class Ignored:
    """One approval that does not count, and why."""

    who: str
    code: str
    why: str


@dataclass(frozen=True)
class Tally:
    """All approvals of one mandate, judged. Whether they suffice depends on the stage: ask `approved`."""

    mandate: str
    votes: tuple[Vote, ...]
    ignored: tuple[Ignored, ...]

    def approved(self, policy: Policy, path: str, stage: int) -> tuple[Vote, ...]:
        """Return the votes that carry `stage` of the manifest at `path`: those of people whom a quorum asks.

        Raises:
            Refusal: `E_NOT_APPROVED` if no rule covers the path, `E_SIG_THRESHOLD` if a quorum is missing; `E_EXPIRED`
                or `E_SIG_MISSING` when that is why.
        """
        votes = tuple(vote for vote in self.votes if vote.approval.stage >= stage)
        quorums = policy.quorums(path, stage)
        if not quorums:
            raise Refusal("E_NOT_APPROVED", f"no approval rule of the policy covers {path}: nobody may approve it")
        for quorum in quorums:
            self._check(quorum, policy, votes)
        counted = {name for quorum in quorums for name in policy.groups[quorum.group]}
        return tuple(vote for vote in votes if vote.person in counted)

    def missing(self, policy: Policy, path: str, stage: int) -> tuple[tuple[Quorum, tuple[str, ...]], ...]:
        """Return the quorums that do not hold yet, each with the people who could still approve."""
        people = {vote.person for vote in self.votes if vote.approval.stage >= stage}
        return tuple(
            (quorum, tuple(sorted(set(policy.groups[quorum.group]) - people)))
            for quorum in policy.quorums(path, stage)
            if len(people & set(policy.groups[quorum.group])) < quorum.threshold
        )

    def _check(self, quorum: Quorum, policy: Policy, votes: tuple[Vote, ...]) -> None:
        people = {vote.person for vote in votes} & set(policy.groups[quorum.group])
        if len(people) >= quorum.threshold:
            return
        codes = {ignored.code for ignored in self.ignored}
        code = codes.pop() if not people and len(codes) == 1 else "E_SIG_THRESHOLD"
        names = ", ".join(sorted(people)) or "nobody"
        ignored = "; ".join(f"{one.who}: {one.why}" for one in self.ignored)
        raise Refusal(
            "E_SIG_MISSING" if not self.votes and not self.ignored else code,
            f"{len(people)} of {quorum.threshold} approvals by {quorum.group}: {names}"
            + (f"; ignored: {ignored}" if ignored else ""),
        )


def tally(
    envelopes: Iterable[Mapping[str, Any]], *, mandate: str, policy: Policy, now: datetime, suspect: bool = False
) -> tuple[Tally, Mandate | None]:
    """Judge approval envelopes for the mandate with id `mandate`; junk is ignored with a reason, never fatal.

    Approvals count together when their mandate is identical. `suspect` says that `now` is only a lower bound (a device
    without a clock): then nothing is refused for lying in the future.
    """
    votes: dict[str, Vote] = {}
    ignored: list[Ignored] = []
    for envelope in envelopes:
        try:
            vote = _vote(envelope, mandate, policy, now, suspect=suspect)
        except Refusal as error:
            ignored.append(Ignored(_claimed(envelope, policy), error.code, error.message))
            continue
        known = votes.get(vote.person)
        if known is None or _rank(known) < _rank(vote):
            votes[vote.person] = vote
    chosen = tuple(votes[person] for person in sorted(votes))
    return Tally(mandate, chosen, tuple(ignored)), (chosen[0].approval.mandate if chosen else None)


def _rank(vote: Vote) -> tuple[int, datetime]:
    """One person counts once: with the highest stage, then with the newest approval."""
    return vote.approval.stage, vote.approval.approved_at


def _vote(envelope: Mapping[str, Any], mandate: str, policy: Policy, now: datetime, *, suspect: bool) -> Vote:
    sealed = Sealed.open(dict(envelope), APPROVAL)
    people = {name: keys for name, keys in policy.people.items() if sealed.signers(keys)}
    if not people:
        raise Refusal("E_SIG_THRESHOLD", STRANGER)
    approval = Approval.from_wire(sealed.statement())
    if approval.signer not in people:
        raise Refusal("E_SIG_THRESHOLD", f"says {approval.signer}, but is signed by {', '.join(sorted(people))}")
    if approval.mandate.id != mandate:
        raise Refusal("E_APPROVAL_STALE", "approves other content (manifest, lock, plan or round have changed)")
    if now >= approval.expires:
        raise Refusal("E_EXPIRED", f"expired at {approval.expires:%Y-%m-%dT%H:%M:%SZ}")
    if approval.approved_at > now + CLOCK_TOLERANCE and not suspect:
        raise Refusal("E_EXPIRED", "is dated in the future")
    if approval.expires - approval.approved_at > timedelta(days=policy.max_approval_days):
        raise Refusal("E_EXPIRED", f"is valid for more than the {policy.max_approval_days} days that the policy allows")
    return Vote(approval.signer, approval)


def _claimed(envelope: Mapping[str, Any], policy: Policy) -> str:
    """Name an ignored approval by the key it states, for the message only."""
    try:
        keyids = [keyid for keyid, _ in Sealed.open(dict(envelope), APPROVAL).signatures]
    except Refusal:
        return "unreadable"
    return ", ".join(_holder(keyid, policy) for keyid in keyids)


def _holder(keyid: str, policy: Policy) -> str:
    return policy.person(keyid) or f"unknown key {keyid[:8]!r}"


def verify_release(envelopes: Iterable[Mapping[str, Any]], *, digest: str, policy: Policy) -> tuple[Release, set[str]]:
    """Return the release with that digest and the people who signed it, k of n by the policy.

    Raises:
        Refusal: `E_SIG_MISSING`, `E_SIG_THRESHOLD`, `E_SIG_TYPE`, `E_WITHDRAWN` or `E_SCHEMA`.
    """
    if digest in policy.withdrawn:
        raise Refusal("E_WITHDRAWN", f"release {digest[:19]} has been withdrawn")
    statements, unreadable = merged(envelopes, RELEASE)
    mine = [sealed for sealed in statements if canonical.digest(sealed.payload) == digest]
    if not mine:
        if unreadable:
            raise unreadable[0]
        raise Refusal("E_SIG_MISSING", f"there is no signed release statement {digest[:19]}")
    sealed = mine[0]
    # The model names the quorum, so it is read before the signatures are counted, and used for nothing else.
    release = Release.from_wire(sealed.statement())
    quorum = policy.release_quorum(release.model)
    if quorum is None:
        raise Refusal("E_SIG_THRESHOLD", f"the policy names nobody who may release firmware for {release.model}")
    signed = {person for person in policy.groups[quorum.group] if sealed.signers(policy.people[person])}
    if len(signed) < quorum.threshold:
        names = ", ".join(sorted(signed)) or "nobody"
        ignored = ", ".join(sorted({_holder(keyid, policy) for keyid, _ in sealed.signatures} - signed))
        raise Refusal(
            "E_SIG_THRESHOLD",
            f"release {release.model} {release.version}: {len(signed)} of {quorum.threshold} signatures by "
            f"{quorum.group}: {names}" + (f"; ignored: {ignored}" if ignored else ""),
        )
    return release, signed
