"""What guard rails mean for the files of a commit: findings for who validates, an error for what must not run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fwctl.errors import TrustRefused
from fwctl.manifests.diagnostic import Diagnostic, Place, Related, quoted
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.rollouts.rails.rules import Guarded, Rails

SIGNED = "trust/policy/policy.json"
_SIGN = (
    "Put the file back as it was signed (git log -- policies/), or have today's files signed: fwctl trust guard-rails"
)


def findings_of_rails(repo: FleetRepo, rails: Rails) -> Iterator[Diagnostic]:
    """Find files that are not in force, and signed digests without a file."""
    for one in rails.unsigned:
        message = f"{quoted(one.path)} is new or edited: not in force until signed"
        yield repo.sources.diagnostic(one.path, ("metadata", "name"), code="W_GUARD_RAIL_UNSIGNED", message=message)
    for digest in rails.missing:
        yield Diagnostic("E_GUARD_RAIL_MISSING", _gone(digest), Place(SIGNED), _SIGN)


def findings_of_rollout(repo: FleetRepo, rollout: LoadedRollout, guarded: Guarded) -> Iterator[Diagnostic]:
    """Find what a rollout breaks, what it sets aside with a reason, and exceptions that do nothing."""
    for one in guarded.violations:
        policy = repo.policies[one.policy]
        yield repo.sources.diagnostic(
            rollout.path,
            one.loc,
            code="E_GUARD_RAIL",
            message=f"guard rail {one.policy}, {one.rule}: {one.message}",
            remedy=one.remedy,
            related=(Related(repo.sources.place(policy.path, ("spec", "rules", one.rule)), "the rule stands here"),),
        )
    exceptions = rollout.model.spec.exceptions
    for aside in guarded.excepted:
        at = next(n for n, one in enumerate(exceptions) if (one.policy, one.rule) == (aside.policy, aside.rule))
        message = f"guard rail {aside.policy}, {aside.rule} is set aside: {aside.reason} ({aside.message})"
        loc = ("spec", "exceptions", at)
        yield repo.sources.diagnostic(rollout.path, loc, code="I_GUARD_RAIL_EXCEPTION", message=message)
    for at in guarded.idle:
        one_ = exceptions[at]
        message = f"nothing is set aside by the exception of {one_.rule} of {quoted(one_.policy)}"
        loc = ("spec", "exceptions", at)
        yield repo.sources.diagnostic(rollout.path, loc, code="W_GUARD_RAIL_EXCEPTION", message=message)


def refusal(guarded: Guarded, path: str) -> TrustRefused | None:
    """Return why nothing of a rollout may start; None if no guard rail forbids it. A freeze is no refusal: it ends."""
    if guarded.missing:
        return TrustRefused(_gone(guarded.missing[0]), code="E_GUARD_RAIL_MISSING", place=SIGNED, remedy=_SIGN)
    if not guarded.violations:
        return None
    first, more = guarded.violations[0], len(guarded.violations) - 1
    also = f" (and {more} more)" if more else ""
    return TrustRefused(
        f"guard rail {first.policy}, {first.rule}: {first.message}{also}",
        code="E_GUARD_RAIL",
        place=path,
        remedy=first.remedy,
    )


def _gone(digest: str) -> str:
    return f"a guard rail is signed that no file in `policies/` has ({digest[:23]}): it was edited or removed"
