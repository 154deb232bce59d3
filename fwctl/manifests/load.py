"""All files of a commit to one checked repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fwctl.manifests.checks import Declared, check
from fwctl.manifests.codes import CODES
from fwctl.manifests.devices import Devices
from fwctl.manifests.diagnostic import Diagnostic, Place, ordered
from fwctl.manifests.inventory import flatten
from fwctl.manifests.models import DeviceGroup, Firmware, Fleet, Rollout, RolloutControl, RolloutPolicy
from fwctl.manifests.parse import Parsed, parse_file
from fwctl.manifests.paths import Classified, ManifestPath, classify
from fwctl.manifests.repo import (
    Contents,
    FleetRepo,
    Loaded,
    LoadedControl,
    LoadedFirmware,
    LoadedGroup,
    LoadedPolicy,
    LoadedRollout,
)
from fwctl.manifests.sources import Sources
from fwctl.manifests.table import InventoryTable

Parser = Callable[[ManifestPath, bytes], Parsed]
Recall = Callable[[ManifestPath], Parsed | None]


def load(files: Mapping[str, bytes], *, parse: Parser = parse_file, recall: Recall | None = None) -> Loaded:
    """Read and check all manifests among `files` (paths relative to the top of the repository -> bytes).

    Files that fwctl does not manage are ignored. All findings come at once, ordered by file and line; the
    repository comes only if none of them is an error. `parse` may keep results between calls; `recall` is asked
    first, before the file's bytes are, and returns what was kept of it.
    """
    classified = classify(files)
    parsed = [(recall and recall(path)) or parse(path, files[path.path]) for path in classified.manifests]
    sources = Sources({p.source.path: p.source for p in parsed})
    found = [*classified.diagnostics, *(d for p in parsed for d in p.diagnostics)]
    if not parsed and not any(d.severity == "error" for d in found):
        found.append(_whole("E_NOTHING_COLLECTED", "no manifest was found", ""))
    elif "fleet.yaml" not in files:
        found.append(_whole("E_NO_FLEET", "there is no `fleet.yaml`", "fleet.yaml"))
    fleet = next((p.model for p in parsed if isinstance(p.model, Fleet)), None)
    inventories = {p.path.path: p.model for p in parsed if isinstance(p.model, InventoryTable)}
    devices, more = flatten(inventories, fleet, sources)
    contents = _assemble(devices, parsed, sources)
    diagnostics = ordered([*found, *more, *check(contents, _declared(classified, parsed, more))])
    clean = not any(d.severity == "error" for d in diagnostics)
    repo = _whole_repo(contents, fleet) if clean and fleet is not None else None
    return Loaded(repo, diagnostics, sources, len(parsed))


def _whole_repo(contents: Contents, fleet: Fleet) -> FleetRepo:
    return FleetRepo(
        devices=contents.devices,
        groups=contents.groups,
        firmware=contents.firmware,
        rollouts=contents.rollouts,
        controls=contents.controls,
        policies=contents.policies,
        sources=contents.sources,
        fleet=fleet,
    )


def _whole(code: str, message: str, path: str) -> Diagnostic:
    return Diagnostic(code, message, Place(path), CODES[code].remedy)


def _assemble(devices: Devices, parsed: list[Parsed], sources: Sources) -> Contents:
    groups: dict[str, LoadedGroup] = {}
    firmware: dict[tuple[str, str], LoadedFirmware] = {}
    rollouts: dict[str, LoadedRollout] = {}
    controls: dict[str, LoadedControl] = {}
    policies: dict[str, LoadedPolicy] = {}
    for one in parsed:
        path, parts = one.path.path, one.path.parts
        match one.model:
            case DeviceGroup() as model:
                groups[parts[0]] = LoadedGroup(path, model)
            case Firmware() as model:
                firmware[(parts[0], parts[1])] = LoadedFirmware(path, one.source.data, model)
            case Rollout() as model:
                rollouts["/".join(parts)] = LoadedRollout(path, one.source.data, model, parts[0], parts[1], one.source)
            case RolloutControl() as model:
                controls["/".join(parts)] = LoadedControl(path, "/".join(parts), model)
            case RolloutPolicy() as model:
                policies[parts[0]] = LoadedPolicy(path, one.source.data, model)
    return Contents(
        devices=devices,
        groups=dict(sorted(groups.items())),
        firmware=dict(sorted(firmware.items())),
        rollouts=dict(sorted(rollouts.items())),
        controls=dict(sorted(controls.items())),
        policies=dict(sorted(policies.items())),
        sources=sources,
    )


def _declared(classified: Classified, parsed: list[Parsed], inventory: list[Diagnostic]) -> Declared:
    """Say what the paths declare, so that a broken file does not make those that refer to it look wrong."""
    by_kind: dict[str, set[tuple[str, ...]]] = {}
    for path in classified.manifests:
        by_kind.setdefault(path.kind, set()).add(path.parts)
    return Declared(
        groups=frozenset(parts[0] for parts in by_kind.get("DeviceGroup", ())),
        firmware=frozenset((parts[0], parts[1]) for parts in by_kind.get("Firmware", ())),
        rollouts=frozenset("/".join(parts) for parts in by_kind.get("Rollout", ())),
        all_devices=all(p.model is not None for p in parsed if p.path.kind == "DeviceInventory")
        and not any(d.code in ("E_SCHEMA", "I_TRUNCATED") for d in inventory),
    )
