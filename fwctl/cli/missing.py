"""Who is missing for the next stage of a rollout, and who of them can approve on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.trust.keystore import KeyStore
from fwctl_agent.trust.policy import Policy


@dataclass(frozen=True)
class Missing:
    """What the next stage waits for."""

    why: str
    """empty if nothing is missing"""
    stage: int
    """the stages up to this one may run"""
    people: tuple[str, ...]
    """who could still approve, a phrase per quorum: `bob or carol of release-managers`"""
    here: tuple[str, ...]
    """those of them whose keys are on this machine"""


def read_missing(keystore: KeyStore, state: CommitState, prepared: Prepared) -> Missing:
    """Return what a rollout waits for."""
    why, stage = prepared.not_approved, prepared.approved_stage
    if not why or prepared.refused or prepared.verdict is None:
        return Missing(why, stage, (), ())
    policy, path = state.authority.policy, prepared.rollout.path
    judged = prepared.verdict.tally
    voted = {vote.person for vote in judged.votes if vote.approval.stage > stage}
    people, here = [], dict[str, None]()
    for quorum, candidates in judged.missing(policy, path, stage + 1):
        wanted = quorum.threshold - len(voted & set(policy.groups[quorum.group]))
        people.append(f"{_some(wanted, candidates)} of {quorum.group}")
        here |= dict.fromkeys(name for name in candidates if _holds(keystore, policy, name))
    return Missing(why, stage, tuple(people), tuple(here))


def _some(wanted: int, people: tuple[str, ...]) -> str:
    """Return `bob or carol`, `bob and carol`, `2 of bob, carol, dave`: so many of these."""
    if wanted == len(people):
        return " and ".join(people)
    return " or ".join(people) if wanted == 1 else f"{wanted} of {', '.join(people)}"


def _holds(keystore: KeyStore, policy: Policy, name: str) -> bool:
    """Tell whether the key that the policy has for somebody lies here."""
    return name in keystore.people() and policy.person(keystore.public(name).keyid) == name
