"""Checks that need a plan: does the lock say what the manifest says?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fwctl.errors import InputError
from fwctl.manifests.diagnostic import Diagnostic, Loc
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.rollouts.compile import compile_rollout, read_lock
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.unsupported import not_enforced

_Finding = Callable[[str, str, Loc, str], Diagnostic]

_PLACES: Mapping[str, Loc] = {
    "E_STRATEGY": ("spec", "strategy", "type"),
    "E_NO_WAVE": ("spec", "strategy", "approvalBefore"),
}


def lock_path(manifest: str) -> str:
    """Return the path of the lock beside a rollout manifest."""
    return manifest.removesuffix(".yaml") + ".lock"


def check_plans(repo: FleetRepo, files: Mapping[str, bytes]) -> tuple[Diagnostic, ...]:
    """Return the findings that only compiling shows, for all rollouts; `files` holds the locks by path."""
    return tuple(found for rollout in repo.rollouts.values() for found in _check(repo, rollout, files))


def _check(repo: FleetRepo, rollout: LoadedRollout, files: Mapping[str, bytes]) -> Iterator[Diagnostic]:
    path = lock_path(rollout.path)
    again = f"Run `fwctl plan {rollout.key} --lock`, look at the plan, and approve it again."

    def finding(code: str, message: str, loc: Loc, remedy: str) -> Diagnostic:
        return repo.sources.diagnostic(rollout.path, loc, code=code, message=message, remedy=remedy)

    try:
        lock = read_lock(files[path], path) if path in files else None
        plan = compile_rollout(repo, rollout, lock=lock)
    except InputError as error:
        loc: Loc = _PLACES.get(error.code, ("metadata", "name"))
        yield finding(error.code, error.message, loc, error.remedy)
        return
    for loc, what in not_enforced(rollout.model.spec):
        remedy = "Remove it; this release rolls out to all targets at once, and people watch."
        yield finding("E_NOT_ENFORCED", f"this release of fwctl does not enforce {what} yet", loc, remedy)
    if lock is None:
        return
    if any(leaf.chain != plan.chain for leaf in lock.leaves):
        wanted = f"{plan.release.model} {plan.release.version}"
        yield finding("E_LOCK_STALE", f"{path} locks another release than {wanted}", ("spec", "firmware"), again)
    elif any(leaf.stage != plan.wave_of[leaf.device].stage for leaf in lock.leaves):
        yield finding("E_LOCK_STALE", f"{path} has other stages than the strategy", ("spec", "strategy"), again)
    yield from _membership(plan, finding, again)


def _membership(plan: Plan, finding: _Finding, again: str) -> Iterator[Diagnostic]:
    if plan.not_covered:
        message = f"not covered by the lock: {_some(plan.not_covered)}"
        yield finding("I_NOT_COVERED", message, ("spec", "targets"), f"To add them: {again[0].lower()}{again[1:]}")
    if plan.dropped:
        message = f"in the lock but not targeted any more: {_some(plan.dropped)}"
        yield finding("I_DROPPED", message, ("spec", "targets"), "Nothing to do: they stay on what they run.")


def _some(ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return f"{len(ids)} ({', '.join(ids[:5])}{more})"
