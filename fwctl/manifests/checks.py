"""What must hold between manifests. Each check is a function of the contents; all findings come at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress

from fwctl.manifests.devices import Mask
from fwctl.manifests.diagnostic import Diagnostic, Loc, Related, quoted
from fwctl.manifests.fields import did_you_mean
from fwctl.manifests.repo import Contents, LoadedFirmware, LoadedGroup, LoadedRollout
from fwctl.manifests.table import Profile
from fwctl.manifests.targets import group_ids, target_mask


@dataclass(frozen=True, slots=True)
class Declared:
    """What paths declare, also where the file could not be read."""

    groups: frozenset[str]
    firmware: frozenset[tuple[str, str]]
    rollouts: frozenset[str]
    all_devices: bool


def check(repo: Contents, declared: Declared) -> list[Diagnostic]:
    """Return all findings between manifests, in no particular order."""
    found: list[Diagnostic] = []
    for group in repo.groups.values():
        found += _group(repo, declared, group)
    covered: dict[str, Mask] = {}
    for rollout in repo.rollouts.values():
        found += _references(repo, declared, rollout)
        if _knowable(repo, declared, rollout):
            covered[rollout.key] = target_mask(repo, rollout)
            found += _targets(repo, rollout, covered[rollout.key])
    return [*found, *_controls(repo, declared), *_replaces(repo, declared), *_overlaps(repo, covered)]


def _knowable(repo: Contents, declared: Declared, rollout: LoadedRollout) -> bool:
    """Whether the targets can be computed: all that they refer to could be read."""
    targets, wanted = rollout.model.spec.targets, rollout.model.spec.firmware.model
    if not declared.all_devices or wanted not in {model for model, _ in declared.firmware}:
        return False
    groups = {*targets.groups, *targets.exclude.groups}
    if not groups <= repo.groups.keys():
        return False
    listed = (device for name in groups for device in repo.groups[name].spec.devices)
    return {*targets.devices, *targets.exclude.devices, *listed} <= repo.devices.keys()


def _named(
    repo: Contents, path: str, loc: Loc, names: Iterable[str], known: Iterable[str], what: str
) -> Iterator[Diagnostic]:
    """Find names that do not exist, and names that stand twice in one list."""
    known_names = known if isinstance(known, frozenset | Mapping) else frozenset(known)
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            related = (Related(repo.sources.place(path, (*loc, seen[name])), "it is named here first"),)
            message = f"{what} {quoted(name)} is named twice"
            yield repo.sources.diagnostic(path, (*loc, index), code="E_REPEATED", message=message, related=related)
        elif name not in known_names:
            hint = did_you_mean(name, known_names) if len(known_names) <= 20_000 else ""
            message = f"there is no {what} {quoted(name)}"
            yield repo.sources.diagnostic(path, (*loc, index), code="E_DANGLING", message=message, remedy=hint)
        seen.setdefault(name, index)


def _group(repo: Contents, declared: Declared, group: LoadedGroup) -> Iterator[Diagnostic]:
    spec, loc = group.spec, ("spec", "devices")
    if declared.all_devices:
        yield from _named(repo, group.path, loc, spec.devices, repo.devices, "device")
    for index, name in enumerate(spec.devices):
        device = repo.devices.get(name)
        if device is None:
            continue
        at = (*loc, index)
        if spec.models and device.model not in spec.models:
            message = f"device {quoted(name)} is a {quoted(device.model)}, which this group does not hold"
            yield repo.sources.diagnostic(group.path, at, code="E_MODEL_MISMATCH", message=message)
        if spec.env is not None and device.env != spec.env:
            message = f"device {quoted(name)} is in {quoted(device.env)}, but the group only holds {quoted(spec.env)}"
            yield repo.sources.diagnostic(group.path, at, code="E_ENV_MISMATCH", message=message)


def _references(repo: Contents, declared: Declared, rollout: LoadedRollout) -> Iterator[Diagnostic]:
    targets, path = rollout.model.spec.targets, rollout.path
    loc: Loc = ("spec", "targets")
    yield from _firmware(repo, declared, rollout)
    lists = (
        (loc, targets.groups, targets.devices),
        ((*loc, "exclude"), targets.exclude.groups, targets.exclude.devices),
    )
    for at, groups, devices in lists:
        yield from _named(repo, path, (*at, "groups"), groups, declared.groups, "group")
        if declared.all_devices:
            yield from _named(repo, path, (*at, "devices"), devices, repo.devices, "device")


def _firmware(repo: Contents, declared: Declared, rollout: LoadedRollout) -> Iterator[Diagnostic]:
    wanted = rollout.model.spec.firmware
    loc: Loc = ("spec", "firmware")
    if (wanted.model, wanted.version) not in declared.firmware:
        models = {model for model, _ in declared.firmware}
        if wanted.model not in models:
            message, at = f"there is no firmware for the model {quoted(wanted.model)}", (*loc, "model")
            hint = did_you_mean(wanted.model, models)
        else:
            versions = sorted(version for model, version in declared.firmware if model == wanted.model)
            message, at = f"{quoted(wanted.model)} has no firmware {quoted(wanted.version)}", (*loc, "version")
            hint = did_you_mean(wanted.version, versions) or f"There is {', '.join(versions[-5:])}."
        hint = hint or f"Register it: `fwctl firmware add FILE --model {wanted.model} --version {wanted.version}`."
        yield repo.sources.diagnostic(rollout.path, at, code="E_DANGLING", message=message, remedy=hint)


def _targets(repo: Contents, rollout: LoadedRollout, targets: Mask) -> Iterator[Diagnostic]:
    """Compare the targets with the rollout's env and the firmware, one finding per name that brings them in."""
    wanted = rollout.model.spec.firmware
    if not targets:
        message = f"no device of env {quoted(rollout.env)} and model {quoted(wanted.model)} is left as a target"
        yield repo.sources.diagnostic(rollout.path, ("spec", "targets"), code="E_NO_TARGETS", message=message, key=True)
        return
    firmware = repo.firmware.get((wanted.model, wanted.version))
    profiles = repo.devices.profiles
    codes = {n: tuple(_misfits(profiles[n], rollout, firmware)) for n in repo.devices.profiles_of(targets)}
    if not any(codes.values()):
        return
    origin = _origins(repo, rollout)
    wrong: dict[tuple[str, Loc], list[str]] = {}
    for device, number in compress(
        zip(repo.devices.ids, repo.devices.numbers, strict=True), repo.devices.bits(targets)
    ):
        for code in codes[number]:
            wrong.setdefault((code, origin.get(device, ("spec", "targets"))), []).append(device)
    for (code, loc), misfits in wrong.items():
        message = _misfit_words(code, misfits, repo.devices.profile(misfits[0]), rollout)
        yield repo.sources.diagnostic(rollout.path, loc, code=code, message=message, key=loc == ("spec", "targets"))


def _misfits(device: Profile, rollout: LoadedRollout, firmware: LoadedFirmware | None) -> Iterator[str]:
    if device.env != rollout.env:
        yield "E_ENV_MISMATCH"
    if device.model != rollout.model.spec.firmware.model:
        yield "E_MODEL_MISMATCH"
    elif firmware is not None and device.hardware not in firmware.model.spec.hardware:
        yield "E_HW_MISMATCH"


def _misfit_words(code: str, devices: list[str], first: Profile, rollout: LoadedRollout) -> str:
    wanted = rollout.model.spec.firmware
    who = (
        f"device {quoted(devices[0])}" if len(devices) == 1 else f"{len(devices)} devices, {quoted(devices[0])} first,"
    )
    match code:
        case "E_ENV_MISMATCH":
            return f"{who} in env {quoted(first.env)}, but `rollouts/{rollout.env}/` reaches {quoted(rollout.env)} only"
        case "E_MODEL_MISMATCH":
            return f"{who} of model {quoted(first.model)}, but the firmware is for {quoted(wanted.model)}"
        case _:
            version = f"{wanted.model} {wanted.version}"
            return f"{who} with hardware {quoted(first.hardware)}, which {quoted(version)} does not list"


def _origins(repo: Contents, rollout: LoadedRollout) -> Mapping[str, Loc]:
    """Return for each candidate the name in the manifest that brings it in: itself, or else its first group."""
    targets = rollout.model.spec.targets
    origin: dict[str, Loc] = {}
    for index, name in enumerate(targets.devices):
        origin.setdefault(name, ("spec", "targets", "devices", index))
    for index, name in enumerate(targets.groups):
        for device in group_ids(repo, repo.groups[name]):
            origin.setdefault(device, ("spec", "targets", "groups", index))
    return origin


def _controls(repo: Contents, declared: Declared) -> Iterator[Diagnostic]:
    """A control file that controls nothing would be taken for a rollout that has been stopped."""
    loc: Loc = ("metadata", "name")
    for key, control in repo.controls.items():
        if key in declared.rollouts:
            continue
        hint = did_you_mean(key, declared.rollouts)
        remedy = f"{hint} Rename the file, or remove it." if hint else "Remove the file."
        message = f"there is no rollout {quoted(key)} to control"
        yield repo.sources.diagnostic(control.path, loc, code="E_DANGLING", message=message, remedy=remedy)


def _replaces(repo: Contents, declared: Declared) -> Iterator[Diagnostic]:
    loc: Loc = ("spec", "replaces")
    for rollout in repo.rollouts.values():
        name = rollout.model.spec.replaces
        if name is None:
            continue
        if f"{rollout.env}/{name}" not in declared.rollouts:
            names = [key.partition("/")[2] for key in declared.rollouts if key.startswith(f"{rollout.env}/")]
            message = f"there is no rollout {quoted(name)} in {quoted(rollout.env)}"
            hint = did_you_mean(name, names)
            yield repo.sources.diagnostic(rollout.path, loc, code="E_DANGLING", message=message, remedy=hint)
        elif rollout.key in _replaced(repo, rollout):
            message = f"{quoted(rollout.name)} replaces itself, by way of {quoted(name)}"
            yield repo.sources.diagnostic(rollout.path, loc, code="E_REPLACES", message=message)


def _replaced(repo: Contents, rollout: LoadedRollout) -> frozenset[str]:
    """Return all that a rollout replaces, also indirectly; in a circle it is among them itself."""
    found: set[str] = set()
    current: LoadedRollout | None = rollout
    while current is not None and (name := current.model.spec.replaces) is not None:
        key = f"{rollout.env}/{name}"
        if key in found:
            break
        found.add(key)
        current = repo.rollouts.get(key)
    return frozenset(found)


def _overlaps(repo: Contents, covered: Mapping[str, Mask]) -> Iterator[Diagnostic]:
    """Find pairs of rollouts that hold the same device although neither replaces the other."""
    replaced = {key: _replaced(repo, repo.rollouts[key]) for key in covered}
    for first, second, shared in _shared(covered, replaced):
        one, two = repo.rollouts[first], repo.rollouts[second]
        ids = repo.devices.named(shared)
        who = f"device {quoted(ids[0])}" if len(ids) == 1 else f"{len(ids)} devices, {quoted(ids[0])} first,"
        related = (Related(one.source.place(("spec", "targets"), key=True), "the other rollout's targets"),)
        yield repo.sources.diagnostic(
            two.path,
            ("spec", "targets"),
            code="E_OVERLAP",
            message=f"{who} also held by rollout {quoted(first)}",
            remedy=f"Add `replaces: {one.name}` to the newer rollout's spec, or make the targets disjoint.",
            key=True,
            related=related,
        )


def _shared(covered: Mapping[str, Mask], replaced: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, str, Mask]]:
    """Yield pairs of rollouts, neither replacing the other, with the devices that both hold."""
    held: Mask = 0
    before: list[str] = []
    for second, mask in covered.items():
        if held & mask:
            for first in before:
                if first not in replaced[second] and second not in replaced[first] and (both := covered[first] & mask):
                    yield first, second, both
        held |= mask
        before.append(second)
