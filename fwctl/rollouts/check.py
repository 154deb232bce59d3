"""Checks that need a plan: does the lock say what the manifest says?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fwctl.errors import InputError
from fwctl.manifests.diagnostic import Diagnostic, Loc, quoted
from fwctl.manifests.fields import did_you_mean
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.rollouts import switching
from fwctl.rollouts.compile import Compiled, lock_path
from fwctl.rollouts.health.check import check_health
from fwctl.rollouts.limits.check import check_limits
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.strategies.regional import empty_regions
from fwctl.rollouts.windows.check import check_windows
from fwctl_agent.protocol.lock import Lock

_Finding = Callable[[str, str, Loc, str], Diagnostic]

_PLACES: Mapping[str, Loc] = {
    "E_NO_WAVE": ("spec", "strategy", "approvalBefore"),
    "E_STOP_STATE": ("spec", "firmware", "version"),
    "E_NO_PATH": ("spec", "firmware", "version"),
    "E_CHAIN_LONG": ("spec", "firmware", "version"),
    "E_REGION": ("spec", "strategy", "regions"),
}


def check_plan(repo: FleetRepo, rollout: LoadedRollout, compiled: Callable[[], Compiled]) -> tuple[Diagnostic, ...]:
    """Return the findings that only compiling this rollout shows."""
    return tuple(_check(repo, rollout, compiled))


def _check(repo: FleetRepo, rollout: LoadedRollout, compiled: Callable[[], Compiled]) -> Iterator[Diagnostic]:
    path = lock_path(rollout.path)
    again = f"Run `fwctl plan {rollout.key} --lock`, look at the plan, and approve it again."

    def finding(code: str, message: str, loc: Loc, remedy: str) -> Diagnostic:
        return repo.sources.diagnostic(rollout.path, loc, code=code, message=message, remedy=remedy)

    try:
        made = compiled()
    except InputError as error:
        loc: Loc = _PLACES.get(error.code, ("metadata", "name"))
        yield finding(error.code, error.message, loc, error.remedy)
        return
    plan, lock = made.plan, made.lock
    yield from check_windows(repo, rollout, plan)
    yield from (finding(*found) for found in check_limits(plan))
    yield from (finding(*found) for found in check_health(plan))
    for index, region in empty_regions(plan):
        message = f"no target is in region {quoted(region)}"
        remedy = "Remove it from `regions`, unless devices are still to come; then lock the plan again."
        yield finding("W_REGION_EMPTY", message, ("spec", "strategy", "regions", index, "name"), remedy)
    if lock is None:
        return
    yield from _control(repo, rollout, made)
    if lock.chains != {plan.chain}:
        yield finding("E_LOCK_STALE", f"{path} {_other_chain(plan, lock)}", ("spec", "firmware"), again)
    elif any(plan.wave_of[device].stage != stage for device, stage in zip(lock.devices, lock.stages(), strict=True)):
        yield finding("E_LOCK_STALE", f"{path} has other stages than the strategy", ("spec", "strategy"), again)
    yield from _membership(plan, finding, again)


def _other_chain(plan: Plan, lock: Lock) -> str:
    wanted = f"{plan.release.model} {plan.release.version}"
    if any(chain[-1] != plan.release.digest for chain in lock.chains):
        return f"locks another release than {wanted}"
    over = ", ".join(stop.version for stop in plan.stops)
    return f"locks other stops on the way to {wanted} than {f'it needs now: {over}' if over else 'none'}"


def _control(repo: FleetRepo, rollout: LoadedRollout, made: Compiled) -> Iterator[Diagnostic]:
    """Find a control that cannot be done; one about an earlier mandate is history and says nothing."""
    control = repo.controls.get(rollout.key)
    if control is None or made.mandate is None or control.model.spec.mandate != made.mandate.id:
        return
    plan = made.plan
    spec, waves = control.model.spec, [*(wave.name for wave in plan.all_waves), *switching.words(plan)]
    for index, wave in enumerate(spec.promoted):
        if wave not in waves:
            hint = did_you_mean(wave, waves) or f"There is {', '.join(waves[:5])}."
            message = f"{quoted(rollout.key)} has no wave {quoted(wave)}"
            at: Loc = ("spec", "promoted", index)
            yield repo.sources.diagnostic(control.path, at, code="E_NO_WAVE", message=message, remedy=hint)
    if not plan.spec.rollback.allowed and (spec.revert or spec.state == "rolledBack"):
        at = ("spec", "revert") if spec.revert else ("spec", "state")
        message = f"the approval of {quoted(rollout.key)} forbids going back: devices would refuse it"
        remedy = "Use `aborted` without `revert`, or roll out the older firmware under a new approval."
        yield repo.sources.diagnostic(control.path, at, code="E_CONTROL", message=message, remedy=remedy)


def _membership(plan: Plan, finding: _Finding, again: str) -> Iterator[Diagnostic]:
    if plan.not_covered:
        message = f"not covered by the lock: {_some(plan.not_covered)}"
        most = plan.spec.late_joiners.max if plan.late and plan.spec.late_joiners else 0
        join = f"At most {most} join after the others. " if most else ""
        remedy = f"{join}To add them: {again[0].lower()}{again[1:]}"
        yield finding("I_NOT_COVERED", message, ("spec", "targets"), remedy)
    if plan.dropped:
        message = f"in the lock but not targeted any more: {_some(plan.dropped)}"
        yield finding(
            "I_DROPPED",
            message,
            ("spec", "targets"),
            "Nothing to do: they stay on what they run until the rollout goes back; what is under way there ends.",
        )


def _some(ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return f"{len(ids)} ({', '.join(ids[:5])}{more})"
