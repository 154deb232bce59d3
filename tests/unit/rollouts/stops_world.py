"""Firmware for tests of chains: one line each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from fwctl.manifests.models import Firmware
from fwctl.rollouts.paths.along import Paths
from fwctl.rollouts.paths.stops import Chain, chain_of

MODEL = "sensor-v1"


def firmware(version: str, **more: Any) -> Firmware:
    """Return a firmware; `more` are fields of its spec as they are written."""
    return Firmware.model_validate({"apiVersion": "fwctl/v1", "kind": "Firmware", "spec": spec_of(version, **more)})


def spec_of(version: str, **more: Any) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(version.encode()).hexdigest()}"
    fixed = {"model": MODEL, "version": version, "hardware": ["rev-a"], "releaseCounter": 1}
    return fixed | {"image": {"digest": digest, "length": 10}} | more


def fleet(**specs: Mapping[str, Any]) -> dict[str, Firmware]:
    """Return firmware by version; a name such as `v2_1` is the version 2.1."""
    found = {name.removeprefix("v").replace("_", "."): spec for name, spec in specs.items()}
    return {version: firmware(version, **spec) for version, spec in found.items()}


def chain(known: Mapping[str, Firmware], target: str, *, locked: tuple[str, ...] = ()) -> Chain:
    return chain_of(known[target], known.values(), locked=locked)


def versions(known: Mapping[str, Firmware], target: str) -> list[str]:
    return [stop.version for stop in chain(known, target).stops]


def paths(known: Mapping[str, Firmware], target: str) -> Paths:
    found = chain(known, target)
    return Paths(found.stops, found.barriers)


def way(known: Mapping[str, Firmware], target: str, version: str, hardware: str = "") -> list[str] | None:
    """Return the versions that a device on `version` gets."""
    found = paths(known, target).of(version, hardware)
    return None if found is None else [stop.version for stop in found]
