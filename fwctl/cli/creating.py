"""The work behind `rollout create`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fwctl.cli.context import Context
from fwctl.cli.planning import load_or_refuse, may_begin
from fwctl.errors import InputError, UsageError
from fwctl.files import write_atomic
from fwctl.gitrepo import Files
from fwctl.manifests.devices import Mask
from fwctl.manifests.repo import FleetRepo
from fwctl.manifests.scalars import NAME_PATTERN
from fwctl.manifests.targets import group_mask, target_ids
from fwctl.reconcile.commit import ManifestErrors

StrategyName = Literal["Canary", "Rolling", "Direct", "Regional", "BlueGreen"]
_MANIFEST = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {{name: {name}}}
spec:
  firmware: {{model: {model}, version: "{version}"}}
  targets: {targets}
"""
DEFAULT: StrategyName = "Canary"
"""what a manifest means that names no strategy"""
_LONGEST = 63
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for; what is empty follows from the rest."""

    firmware: str
    """MODEL@VERSION"""
    name: str = ""
    env: str = ""
    devices: Sequence[str] = ()
    groups: Sequence[str] = ()
    everyone: bool = False
    strategy: StrategyName | None = None
    regions: Sequence[str] = ()
    soak: str = ""
    replaces: str = ""

    @property
    def model(self) -> str:
        return self.firmware.partition("@")[0]

    @property
    def version(self) -> str:
        return self.firmware.partition("@")[2]

    @property
    def kind(self) -> StrategyName:
        """The strategy: a single device needs no waves, and who lists regions means to go by them."""
        if self.strategy is not None:
            return self.strategy
        if self.regions:
            return "Regional"
        return "Direct" if len(self.devices) == 1 and not (self.groups or self.everyone) else DEFAULT

    @property
    def called(self) -> str:
        """The rollout's name: without one given, the device or group with the version."""
        named = [*self.devices, *self.groups]
        first = named[0] if len(named) == 1 and not self.everyone else self.model
        return self.name or f"{first}-{self.version.replace('+', '-')}".lower()


@dataclass(frozen=True)
class Created:
    """The manifest as written."""

    path: Path
    key: str
    text: str
    targets: int


def create_rollout(settings: Context, wish: Wish) -> Created:
    """Write the manifest, if the repository validates with it; nothing is written otherwise.

    Raises:
        UsageError: no targets, a firmware that is not MODEL@VERSION, regions that are lacking or not asked for.
        InputError: `E_EXISTS`, `E_OVERLAP`.
        ManifestErrors: it would not validate (unknown firmware, no such device, ...).
    """
    _check(wish)
    files = settings.edited()
    env = wish.env
    if not env or (wish.kind == "Regional" and not wish.regions):
        repo = load_or_refuse(files)
        env = env or _env(repo, wish)
        _check_regions(repo, wish, env)
    path = Path("rollouts") / env / f"{wish.called}.yaml"
    if str(path) in files:
        raise InputError(
            "there is such a rollout already",
            code="E_EXISTS",
            place=str(path),
            remedy="Edit it there, or give the new one another name: fwctl rollout create NAME ...",
        )
    text = _text(wish)
    repo = _with(files, path, text)
    key = f"{env}/{wish.called}"
    may_begin(repo, [repo.rollouts[key]], settings.now().date())
    write_atomic(settings.worktree / path, text.encode())
    return Created(path, key, text, len(target_ids(repo, repo.rollouts[key])))


def _check(wish: Wish) -> None:
    if not (wish.model and wish.version) or "@" in wish.version:
        raise UsageError("firmware is MODEL@VERSION", code="E_USAGE", remedy="For example sensor-v1@2.5.0")
    if not (wish.devices or wish.groups or wish.everyone):
        raise UsageError("say which devices", code="E_USAGE", remedy="--device NAME, --group NAME, or --all")
    if wish.everyone and (wish.devices or wish.groups):
        raise UsageError(
            "--all beside --device or --group says two things",
            code="E_USAGE",
            remedy="Leave out --all, or what else names devices.",
        )
    if wish.regions and wish.kind != "Regional":
        raise UsageError(
            f"{wish.kind} has no regions", code="E_USAGE", place="--region", remedy="Say --strategy Regional."
        )
    _check_names(wish)


def _check_names(wish: Wish) -> None:
    """Raise UsageError if a word cannot be a name of what it stands for: a path or YAML would be refused for it."""
    if (several := next((one for one in wish.devices if "," in one), None)) is not None:
        remedy = " ".join(f"--device {part.strip()}" for part in several.split(",")[:_SHOWN])
        raise UsageError(
            f"{several[:_LONGEST]} is no device", code="E_USAGE", place="--device", remedy=f"Repeat it: {remedy}"
        )
    if not wish.name and len(wish.called) > _LONGEST:
        raise UsageError(
            f"{wish.called} is too long for a rollout's name",
            code="E_USAGE",
            remedy=f"Give a NAME of at most {_LONGEST} characters.",
        )
    if wish.name and not re.fullmatch(NAME_PATTERN[1:-1], wish.name):
        raise UsageError(
            f"{wish.name[:_LONGEST]} cannot be a rollout's name",
            code="E_USAGE",
            place="NAME",
            remedy="Small letters, digits, dots and dashes, with a letter or digit first and last; at most 63.",
        )


def _with(files: Files, path: Path, text: str) -> FleetRepo:
    """Return the repository with the manifest in it.

    Raises:
        InputError: `E_OVERLAP`: nothing else is wrong than that another rollout holds devices of it.
        ManifestErrors: it would not validate.
    """
    try:
        return load_or_refuse(files | {str(path): text.encode()})
    except ManifestErrors as error:
        errors = [found for found in error.diagnostics if found.severity == "error"]
        if any(found.code != "E_OVERLAP" for found in errors):
            raise
        places = {place for one in errors for place in (one.place.path, *(other.place.path for other in one.related))}
        raise _held(path, sorted(places - {str(path)})) from error


def _held(path: Path, others: Sequence[str]) -> InputError:
    keys = [other.removeprefix("rollouts/").removesuffix(".yaml") for other in others]
    several = len(keys) > 1
    return InputError(
        f"{'rollouts' if several else 'rollout'} {', '.join(keys[:_SHOWN])} hold{'' if several else 's'} devices of it",
        code="E_OVERLAP",
        place=str(path),
        remedy="A rollout can take over from one other: leave out what the rest hold, or name fewer devices."
        if several
        else f"To take them over: --replaces {Path(others[0]).stem}",
    )


def _candidates(repo: FleetRepo, wish: Wish) -> Mask:
    if wish.everyone:
        return repo.devices.where(lambda profile: profile.model == wish.model)
    found = repo.devices.mask(wish.devices)
    for name in wish.groups:
        if (group := repo.groups.get(name)) is not None:
            found |= group_mask(repo, group)
    return found


def _env(repo: FleetRepo, wish: Wish) -> str:
    """Return the one environment that the devices are in; `dev` where nobody says, and all are wanted.

    Raises:
        UsageError: devices of several environments are named: a rollout is for one.
    """
    profiles = repo.devices.profiles
    found = {profiles[number].env for number in repo.devices.profiles_of(_candidates(repo, wish))}
    if len(found) > 1 and not wish.everyone:
        raise UsageError(
            f"these devices are in {len(found)} environments: {', '.join(sorted(found)[:_SHOWN])}",
            code="E_USAGE",
            place="--device" if wish.devices else "--group",
            remedy="A rollout is for one environment: write one for each.",
        )
    return next(iter(found)) if len(found) == 1 else "dev"


def _check_regions(repo: FleetRepo, wish: Wish, env: str) -> None:
    """Raise UsageError if regions are wanted and none is listed: in which order they go, a person must say."""
    if wish.kind != "Regional" or wish.regions:
        return
    profiles, numbers = repo.devices.profiles, repo.devices.profiles_of(_candidates(repo, wish))
    there = sorted({one.region for n in numbers if (one := profiles[n]).env == env and one.region is not None})
    if not there:
        raise UsageError(
            "none of these devices is in a region",
            code="E_USAGE",
            place="--region",
            remedy="Give them their `region` in the inventory, or choose another strategy.",
        )
    more = f" (and {len(there) - _SHOWN} more)" if len(there) > _SHOWN else ""
    raise UsageError(
        "say in which order the regions go",
        code="E_USAGE",
        place="--region",
        remedy=" ".join(f"--region {region}" for region in there[:_SHOWN]) + more,
    )


def _text(wish: Wish) -> str:
    lists = [f"groups: [{', '.join(wish.groups)}]"] * bool(wish.groups)
    lists += [f"devices: [{', '.join(wish.devices)}]"] * bool(wish.devices)
    targets = "{all: true}" if wish.everyone else "{" + ", ".join(lists) + "}"
    text = _MANIFEST.format(name=wish.called, model=wish.model, version=wish.version, targets=targets)
    parts = [f"type: {wish.kind}"]
    parts += [f"regions: [{', '.join(f'{{name: {region}}}' for region in wish.regions)}]"] * bool(wish.regions)
    parts += [f"soak: {wish.soak}"] * bool(wish.soak)
    text += f"  strategy: {{{', '.join(parts)}}}\n" if parts != [f"type: {DEFAULT}"] else ""
    return text + (f"  replaces: {wish.replaces}\n" if wish.replaces else "")
