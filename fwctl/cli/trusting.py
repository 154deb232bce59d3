"""The work behind `trust status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fwctl.cli.amending import ROOT
from fwctl.cli.context import Context
from fwctl.cli.open_proposal import Open, read_open
from fwctl.reconcile.commit import Prepared
from fwctl.trust.authority import approver_of
from fwctl.trust.quorums import holders_of
from fwctl_agent.trust.policy import Policy


@dataclass(frozen=True)
class RoleLine:
    """One piece of metadata."""

    name: str
    version: int
    expires: datetime
    threshold: int
    signers: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """One quorum that does not hold yet."""

    stage: int
    group: str
    have: int
    threshold: int
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Waste:
    """One approval that does not count."""

    who: str
    why: str


@dataclass(frozen=True)
class ApprovalLine:
    """Where the approvals of one rollout stand."""

    rollout: str
    mandate: str
    stages: int
    approved_stage: int
    approvers: tuple[tuple[str, datetime], ...]
    """who counts, and until when"""
    missing: tuple[Missing, ...]
    waste: tuple[Waste, ...]
    refused: str

    @property
    def command(self) -> str:
        """What brings it further; empty if nothing has to."""
        if not self.mandate:
            return f"fwctl plan {self.rollout} --lock"
        if not self.missing:
            return ""
        return f"fwctl approve {self.rollout} --as {next(iter(self.missing[0].candidates), 'NAME')}"


@dataclass(frozen=True)
class TrustStatus:
    """Everything about trust at one commit."""

    commit: str
    repo_id: str
    pinned: Path
    roles: tuple[RoleLine, ...]
    policy: Policy
    approvals: tuple[ApprovalLine, ...]
    mine: tuple[str, ...]
    now: datetime
    open: Open | None = None
    """the change of trust that waits for signatures"""

    @property
    def commands(self) -> tuple[str, ...]:
        changes = self.open.commands if self.open else ()
        return (*changes, *filter(None, (one.command for one in self.approvals)))


def read_trust(settings: Context) -> TrustStatus:
    """Return the trust of HEAD.

    Raises:
        InputError: `E_NO_TRUST` without a pinned root.
        TrustRefused: the trust files are not signed as it demands.
    """
    commit, files = settings.committed()
    state = settings.read(files, commit)
    repo_id, trusted = state.repo.fleet.spec.repo_id, state.authority.trusted
    keystore, policy = settings.keystore(repo_id), state.authority.policy
    return TrustStatus(
        commit,
        repo_id,
        keystore.root_path,
        _roles(trusted.root.signed, trusted.targets, trusted.role, policy),
        policy,
        tuple(_approvals(prepared, policy) for prepared in state.rollouts.values()),
        tuple(name for name in keystore.people() if name in policy.people),
        settings.now(),
        read_open(files, keystore.pinned_root()),
    )


def read_first(settings: Context) -> Open | None:
    """Return a fleet's first trust while it waits for signatures; None once it stands, or if there is none."""
    commit = settings.repo.resolve("HEAD")
    if settings.repo.file(commit, ROOT) is not None:
        return None
    return read_open(settings.committed()[1], "")


def _roles(root: Any, targets: Any, role: Any, policy: Policy) -> tuple[RoleLine, ...]:
    found = []
    for name, signed, delegator in (
        ("root", root, root),
        ("targets", targets.signed, root),
        ("policy", role.signed, targets.signed),
    ):
        people = tuple(one.person for one in holders_of(delegator, name, (policy,)))
        threshold = delegator.get_delegated_role(name).threshold
        found.append(RoleLine(name, signed.version, signed.expires, threshold, people))
    return tuple(found)


def _approvals(prepared: Prepared, policy: Policy) -> ApprovalLine:
    refused = f"{prepared.refused.code}: {prepared.refused.message}" if prepared.refused else ""
    stages = max(wave.stage for wave in prepared.plan.waves)
    if prepared.mandate is None or prepared.verdict is None:
        return ApprovalLine(prepared.key, "", stages, 0, (), (), (), refused)
    judged, path = prepared.verdict.tally, prepared.mandate.path
    missing = []
    for stage in range(1, stages + 1):
        people = {vote.person for vote in judged.votes if vote.approval.stage >= stage}
        for quorum, candidates in judged.missing(policy, path, stage):
            have = len(people & set(policy.groups[quorum.group]))
            missing.append(Missing(stage, quorum.group, have, quorum.threshold, candidates))
    waste = [Waste(one.who, f"{one.code}: {one.why}") for one in judged.ignored]
    waste += [
        Waste(approver_of(path), f"E_APPROVAL_STALE: approves other content ({path})")
        for path in prepared.verdict.stale
    ]
    votes = tuple((vote.person, vote.approval.expires) for vote in judged.votes)
    return ApprovalLine(
        prepared.key,
        prepared.mandate.id,
        stages,
        prepared.verdict.stage,
        votes,
        tuple(missing),
        tuple(waste),
        refused,
    )
