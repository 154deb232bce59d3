"""Who signed the commits that a command is about: information, judged as a pass will judge it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fwctl.cli.context import Context
from fwctl.errors import FwctlError

if TYPE_CHECKING:
    from fwctl.gitrepo import CommitId, Judged
    from fwctl.manifests.diagnostic import Diagnostic
    from fwctl_agent.trust.policy import Policy

_POLICY = "trust/policy/policy.json"


def signature_line(settings: Context, ref: str = "HEAD") -> str:
    """Return in one line who signed a commit; empty where its policy neither demands it nor names signers."""
    try:
        found = signature(settings, ref)
    except FwctlError as error:
        if error.code == "E_GIT_EMPTY":
            return ""
        return f"Who signed {ref} cannot be told: {error.code}: {error.message}"
    return line(*found) if found else ""


def signature(settings: Context, ref: str = "HEAD") -> tuple[Judged, Policy] | None:
    """Return who signed a commit, and the policy that it is judged by; None where there is nothing to tell."""
    return _judged(settings, settings.repo.resolve(ref))


def line(judged: Judged, policy: Policy) -> str:
    """Return who signed a commit, or what it means that nobody did."""
    who = judged.commit.id[:12]
    if judged.good:
        return f"Commit {who} is signed by {judged.signer}."
    if policy.git_verify == "off":
        return f"Commit {who} is not validly signed ({judged.why}); the policy does not demand it."
    return f"Commit {who} is not validly signed ({judged.why}): no pass applies it (gitVerify {policy.git_verify})."


def signatures(settings: Context, ref: str, against: str) -> tuple[tuple[Diagnostic, ...], tuple[str, ...]]:
    """Judge each commit that `ref` adds to `against`: findings where the policy demands all to be signed, else lines.

    Raises:
        InputError: there is no such commit, or the clone is shallow.
        TrustRefused: there are too many.
    """
    commit = settings.repo.resolve(ref)
    found = _judged(settings, commit)
    if found is None:
        return (), ()
    from fwctl.gitrepo import commits_since, judge
    from fwctl.gitrepo.signatures import named
    from fwctl.manifests.diagnostic import Diagnostic, Place
    from fwctl.reconcile.provenance import signers_of

    policy = found[1]
    all_ = judge(
        settings.repo, commits_since(settings.repo, commit, settings.repo.resolve(against)), signers_of(policy)
    )
    if policy.git_verify != "strict":
        return (), tuple(line(one, policy) for one in all_)
    remedy = "Have one of those sign it whom the policy names: git rebase --force-rebase -S COMMIT-BEFORE-IT"
    bad = (Diagnostic("E_GIT_SIG", one.why, Place(named(one.commit)), remedy) for one in all_ if not one.good)
    return tuple(bad), tuple(_listed(one) for one in all_ if one.good)


def _listed(judged: Judged) -> str:
    return f"Commit {judged.commit.id[:12]}: {f'signed by {judged.signer}' if judged.good else judged.why}."


def _judged(settings: Context, commit: CommitId) -> tuple[Judged, Policy] | None:
    # Read unverified, only to find out whether there is anything to tell: verifying costs more than most commands.
    if not _mentions(settings.repo.file(commit, _POLICY)):
        return None
    from fwctl.cli.fleet_id import committed_id
    from fwctl.reconcile.provenance import signature_of

    repo_id = committed_id(settings, commit)
    authority = settings.authority(repo_id, settings.committed(commit)[1]) if repo_id else None
    judged = signature_of(authority.policy, settings.repo, commit) if authority else None
    return (judged, authority.policy) if authority and judged else None


def _mentions(raw: bytes | None) -> bool:
    try:
        policy = json.loads(raw or b"{}")
    except ValueError:
        return True
    if not isinstance(policy, dict):
        return True
    return policy.get("gitVerify", "off") != "off" or bool(policy.get("gitSigners") or policy.get("gitKeys"))
