"""What is to be said before a rollout starts: who has no legal path to its firmware, and who could not come back.

From git alone every release that is registered for the model counts as one that devices may run; with what devices
were seen to run, exactly those do. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fwctl.manifests.diagnostic import Diagnostic, Loc
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.rollouts.paths.reversal import Barred, barred
from fwctl.rollouts.plan import Plan
from fwctl_agent.protocol.statements import Release
from fwctl_agent.protocol.versions import version_key

_AT: Loc = ("spec", "firmware", "version")
_PLACES = ("released", "deprecated", "sunset")
"""states of firmware that devices may run"""
_SHOWN = 5
_Finding = Callable[[str, str, str], Diagnostic]


@dataclass(frozen=True)
class Seen:
    """What the targets of a rollout run: devices by version; `missing` were not seen."""

    versions: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan, observed: Mapping[str, str]) -> Seen:
        """Sort the targets of a plan by what they were seen to run."""
        found: dict[str, list[str]] = {}
        missing = []
        dropped = set(plan.dropped)
        for device in (*(one for one in plan.members if one not in dropped), *plan.not_covered):
            if device in observed:
                found.setdefault(observed[device], []).append(device)
            else:
                missing.append(device)
        return cls({version: tuple(found[version]) for version in sorted(found, key=version_key)}, tuple(missing))


def findings(
    repo: FleetRepo, rollout: LoadedRollout, plan: Plan, *, observed: Mapping[str, str] | None = None, floor: int = 0
) -> Iterator[Diagnostic]:
    """Yield what is wrong with the ways there and back; `observed` is device -> version, `floor` the policy's."""

    def finding(code: str, message: str, remedy: str) -> Diagnostic:
        return repo.sources.diagnostic(rollout.path, _AT, code=code, message=message, remedy=remedy)

    if observed is None:
        bars = _bars_of_git(repo, plan, floor)
    else:
        seen = Seen.of(plan, observed)
        if lost := _lost(plan, seen):
            number, total = sum(map(len, lost.values())), sum(map(len, seen.versions.values()))
            message = f"{number} of {total} seen targets have no legal path to {plan.release.version}: {_named(lost)}"
            remedy = (
                "Register a released firmware that bridges it (`requiresFrom`, `stop`), or exclude these devices "
                "until they have been brought to a version from which a path leads."
            )
            yield finding("E_NO_PATH", message, remedy)
        if seen.missing:
            message = f"what they run is not known: {_some(seen.missing)}"
            yield finding("I_NOT_OBSERVED", message, "Nothing to do; who turns out to have no path is held.")
        bars = _bars_of_devices(plan, seen, floor)
    yield from _one_way(plan, bars, finding)


def lengths(plan: Plan, observed: Mapping[str, str]) -> str:
    """Return in words how many devices go how: directly, over which stops, or not at all."""
    seen, ways = Seen.of(plan, observed), dict[str, int]()
    for version, devices in seen.versions.items():
        for device in devices:
            path = _path(plan, device, version)
            word = "without a legal path" if path is None else _over(path)
            ways[word] = ways.get(word, 0) + 1
    return ", ".join(f"{number} {word}" for word, number in sorted(ways.items(), key=lambda one: (-one[1], one[0])))


def _over(path: Sequence[Release]) -> str:
    return f"over {', '.join(stop.version for stop in path[:-1])}" if len(path) > 1 else "directly"


def _path(plan: Plan, device: str, version: str) -> tuple[Release, ...] | None:
    profile = plan.profile(device)
    return plan.paths.of(version, profile.hardware if profile else "")


def _lost(plan: Plan, seen: Seen) -> dict[str, tuple[str, ...]]:
    lost = {
        version: tuple(device for device in devices if _path(plan, device, version) is None)
        for version, devices in seen.versions.items()
        if version != plan.release.version
    }
    return {version: devices for version, devices in lost.items() if devices}


def _bars_of_git(repo: FleetRepo, plan: Plan, floor: int) -> dict[str, Barred]:
    """Return version -> what bars the way back to it, of every older release that devices may run."""
    found = {}
    states = {
        version: one.model.spec.state for (model, version), one in repo.firmware.items() if model == plan.release.model
    }
    for before in sorted(plan.family, key=lambda one: version_key(one.version)):
        if states[before.version] in _PLACES and version_key(before.version) < version_key(plan.release.version):
            path = plan.paths.of(before.version)
            if path is not None and (bar := barred(before, path, floor=floor)) is not None:
                found[before.version] = bar
    return found


def _bars_of_devices(plan: Plan, seen: Seen, floor: int) -> dict[str, Barred]:
    known, found = {one.version: one for one in plan.family}, {}
    for version, devices in seen.versions.items():
        if version == plan.release.version:
            continue
        path = _path(plan, devices[0], version)
        if path is not None and (bar := barred(known.get(version), path, floor=floor)) is not None:
            found[version] = bar
    return found


def _one_way(plan: Plan, bars: Mapping[str, Barred], finding: _Finding) -> Iterator[Diagnostic]:
    """Yield one finding per reason; nothing where the manifest says that nobody goes back."""
    rollback = plan.spec.rollback
    if not rollback.allowed:
        return
    by_code: dict[str, dict[str, Barred]] = {}
    for version, bar in bars.items():
        by_code.setdefault(bar.code, {})[version] = bar
    for code, barred_versions in by_code.items():
        why = next(iter(barred_versions.values())).why
        message = f"devices that come from {_listed(tuple(barred_versions))} cannot go back: {why}"
        remedy = _REMEDIES[code] + " Or say that nobody goes back: `rollback: {allowed: false, automatic: false}`."
        yield finding(code if rollback.automatic else "W_NO_WAY_BACK", message, remedy)


_REMEDIES = {
    "E_NO_WAY_BACK": "Bring these devices to the stop by a rollout of its own first.",
    "E_DATA_FORMAT": "Release a version that reads both formats and writes the older one, and go over that.",
    "E_ROLLBACK_FLOOR": "Wait with the floor until the rollout is through, or go without `automatic`.",
}


def _named(devices: Mapping[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{_some(ids)} on {version}" for version, ids in devices.items())


def _listed(versions: tuple[str, ...]) -> str:
    more = f" and {len(versions) - _SHOWN} more" if len(versions) > _SHOWN else ""
    return ", ".join(versions[:_SHOWN]) + more


def _some(ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{len(ids)} ({', '.join(ids[:_SHOWN])}{more})"
