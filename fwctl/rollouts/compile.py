"""`compile`: what one commit means. Git only: no device, no clock, no network, so a pull request gets the same plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import call

from fwctl.errors import InputError
from fwctl.manifests.models import resolve_spec
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.manifests.targets import target_ids
from fwctl.rollouts.late import late_waves
from fwctl.rollouts.paths.stops import chain_of
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.releases import release_of as release_of
from fwctl.rollouts.strategies import compile_waves
from fwctl.rollouts.strategies.regional import Where
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Lock
from fwctl_agent.protocol.statements import LateJoiners, Mandate


def compile_rollout(repo: FleetRepo, rollout: LoadedRollout, *, lock: Lock | None = None) -> Plan:
    """Return the plan of a rollout; with a lock, over all its members, else over all targets.

    A lock may shrink, never grow (DESIGN section 5): who is targeted no longer is `dropped`, who is targeted but not
    locked is `not_covered`; neither changes the digest.

    Raises:
        InputError: `E_NO_WAVE`, `E_REGION`.
    """
    targets = target_ids(repo, rollout)
    locked = tuple(sorted(lock.devices)) if lock else targets
    dropped = tuple(sorted(set(locked) - set(targets)))
    strategy = resolve_spec(repo.fleet.spec, rollout.model.spec).strategy
    return plan_of(
        repo,
        rollout,
        waves=compile_waves(strategy, locked, rollout=rollout.name, place=rollout.path, where=where_of(repo, dropped)),
        dropped=dropped,
        not_covered=tuple(sorted(set(targets) - set(locked))),
        locked=locked_chain(lock),
    )


def locked_chain(lock: Lock | None) -> tuple[str, ...]:
    """Return the releases that the lines of a lock name; none if they do not name the same."""
    chains = lock.chains if lock else set()
    return next(iter(chains)) if len(chains) == 1 else ()


def where_of(repo: FleetRepo, dropped: Collection[str]) -> Where:
    """Return in which region the inventory has a device; who is `dropped` need not be in one."""
    devices = repo.devices
    return Where(lambda device: devices.profile(device).region if device in devices else None, frozenset(dropped))


def plan_of(
    repo: FleetRepo,
    rollout: LoadedRollout,
    *,
    waves: tuple[Wave, ...],
    dropped: tuple[str, ...],
    not_covered: tuple[str, ...],
    locked: tuple[str, ...] = (),
) -> Plan:
    """Return the plan that a rollout has with these waves; `locked` is the chain of its lock.

    Raises:
        InputError: what `chain_of` raises.
    """
    ref = rollout.model.spec.firmware
    family = [one.model for (model, _), one in repo.firmware.items() if model == ref.model]
    chain = chain_of(repo.firmware[ref.model, ref.version].model, family, locked=locked)
    spec = resolve_spec(repo.fleet.spec, rollout.model.spec)
    return Plan(
        repo_id=repo.fleet.spec.repo_id,
        env=rollout.env,
        name=rollout.name,
        release=chain.stops[-1],
        stops=chain.stops[:-1],
        barriers=chain.barriers,
        family=tuple(map(release_of, family)),
        spec=spec,
        waves=waves,
        late=late_waves(spec, not_covered, waves, rollout.name),
        dropped=dropped,
        not_covered=not_covered,
        confirm_within=repo.fleet.spec.confirm_seconds,
        profile=lambda device: repo.devices.profile(device) if device in repo.devices else None,
    )


@dataclass(frozen=True)
class Compiled:
    """A rollout of some files: its plan and, where it has a lock, what approvals of both authorise."""

    rollout: LoadedRollout
    plan: Plan
    lock: Lock | None
    through: Callable[[Callable[[], Mandate]], Mandate] = field(default=call, compare=False)
    """makes the mandate, or knows it"""

    @cached_property
    def mandate(self) -> Mandate | None:
        lock = self.lock
        return self.through(lambda: mandate_of(self.plan, manifest=self.rollout.raw, lock=lock)) if lock else None


def lock_path(manifest: str) -> str:
    """Return the path of the lock beside a rollout manifest."""
    return manifest.removesuffix(".yaml") + ".lock"


def compile_locked(repo: FleetRepo, rollout: LoadedRollout, files: Mapping[str, bytes]) -> Compiled:
    """Compile a rollout with the lock that stands beside it among `files`, if there is one.

    Raises:
        InputError: `E_LOCK_INVALID`, or what `compile_rollout` raises.
    """
    path = lock_path(rollout.path)
    lock = read_lock(files[path], path) if path in files else None
    return Compiled(rollout, compile_rollout(repo, rollout, lock=lock), lock)


def read_lock(raw: bytes, path: str) -> Lock:
    """Read a lock file of the repository.

    Raises:
        InputError: `E_LOCK_INVALID`.
    """
    try:
        return Lock.parse(raw)
    except Refusal as error:
        raise InputError(
            error.message, code=error.code, place=path, remedy="Write it again with `fwctl plan --lock`."
        ) from error


def mandate_of(plan: Plan, *, manifest: bytes, lock: Lock) -> Mandate:
    """Return what approvals of this plan, manifest and lock authorise (CONTRACTS, "The mandate")."""
    tree, spec = lock.tree(), plan.spec
    late, stage = spec.late_joiners, max((wave.stage for wave in plan.waves), default=1)
    return Mandate(
        repo_id=plan.repo_id,
        env=plan.env,
        name=plan.name,
        manifest=canonical.digest(manifest),
        lock=lock.digest,
        lock_root=tree.root,
        lock_size=tree.size,
        plan=plan.digest,
        releases=tuple(sorted({digest for chain in lock.chains for digest in chain})),
        round=spec.round,
        rollback="allowed" if spec.rollback.allowed else "forbidden",
        late_joiners=LateJoiners(plan.release.model, plan.env, late.max, stage) if late and late.max else None,
    )
