"""What a trust allows and should not: findings, each with its place and its remedy. Pure.

What makes a trust unusable (weak, duplicate or degenerate keys, one person twice in a role, a machine's key among
people's, thresholds out of reach) is refused when it is loaded, here and on the
device; `refused` tells it as a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fwctl.errors import FwctlError
from fwctl.manifests.diagnostic import Diagnostic, Place, ordered
from fwctl.trust.authority import Authority
from fwctl.trust.expiry import Expiring
from fwctl_agent.trust.policy import PathRule, Policy, Quorum, glob

POLICY: Final = "trust/policy/policy.json"
MACHINES: Final = ("reconciler-order", "reconciler-freshness")
PRODUCTION: Final = re.compile(r"(^|[-/_])(prod|production|live)([-/_*]|$)")
"""environments in which one person alone should not decide"""


@dataclass(frozen=True)
class LocalKey:
    """One private key on this machine."""

    name: str
    path: str
    safe: bool
    """nobody else can read it"""
    encrypted: bool
    """by a passphrase, or it lies in a token"""


@dataclass(frozen=True)
class Case:
    """What is looked at. `rollouts` is manifest path -> firmware model; `keys` are those on this machine."""

    authority: Authority
    rollouts: Mapping[str, str]
    keys: Sequence[LocalKey] = ()
    ends: Sequence[Expiring] = ()

    @property
    def policy(self) -> Policy:
        return self.authority.policy

    @property
    def alone(self) -> bool:
        """One person holds everything: what is said of several people means nothing here."""
        return len([name for name, keys in self.policy.people.items() if keys]) <= 1


def lint(case: Case) -> tuple[Diagnostic, ...]:
    """Return all findings about a trust that could be loaded."""
    rules = (_uncovered, _unreleased, _thresholds, _roles, _duties, _unused, _keys, _together, _alone, _ends)
    return ordered(one for rule in rules for one in rule(case))


def refused(error: FwctlError) -> Diagnostic:
    """Return why a trust cannot be used at all, as a finding."""
    return Diagnostic(error.code, error.message, Place(error.place or POLICY), error.remedy)


def _uncovered(case: Case) -> Iterator[Diagnostic]:
    for path in case.rollouts:
        if not case.policy.quorums(path, 1):
            message = "no approval rule covers this rollout: nobody may approve it, so it never runs"
            remedy = f"Add a rule for `{path.rpartition('/')[0]}/**` to approvalRules: fwctl trust policy FILE"
            yield Diagnostic("E_NO_RULE", message, Place(path), remedy)


def _unreleased(case: Case) -> Iterator[Diagnostic]:
    for path, model in case.rollouts.items():
        if case.policy.release_quorum(model) is None:
            message = f"nobody may release firmware for {model}, so this rollout never runs"
            remedy = f"Add {model} to releaseSigners: fwctl trust policy FILE"
            yield Diagnostic("E_NO_RULE", message, Place(path), remedy)


def _thresholds(case: Case) -> Iterator[Diagnostic]:
    """One person is enough for what looks like production: for a rollout there is, or for a rule about one to come."""
    if case.alone:
        return
    policy = case.policy
    lonely = [path for path in case.rollouts if PRODUCTION.search(path) and policy.quorums(path, 1)]
    for path in lonely:
        if least_people(policy, policy.quorums(path, 1)) == 1:
            yield _single(Place(path), "one person alone can approve this production rollout")
    for rule in policy.approval_rules:
        seen = any(glob(rule.paths, path) for path in case.rollouts)
        if PRODUCTION.search(rule.paths) and not seen and least_people(policy, _beside(policy, rule)) == 1:
            yield _single(Place(POLICY), f"one person alone can approve what `{rule.paths}` covers")


def _single(place: Place, message: str) -> Diagnostic:
    return Diagnostic("W_ONE_APPROVER", message, place, "Raise the threshold, or add a rule of a second group.")


def _beside(policy: Policy, rule: PathRule) -> tuple[Quorum, ...]:
    return tuple(one.quorum for one in policy.approval_rules if one.paths == rule.paths and one.stage == rule.stage)


def least_people(policy: Policy, quorums: Iterable[Quorum]) -> int:
    """Return a bound: so many distinct people at least, for all of these; one counts in each group that lists them."""
    wanted = tuple(quorums)
    most = max((one.threshold for one in wanted), default=0)
    members = [frozenset(policy.groups[one.group]) for one in wanted]
    apart = all(not (a & b) for at, a in enumerate(members) for b in members[at + 1 :])
    return sum(one.threshold for one in wanted) if apart else most


def _roles(case: Case) -> Iterator[Diagnostic]:
    trusted = case.authority.trusted
    if case.alone or trusted.targets is None or trusted.targets.signed.delegations is None:
        return
    root, delegated = trusted.root.signed, dict(trusted.targets.signed.delegations.roles or {})
    entries: tuple[tuple[str, Any], ...] = (
        ("root", root.roles["root"]),
        ("targets", root.roles["targets"]),
        ("policy", delegated["policy"]),
    )
    for name, entry in entries:
        if entry.threshold == 1:
            message = f"one person alone can sign {name}: whoever steals that key owns the fleet"
            remedy = f"Give {name} a threshold of two or more: fwctl trust rotate-root"
            yield Diagnostic("W_ONE_SIGNER", message, Place("trust/"), remedy)


def _duties(case: Case) -> Iterator[Diagnostic]:
    """Who releases a model's firmware should not be the one who approves that it is rolled out."""
    policy = case.policy
    if case.alone:
        return
    for path, model in case.rollouts.items():
        release = policy.release_quorum(model)
        approvers = {name for quorum in policy.quorums(path, 1) for name in policy.groups[quorum.group]}
        both = sorted(approvers & set(policy.groups[release.group])) if release else []
        if both:
            message = f"{', '.join(both)} may both release {model} and approve this rollout of it"
            remedy = "Have other people release than approve, or accept it knowingly."
            yield Diagnostic("W_SAME_PERSON", message, Place(path), remedy)


def _unused(case: Case) -> Iterator[Diagnostic]:
    policy = case.policy
    used = {rule.quorum.group for rule in policy.approval_rules}
    used |= {quorum.group for quorum in policy.release_signers.values()}
    for group in sorted(set(policy.groups) - used):
        message = f"no rule asks for the group {group}: its people may do nothing by it"
        yield Diagnostic("W_GROUP_UNUSED", message, Place(POLICY), "Remove the group, or add the rule that is missing.")
    for rule in policy.approval_rules:
        fixed = rule.paths.partition("*")[0]
        if not (fixed.startswith("rollouts/") or "rollouts/".startswith(fixed)):
            message = f"no rollout can match `{rule.paths}`: rollouts are at rollouts/ENV/NAME.yaml"
            yield Diagnostic("W_RULE_UNUSED", message, Place(POLICY), "Correct the path, such as `rollouts/prod-*/**`.")


def _keys(case: Case) -> Iterator[Diagnostic]:
    for key in case.keys:
        if not key.safe:
            remedy = f"chmod 600 {key.path}; and think about who may have read it"
            yield Diagnostic("E_KEY_OPEN", f"others can read the private key {key.name}", Place(key.path), remedy)
        if not key.encrypted and key.name not in MACHINES and not case.alone:
            message = f"the private key {key.name} lies here without a passphrase"
            yield Diagnostic("W_KEY_PLAIN", message, Place(key.path), f"fwctl keys protect {key.name}")


def _together(case: Case) -> Iterator[Diagnostic]:
    machines = [key for key in case.keys if key.name in MACHINES]
    people = [key.name for key in case.keys if key.name in case.policy.people]
    if machines and people and not case.alone:
        message = f"the reconciler's keys lie on the same machine as the key of {', '.join(people)}"
        remedy = "Reconcile on a machine of its own: docs/how-to/run-the-reconciler.md"
        yield Diagnostic("W_KEYS_TOGETHER", message, Place(machines[0].path), remedy)


def _alone(case: Case) -> Iterator[Diagnostic]:
    if case.alone:
        message = "one person holds everything: this is a development trust"
        remedy = "For production: docs/how-to/production-trust.md"
        yield Diagnostic("I_DEVELOPMENT", message, Place(POLICY), remedy)


def _ends(case: Case) -> Iterator[Diagnostic]:
    for one in case.ends:
        if one.level == "expired":
            yield Diagnostic("E_ENDED", f"{one.what} ended on {one.expires:%Y-%m-%d}", Place("trust/"), one.renew)
        elif one.level != "ok":
            message = f"{one.what} ends in {one.days} days, on {one.expires:%Y-%m-%d}"
            yield Diagnostic("W_ENDS_SOON", message, Place("trust/"), one.renew)
