"""The work behind `firmware sunset-report`: who still runs firmware that ends, by what the ledger saw last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from fwctl.cli.context import Context
from fwctl.manifests.lifecycle import ENDING, State, days_left, state_on, told
from fwctl.manifests.repo import FleetRepo, LoadedFirmware
from fwctl.manifests.targets import group_mask
from fwctl.reconcile.commit import load_repo
from fwctl.rollouts.compile import release_of


@dataclass(frozen=True)
class StillRuns:
    """One device that runs it."""

    device: str
    site: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Ending:
    """One firmware that ends or has ended, and who still runs it."""

    name: str
    state: State
    words: str
    sunset: str
    days_left: int | None
    reason: str
    successor: str
    devices: tuple[StillRuns, ...]


@dataclass(frozen=True)
class Report:
    """All firmware that ends; `seen` is how many devices the ledger knows, None where there is no ledger."""

    endings: tuple[Ending, ...]
    seen: int | None

    @property
    def devices(self) -> int:
        """How many devices run such firmware."""
        return sum(len(one.devices) for one in self.endings)

    @property
    def commands(self) -> tuple[str, ...]:
        """What gets devices away from it."""
        return tuple(
            f"fwctl rollout create NAME --firmware {one.name.partition('@')[0]}@{one.successor} --all"
            for one in self.endings
            if one.devices and one.successor
        )[:3]


def report(settings: Context) -> Report:
    """Return who still runs deprecated, sunset or withdrawn firmware today."""
    repo = load_repo(settings.files())
    today = settings.now().date()
    ending = [one for one in repo.firmware.values() if state_on(one.model.spec, today) in ENDING]
    by_release, by_version = _keys(ending)
    running: dict[str, list[str]] = defaultdict(list)
    seen: int | None = None
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        for row in ledger.stream_devices() if ledger else ():
            seen = (seen or 0) + 1
            name = by_release.get(row.running_release)
            if name is None and not row.running_release and row.id in repo.devices:
                name = by_version.get((repo.devices[row.id].model, row.running_version))
            if name is not None:
                running[name].append(row.id)
        seen = (seen or 0) if ledger else None
    groups = {name: repo.devices.bits(group_mask(repo, group)) for name, group in repo.groups.items()}
    lines = []
    for one in ending:
        spec, name = one.model.spec, _name(one)
        ends = spec.deprecation
        lines.append(
            Ending(
                name,
                state_on(spec, today),
                told(spec, today),
                ends.sunset if ends else "",
                days_left(spec, today),
                ends.reason if ends else "",
                (ends.successor or "") if ends else "",
                tuple(_still(repo, groups, device) for device in running[name]),
            )
        )
    return Report(tuple(lines), seen)


def _keys(ending: list[LoadedFirmware]) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Return what tells that a device runs one of these: the release's digest, or model and version without one."""
    by_release = {release_of(one.model).digest: _name(one) for one in ending}
    return by_release, {(one.model.spec.model, one.model.spec.version): _name(one) for one in ending}


def _still(repo: FleetRepo, groups: Mapping[str, bytes | bytearray | list[int]], device: str) -> StillRuns:
    if device not in repo.devices:
        return StillRuns(device, "", ())
    at = repo.devices.index(device)
    return StillRuns(device, repo.devices[device].site or "", tuple(name for name, bits in groups.items() if bits[at]))


def _name(one: LoadedFirmware) -> str:
    return f"{one.model.spec.model}@{one.model.spec.version}"
