"""Whether commits are signed as the policy demands. The policy is the signed one; the commit's files have no say."""

from __future__ import annotations

from fwctl.errors import TrustRefused
from fwctl.gitrepo import CommitId, Judged, Repo, Signers, judge, require_signed
from fwctl_agent.trust.policy import Policy


def signers_of(policy: Policy) -> Signers:
    """Return who may sign commits."""
    return Signers(policy.git_signers, policy.git_keys)


def check_provenance(policy: Policy, repo: Repo | None, commit: CommitId, last: CommitId | None) -> None:
    """Refuse a commit that is not signed as the policy demands; `last` is the one that was applied last.

    Raises:
        TrustRefused: `E_GIT_SIG`; also for a work tree (no `repo`), which nobody can have signed.
        InputError, WorldError: it cannot be judged.
    """
    if policy.git_verify == "off":
        return
    if repo is None:
        raise TrustRefused(
            f"the policy demands signed commits (gitVerify {policy.git_verify}), and a work tree is not signed",
            code="E_GIT_SIG",
            place="the work tree",
            remedy="Commit it, signed (git commit -S), and leave out --work-tree.",
        )
    require_signed(repo, commit, mode=policy.git_verify, since=last, signers=signers_of(policy))


def signature_of(policy: Policy, repo: Repo, commit: CommitId) -> Judged | None:
    """Return who signed a commit; None where the policy neither demands signatures nor names signers."""
    signers = signers_of(policy)
    if policy.git_verify == "off" and not (signers.ssh or signers.openpgp):
        return None
    return judge(repo, [commit], signers)[0]
