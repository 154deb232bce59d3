"""Which devices a group holds and a rollout targets: pure, sorted by id."""

from __future__ import annotations

from collections.abc import Iterable

from fwctl.manifests.models import Rollout, Selector
from fwctl.manifests.repo import Contents, Device, LoadedGroup, LoadedRollout


def group_members(repo: Contents, group: LoadedGroup) -> tuple[Device, ...]:
    """Return the members of a group: what the selector finds within `models` and `env`, and those listed."""
    return _devices(repo, _members(repo, group))


def _members(repo: Contents, group: LoadedGroup) -> frozenset[str]:
    known = repo.members.get(group.name)
    if known is None:
        spec = group.spec
        ids = {device for device in spec.devices if device in repo.devices}
        if spec.selector is not None:
            ids |= {
                device.id
                for device in repo.devices.values()
                if (not spec.models or device.model in spec.models)
                and (spec.env is None or device.env == spec.env)
                and spec.selector.matches(repo.facts[device.id])
            }
        known = repo.members[group.name] = frozenset(ids)
    return known


def resolve_targets(repo: Contents, rollout: LoadedRollout) -> tuple[Device, ...]:
    """Return the devices that a rollout targets, sorted by id; names of what does not exist add nobody.

    Candidates are the members of `groups` and the `devices`; with `all`, or a selector alone, every device of
    the rollout's environment that has the firmware's model. The selector narrows them, then `exclude` removes.
    """
    targets = rollout.model.spec.targets
    exclude = targets.exclude
    if targets.groups or targets.devices:
        ids = _named(repo, targets.groups, targets.devices)
    else:
        ids = _scope(repo, rollout.env, rollout.model)
    ids = _matching(repo, ids, targets.selector) if targets.selector else ids
    ids -= _named(repo, exclude.groups, exclude.devices)
    ids -= _matching(repo, ids, exclude.selector) if exclude.selector else set()
    return _devices(repo, ids)


def _named(repo: Contents, groups: Iterable[str], devices: Iterable[str]) -> set[str]:
    ids = {device for device in devices if device in repo.devices}
    for name in groups:
        if (group := repo.groups.get(name)) is not None:
            ids |= _members(repo, group)
    return ids


def _scope(repo: Contents, env: str, rollout: Rollout) -> set[str]:
    model = rollout.spec.firmware.model
    return {device.id for device in repo.devices.values() if device.env == env and device.model == model}


def _matching(repo: Contents, ids: set[str], selector: Selector) -> set[str]:
    return {device for device in ids if selector.matches(repo.facts[device])}


def _devices(repo: Contents, ids: Iterable[str]) -> tuple[Device, ...]:
    return tuple(repo.devices[device] for device in sorted(ids))
