"""The work behind `diff`: two states of git as objects with fields, compared; and who gets which firmware."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from fwctl.cli.context import Context
from fwctl.errors import UsageError
from fwctl.gitrepo import Files
from fwctl.manifests.devices import Devices
from fwctl.manifests.models import plain
from fwctl.manifests.models.base import Model
from fwctl.manifests.repo import FleetRepo
from fwctl.manifests.table import Profile
from fwctl.reconcile.commit import compiled, load_repo
from fwctl.reconcile.memo import Memo
from fwctl.rollouts.plan import Plan

Symbol = Literal["+", "~", "-"]
Kind = Literal[
    "fleet", "rollout", "control", "firmware", "group", "policy", "device", "lock", "trust", "signature", "approval"
]
KINDS: tuple[Kind, ...] = (
    *("fleet", "rollout", "control", "lock", "firmware", "group", "policy", "device"),
    *("trust", "signature", "approval"),
)
WORK_TREE = "work tree"


@dataclass(frozen=True)
class FieldChange:
    """One field. Values are JSON text; empty where there is none."""

    symbol: Symbol
    field: str
    old: str
    new: str


@dataclass(frozen=True)
class ObjectChange:
    """One thing that git describes."""

    symbol: Symbol
    kind: Kind
    name: str
    path: str
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True)
class Touch:
    """What a rollout means for devices before and after: `model version`, empty where it does not exist."""

    rollout: str
    before: str
    after: str
    gets: tuple[str, ...]
    """devices that are to run `after` and were not to run it by this rollout"""
    leaves: tuple[str, ...]
    """devices that the rollout held and does not hold any more; they stay on what they run"""
    not_covered: tuple[str, ...]
    """devices that match but wait for a new lock"""


@dataclass(frozen=True)
class Difference:
    """All that changes from `base` to `head`."""

    base: str
    head: str
    changes: tuple[ObjectChange, ...]
    touches: tuple[Touch, ...]

    @property
    def empty(self) -> bool:
        return not self.changes and not self.touches


@dataclass(frozen=True)
class _Side:
    repo: FleetRepo
    files: Files

    @cached_property
    def memo(self) -> Memo:
        return Memo(self.files)

    @property
    def inventories(self) -> tuple[str, str]:
        """What all that is said of devices follows from."""
        return self.memo.devices, self.repo.fleet.spec.device_address


_Objects = dict[tuple[Kind, str], tuple[str, Mapping[str, Any], Mapping[str, Any]]]
"""(kind, name) -> path, all fields with defaults, fields that are written"""


def compare(settings: Context, base: str, head: str) -> Difference:
    """Compare commit `base` with commit `head`, or with the work tree.

    Raises:
        InputError: no such commit, or one of the two does not validate.
    """
    base_id, base_files = settings.committed(base)
    if head:
        head_name, head_files = settings.committed(head)
        shown = head_name[:12]
    elif settings.repo.worktree is None:
        raise UsageError(
            "there is no work tree to compare with", code="E_USAGE", place=base, remedy=f"fwctl diff {base} HEAD"
        )
    else:
        head_files, shown = settings.edited(), WORK_TREE
    old, new = (_Side(load_repo(files), files) for files in (base_files, head_files))
    changes = sorted(_changes(old, new), key=lambda change: (KINDS.index(change.kind), change.name))
    return Difference(base_id[:12], shown, tuple(changes), tuple(_touches(old, new)))


def _changes(old: _Side, new: _Side) -> Iterator[ObjectChange]:
    before, after = _objects(old.repo), _objects(new.repo)
    if old.inventories != new.inventories:
        gone, come = _devices_that_differ(old.repo, new.repo)
        before, after = before | _device_objects(old.repo, gone), after | _device_objects(new.repo, come)
    for key in before.keys() | after.keys():
        was, now = before.get(key), after.get(key)
        if was is None and now is not None:
            yield _object("+", key, now[0], tuple(FieldChange("+", f, "", v) for f, v in _flat(now[2]).items()))
        elif was is not None and now is None:
            yield _object("-", key, was[0], tuple(FieldChange("-", f, v, "") for f, v in _flat(was[2]).items()))
        elif was is not None and now is not None and (fields := _fields(_flat(was[1]), _flat(now[1]))):
            yield _object("~", key, now[0], fields)
    yield from _file_changes(old.files, new.files)


def _object(symbol: Symbol, key: tuple[Kind, str], path: str, fields: tuple[FieldChange, ...]) -> ObjectChange:
    return ObjectChange(symbol, key[0], key[1], path, fields)


def _objects(repo: FleetRepo) -> _Objects:
    found: _Objects = {("fleet", repo.fleet.spec.repo_id): ("fleet.yaml", *_both(repo.fleet.spec))}
    for key, rollout in repo.rollouts.items():
        found["rollout", key] = (rollout.path, *_both(rollout.model.spec))
    for key, control in repo.controls.items():
        found["control", key] = (control.path, *_both(control.model.spec))
    for (model, version), firmware in repo.firmware.items():
        found["firmware", f"{model}@{version}"] = (firmware.path, *_both(firmware.model.spec))
    for name, group in repo.groups.items():
        found["group", name] = (group.path, *_both(group.spec))
    for name, policy in repo.policies.items():
        found["policy", name] = (policy.path, *_both(policy.spec))
    return found


def _device_objects(repo: FleetRepo, ids: Iterable[str]) -> _Objects:
    found: _Objects = {}
    for device in map(repo.devices.__getitem__, ids):
        fields = {name: value for name, value in device.facts.items() if name != "id" and name not in device.labels}
        fields |= {"address": device.address} | ({"timeZone": device.time_zone} if device.time_zone else {})
        fields |= {f"labels.{key}": value for key, value in device.labels.items()}
        found["device", device.id] = (device.origin.path, fields, fields)
    return found


def _devices_that_differ(old: FleetRepo, new: FleetRepo) -> tuple[list[str], list[str]]:
    """Return the ids on each side that the other has not or has otherwise; no object is made to find out."""
    if old.fleet.spec.device_address != new.fleet.spec.device_address:
        return list(old.devices), list(new.devices)
    was, now = _rows(old.devices), _rows(new.devices)
    return [d for d in was if was[d] != now.get(d)], [d for d in now if now[d] != was.get(d)]


def _rows(devices: Devices) -> dict[str, tuple[Profile, str | None]]:
    """Return what an inventory says of each device."""
    given = [devices.given_address(index) for index in range(len(devices))]
    return dict(
        zip(devices.ids, zip(map(devices.profiles.__getitem__, devices.numbers), given, strict=True), strict=True)
    )


def _both(spec: Model) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return all fields with defaults, for comparing; and those that are written, for showing what is new."""
    everything = plain(spec)
    written = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return everything, _narrowed(everything, written)


def _narrowed(everything: Any, written: Any) -> Any:
    """Keep the plain values of those fields that `written` has."""
    if isinstance(everything, dict) and isinstance(written, dict):
        return {key: _narrowed(everything[key], written[key]) for key in written if key in everything}
    return everything


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return fields as `a.b` -> JSON text; a list is one value, because its order and size are the statement."""
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            found |= _flat(item, f"{prefix}{key}.")
        elif item is not None and item not in ([], {}):
            found[f"{prefix}{key}"] = json.dumps(item, ensure_ascii=False)
    return found


def _fields(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[FieldChange, ...]:
    found = []
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name, ""), new.get(name, "")
        if was != now:
            found.append(FieldChange("~" if was and now else "+" if now else "-", name, was, now))
    return tuple(found)


def _file_changes(old: Files, new: Files) -> Iterator[ObjectChange]:
    """Yield what changes as files only: locks, trust, signatures. A reviewer must see that they did."""
    for path in old.keys() | new.keys():
        kind = _file_kind(path)
        if kind is None or _same(old, new, path):
            continue
        symbol: Symbol = "+" if path not in old else "-" if path not in new else "~"
        fields: tuple[FieldChange, ...] = ()
        if kind == "lock":
            sizes = [str(files[path].count(b"\n")) if path in files else "" for files in (old, new)]
            fields = (FieldChange(symbol, "devices", *sizes),) if sizes[0] != sizes[1] else ()
        yield ObjectChange(symbol, kind, _file_name(kind, path), path, fields)


def _same(old: Files, new: Files, path: str) -> bool:
    if path not in old or path not in new:
        return False
    was, now = old.blob_id(path), new.blob_id(path)
    # a work tree has ids of one format, its repository may have the other
    return was == now or (len(was) != len(now) and old[path] == new[path])


def _file_kind(path: str) -> Kind | None:
    if path.startswith("trust/"):
        return "trust"
    if path.endswith(".lock"):
        return "lock"
    if path.endswith(".dsse.json"):
        return "approval" if path.startswith("approvals/") else "signature"
    return None


def _file_name(kind: Kind, path: str) -> str:
    """Name an approval or signature by whom it is from; other files by their path."""
    parts = path.removesuffix(".dsse.json").split("/")
    if kind == "approval" and len(parts) == 5:
        who, _, stage = parts[4].rpartition(".")
        return f"of {parts[1]}/{parts[2]} by {who}, stage {stage}"
    if kind == "signature" and len(parts) == 3:
        return f"under {parts[1]} by {parts[2].rpartition('.')[2]}"
    return path


def _touches(old: _Side, new: _Side) -> Iterator[Touch]:
    for key in sorted(old.repo.rollouts.keys() | new.repo.rollouts.keys()):
        if _inputs(old, key) == _inputs(new, key):
            continue
        was, now = _plan(old, key), _plan(new, key)
        held = set(was.members) - set(was.dropped) if was else set[str]()
        holds = set(now.members) - set(now.dropped) if now else set[str]()
        same = was is not None and now is not None and was.release.digest == now.release.digest
        gets, leaves = holds - held if same else holds, held - holds
        waiting = set(now.not_covered if now else ()) - set(was.not_covered if was else ())
        if gets or leaves or waiting:
            names = (_name(was), _name(now))
            yield Touch(key, *names, tuple(sorted(gets)), tuple(sorted(leaves)), tuple(sorted(waiting)))


def _inputs(side: _Side, key: str) -> str:
    rollout = side.repo.rollouts.get(key)
    return side.memo.inputs(side.repo, rollout) if rollout else ""


def _plan(side: _Side, key: str) -> Plan | None:
    rollout = side.repo.rollouts.get(key)
    return compiled(side.repo, rollout, side.files).plan if rollout else None


def _name(plan: Plan | None) -> str:
    return f"{plan.release.model} {plan.release.version}" if plan else ""
