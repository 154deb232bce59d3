"""What is known of files from earlier runs: inventories that were read, and findings of plans. Only time depends on it.

A result is asked for by a digest of everything that it follows from. Nothing is kept of files that have findings
themselves: those are read again, so that the findings say what they always say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

from fwctl.gitrepo import Cache, Files
from fwctl.manifests.diagnostic import Diagnostic, Excerpt, Place, Related
from fwctl.manifests.parse import Parsed, parse_file
from fwctl.manifests.paths import KIND_OF, ManifestPath
from fwctl.manifests.repo import FleetRepo, LoadedRollout
from fwctl.manifests.sources import Source
from fwctl.manifests.table import InventoryTable
from fwctl.rollouts.compile import Compiled, compile_locked, lock_path, read_lock
from fwctl.rollouts.kept import from_bytes, to_bytes
from fwctl.rollouts.plan import Plan
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.statements import Mandate

_TABLE, _FINDINGS, _PLAN, _MANDATE, _DIGEST = "inventory", "findings", "plan", "mandate", "digest"
_SLOW = 1_000_000
"""bytes of a file that take so long to read that a person is told"""
_INVENTORIES = "DeviceInventory"


class Memo:
    """What the cache of some files knows of them."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._cache = files.cache

    def recall(self, path: ManifestPath) -> Parsed | None:
        """Return an inventory as it was read before; its bytes are not read."""
        if self._cache is None or path.kind != _INVENTORIES:
            return None
        kept = self._cache.get(_TABLE, self._named(path.path))
        try:
            table = InventoryTable.from_bytes(kept) if kept is not None else None
        except ValueError:
            table = None
        if table is None:
            return None
        return Parsed(path, Source(path.path, partial(self._files.__getitem__, path.path)), table, ())

    def parse(self, path: ManifestPath, data: bytes) -> Parsed:
        """Read a file, and keep an inventory without findings."""
        slow = len(data) > _SLOW
        if slow:
            self._files.notice(f"Reading {path.path}, {len(data) / 1e6:.0f} MB ...")
        parsed = parse_file(path, data)
        if slow:
            self._files.notice("")
        if self._cache is not None and isinstance(parsed.model, InventoryTable) and not parsed.diagnostics:
            self._cache.put(_TABLE, self._named(path.path), parsed.model.to_bytes())
        return parsed

    def digest(self, path: str) -> str:
        """Return the SHA-256 of a file, or what it was found to be before."""
        kept = self._cache.get(_DIGEST, self._named(path)) if self._cache else None
        if kept is not None:
            return kept.decode()
        found = f"sha256:{hashlib.sha256(self._files[path]).hexdigest()}"
        if self._cache is not None:
            self._cache.put(_DIGEST, self._named(path), found.encode())
        return found

    def findings(
        self, repo: FleetRepo, rollout: LoadedRollout, find: Callable[[], tuple[Diagnostic, ...]]
    ) -> tuple[Diagnostic, ...]:
        """Return what `find` finds in the plan of a rollout, or what it found for the same files before."""
        if self._cache is None:
            return find()
        key = self.inputs(repo, rollout)
        kept = self._cache.get(_FINDINGS, key)
        known = _read(kept) if kept is not None else None
        if known is None:
            known = find()
            self._cache.put(_FINDINGS, key, json.dumps([asdict(found) for found in known]).encode())
        return known

    def compiled(self, repo: FleetRepo, rollout: LoadedRollout) -> Compiled:
        """Return a rollout compiled with its lock, or as it was compiled from the same files before.

        Raises:
            InputError: `E_LOCK_INVALID`, `E_NO_WAVE`, `E_REGION`.
        """
        cache, files = self._cache, self._files
        if cache is None:
            return compile_locked(repo, rollout, files)
        key, place = self.inputs(repo, rollout), lock_path(rollout.path)
        kept = cache.get(_PLAN, key)
        made = (
            from_bytes(kept, repo, rollout, lock=lambda: read_lock(files[place], place), place=place) if kept else None
        )
        if made is None:
            made = compile_locked(repo, rollout, files)
            cache.put(_PLAN, key, to_bytes(made))
        return replace(made, through=partial(_mandate, cache, key, made.plan))

    def inputs(self, repo: FleetRepo, rollout: LoadedRollout) -> str:
        """Name everything that the plan of a rollout and its checks follow from."""
        spec = rollout.model.spec
        control = repo.controls.get(rollout.key)
        paths = [
            "fleet.yaml",
            rollout.path,
            lock_path(rollout.path),
            *(one.path for (model, _), one in repo.firmware.items() if model == spec.firmware.model),
            *(repo.groups[name].path for name in (*spec.targets.groups, *spec.targets.exclude.groups)),
            *([control.path] if control else []),
        ]
        return "\n".join([self.devices, *(self._named(path) for path in paths if path in self._files)])

    @cached_property
    def devices(self) -> str:
        """The inventories together."""
        named = [self._named(path) for path in self._files if KIND_OF.get(path.partition("/")[0]) == _INVENTORIES]
        return hashlib.sha256("\n".join(named).encode()).hexdigest()

    def _named(self, path: str) -> str:
        return f"{path}\0{self._files.blob_id(path)}"


def _mandate(cache: Cache, key: str, plan: Plan, make: Callable[[], Mandate]) -> Mandate:
    """Return the mandate that was made of the same files before, else make it."""
    kept = cache.get(_MANDATE, key)
    try:
        known = Mandate.from_wire(json.loads(kept)) if kept else None
    except (ValueError, Refusal):
        known = None
    if known is None or known.plan != plan.digest:
        known = make()
        cache.put(_MANDATE, key, json.dumps(known.to_wire()).encode())
    return known


def _read(kept: bytes) -> tuple[Diagnostic, ...] | None:
    try:
        return tuple(_diagnostic(one) for one in json.loads(kept))
    except (ValueError, TypeError, KeyError):
        return None


def _diagnostic(kept: Mapping[str, Any]) -> Diagnostic:
    parts = {
        "place": Place(**kept["place"]),
        "excerpt": tuple(Excerpt(**line) for line in kept["excerpt"]),
        "related": tuple(Related(Place(**one["place"]), one["message"]) for one in kept["related"]),
    }
    return Diagnostic(**{**kept, **parts})
