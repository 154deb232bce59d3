"""Which devices a group holds and a rollout targets: pure, sorted by id, no device made to find out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fwctl.manifests.devices import Device, Devices, Mask
from fwctl.manifests.models import Selector
from fwctl.manifests.repo import Contents, LoadedGroup, LoadedRollout
from fwctl.manifests.table import Profile


def group_members(repo: Contents, group: LoadedGroup) -> tuple[Device, ...]:
    """Return the members of a group: what the selector finds within `models` and `env`, and those listed."""
    return _devices(repo, group_mask(repo, group))


def group_ids(repo: Contents, group: LoadedGroup) -> tuple[str, ...]:
    """Return the ids of a group's members, sorted."""
    return repo.devices.named(group_mask(repo, group))


def resolve_targets(repo: Contents, rollout: LoadedRollout) -> tuple[Device, ...]:
    """Return the devices that a rollout targets, sorted by id; names of what does not exist add nobody.

    Candidates are the members of `groups` and the `devices`; with `all`, or a selector alone, every device of
    the rollout's environment that has the firmware's model. The selector narrows them, then `exclude` removes.
    """
    return _devices(repo, target_mask(repo, rollout))


def target_ids(repo: Contents, rollout: LoadedRollout) -> tuple[str, ...]:
    """Return the ids of the devices that `resolve_targets` returns, sorted."""
    return repo.devices.named(target_mask(repo, rollout))


def group_mask(repo: Contents, group: LoadedGroup) -> Mask:
    """Return a group's members as a mask over the repository's devices; found once per repository."""
    known = repo.members.get(group.name)
    if known is None:
        spec = group.spec

        def allowed(profile: Profile) -> bool:
            return (not spec.models or profile.model in spec.models) and (spec.env is None or profile.env == spec.env)

        known = repo.devices.mask(spec.devices)
        if spec.selector is not None:
            known |= _selected(repo.devices, spec.selector, allowed)
        repo.members[group.name] = known
    return known


def target_mask(repo: Contents, rollout: LoadedRollout) -> Mask:
    """Return a rollout's targets as a mask over the repository's devices."""
    targets, devices = rollout.model.spec.targets, repo.devices
    exclude = targets.exclude
    if targets.groups or targets.devices:
        found = _named(repo, targets.groups, targets.devices)
    else:
        model = rollout.model.spec.firmware.model
        found = devices.where(lambda profile: profile.env == rollout.env and profile.model == model)
    if targets.selector:
        found &= _selected(devices, targets.selector)
    found &= ~_named(repo, exclude.groups, exclude.devices)
    return found & ~_selected(devices, exclude.selector) if exclude.selector else found


def _named(repo: Contents, groups: Iterable[str], devices: Iterable[str]) -> Mask:
    found = repo.devices.mask(devices)
    for name in groups:
        if (group := repo.groups.get(name)) is not None:
            found |= group_mask(repo, group)
    return found


def _selected(devices: Devices, selector: Selector, allowed: Callable[[Profile], bool] = lambda _: True) -> Mask:
    """Return the devices that a selector finds: its conditions on profiles asked once for each, those on ids after."""
    found = devices.where(lambda profile: allowed(profile) and selector.matches_but_id(profile.facts))
    if not selector.names_id:
        return found
    return devices.mask(device for device in devices.named(found) if selector.matches_id(device))


def _devices(repo: Contents, mask: Mask) -> tuple[Device, ...]:
    return tuple(map(repo.devices.__getitem__, repo.devices.named(mask)))
