"""What `plan` and `approve` share: find rollouts, compile them, add the forecast of the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from fwctl.cli.context import Context
from fwctl.errors import InputError, UsageError
from fwctl.manifests import lifecycle
from fwctl.manifests.fields import did_you_mean
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.reconcile.commit import ManifestErrors, Prepared, compiled, judge, load_repo
from fwctl.rollouts.compile import Compiled, lock_path
from fwctl.rollouts.paths.legality import lengths
from fwctl.rollouts.plan import Plan
from fwctl.state import DeviceRow


@dataclass(frozen=True)
class Skip:
    """A device that would get nothing now, and why. A forecast: it changes no digest."""

    device: str
    reason: str


@dataclass(frozen=True)
class PlanResult:
    """One plan as it is shown."""

    prepared: Prepared
    skips: tuple[Skip, ...]
    observed: int | None
    """devices of the plan that the ledger has seen; None where no ledger is"""
    ways: str = ""
    """in words, how many of those go over which stops; empty where nobody needs any"""

    @property
    def to_update(self) -> int:
        return len(self.prepared.plan.members) - len({skip.device for skip in self.skips})


def find_rollouts(repo: FleetRepo, name: str) -> tuple[LoadedRollout, ...]:
    """Return the rollout called `ENV/NAME` or `NAME`, or all.

    Raises:
        InputError: `E_NO_ROLLOUT` if there is none, or more than one of that name.
    """
    found = tuple(rollout for key, rollout in repo.rollouts.items() if not name or key == name or rollout.name == name)
    if found and (len(found) == 1 or not name):
        return found
    if not repo.rollouts:
        raise InputError(
            "no rollout is declared yet",
            code="E_NO_ROLLOUT",
            place="rollouts/",
            remedy="fwctl rollout create NAME --firmware MODEL@VERSION --all",
        )
    raise InputError(
        f"{len(found)} rollouts are called {name}" if found else f"there is no rollout called {name[:80]}",
        code="E_NO_ROLLOUT",
        place="rollouts/",
        remedy=_which(repo, name, [rollout.key for rollout in found]),
    )


def _which(repo: FleetRepo, name: str, found: Sequence[str]) -> str:
    if found:
        return f"Say which: {', '.join(found)}"
    names = {rollout.name: rollout.key for rollout in repo.rollouts.values()}
    hint = did_you_mean(name, [*repo.rollouts, *names])
    return f"{hint} See: fwctl rollout list" if hint else "See: fwctl rollout list"


def load_or_refuse(files: Mapping[str, bytes]) -> FleetRepo:
    """Return the manifests as they would be after a command has written its own.

    Raises:
        ManifestErrors: they would not validate; the command must write nothing.
    """
    try:
        return load_repo(files)
    except ManifestErrors as error:
        error.remedy = "Nothing was written. Correct what is shown, then run the command again."
        raise


def may_begin(repo: FleetRepo, rollouts: Sequence[LoadedRollout], today: date) -> None:
    """Refuse to begin with firmware whose life cycle does not allow it: no new rollout, lock or first approval.

    Raises:
        ManifestErrors: the findings.
    """
    found = tuple(one for rollout in rollouts for one in lifecycle.of_rollout(repo, rollout, locked=False, today=today))
    if lifecycle.errors(found):
        error = ManifestErrors(lifecycle.errors(found))
        error.remedy = "Nothing was written. Choose another version: fwctl firmware list"
        raise error


def make_plans(settings: Context, name: str, *, ref: str, lock: bool) -> tuple[PlanResult, ...]:
    """Return the plans of one rollout or all; with `lock`, compiled anew over today's targets."""
    if lock and ref:
        raise UsageError(
            "a lock is made from the work tree", code="E_USAGE", place="--ref", remedy="Leave out --ref, or --lock."
        )
    # A lock is written into a work tree, so one must be there before anything is shown.
    files = settings.committed(ref)[1] if ref else settings.edited() if lock else settings.files()
    if lock:
        files = files.without([path for path in files if path.endswith(".lock")])
    repo = load_repo(files)
    rows = _observed(settings, repo)
    authority = settings.authority(repo.fleet.spec.repo_id, files)
    results = []
    standing, new = settings.edited() if lock else {}, list[LoadedRollout]()
    for rollout in find_rollouts(repo, name):
        made = compiled(repo, rollout, files)
        if lock:
            made = Compiled(rollout, made.plan, (again := made.plan.lock()))
            new += [rollout] * (standing.get(lock_path(rollout.path)) != again.raw)
        results.append(_forecast(judge(repo, made, authority, settings.now()), rows))
    may_begin(repo, new, settings.now().date())
    return tuple(results)


def forecast(settings: Context, repo: FleetRepo, prepared: Prepared) -> PlanResult:
    """Return a plan with what the ledger expects of it."""
    return _forecast(prepared, _observed(settings, repo))


def _forecast(prepared: Prepared, rows: Mapping[str, DeviceRow] | None) -> PlanResult:
    if rows is None:
        return PlanResult(prepared, _skips(prepared, {}), None)
    plan = prepared.plan
    ways = "" if plan.paths.direct else lengths(plan, {one.id: one.running_version for one in _ahead(plan, rows)})
    return PlanResult(prepared, _skips(prepared, rows), sum(device in rows for device in plan.members), ways)


def _ahead(plan: Plan, rows: Mapping[str, DeviceRow]) -> Iterator[DeviceRow]:
    """Yield the devices of a plan that have said what they run, and that it is something else."""
    found = (rows[device] for device in plan.members if device in rows)
    return (row for row in found if row.running_version and row.running_release != plan.release.digest)


def write_locks(settings: Context, results: Sequence[PlanResult]) -> tuple[Path, ...]:
    """Write the lock of each plan into the work tree; return those that were not there yet as they are."""
    from fwctl.files import write_atomic

    standing, written = settings.edited(), []
    for result in results:
        lock = result.prepared.lock
        path, raw = lock_path(result.prepared.rollout.path), lock.raw if lock else b""
        if standing.get(path) != raw:
            write_atomic(settings.worktree / path, raw)
            written.append(Path(path))
    return tuple(written)


def _observed(settings: Context, repo: FleetRepo) -> dict[str, DeviceRow] | None:
    """Return what the ledger last saw; None without a ledger, as on a reviewer's machine."""
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        return {row.id: row for row in ledger.devices()} if ledger else None


def _skips(prepared: Prepared, rows: Mapping[str, DeviceRow]) -> tuple[Skip, ...]:
    plan = prepared.plan
    dropped = set(plan.dropped)
    skips = [Skip(device, "in the lock, but not targeted any more") for device in plan.dropped]
    for device in plan.members:
        row = rows.get(device) if device not in dropped else None
        if row is not None and row.running_release == plan.release.digest:
            skips.append(Skip(device, f"runs {plan.release.version} already"))
        elif row is not None and not row.reachable:
            skips.append(Skip(device, f"not reachable when last tried ({row.reason})"))
    return tuple(skips)
