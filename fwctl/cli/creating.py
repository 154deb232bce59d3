"""The work behind `rollout create`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fwctl.cli.context import Context
from fwctl.cli.planning import load_or_refuse
from fwctl.errors import InputError, UsageError
from fwctl.files import write_atomic
from fwctl.manifests.targets import target_ids

_MANIFEST = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {{name: {name}}}
spec:
  firmware: {{model: {model}, version: "{version}"}}
  targets: {targets}
"""
_STRATEGY = "  strategy: {{type: {strategy}}}\n"
DEFAULT = "Canary"
"""what a manifest means that names no strategy"""


@dataclass(frozen=True)
class Created:
    """The manifest as written."""

    path: Path
    text: str
    targets: int


def create_rollout(
    settings: Context,
    name: str,
    firmware: str,
    *,
    env: str,
    devices: Sequence[str],
    groups: Sequence[str],
    everyone: bool,
    strategy: str = DEFAULT,
) -> Created:
    """Write the manifest, if the repository validates with it; nothing is written otherwise.

    Raises:
        UsageError: no targets, or a firmware that is not MODEL@VERSION.
        ManifestErrors: it would not validate (unknown firmware, no such device, ...).
    """
    model, _, version = firmware.partition("@")
    if not version:
        raise UsageError("firmware is MODEL@VERSION", code="E_USAGE", remedy="For example sensor-v1@2.5.0")
    if not (devices or groups or everyone):
        raise UsageError("say which devices", code="E_USAGE", remedy="--device NAME, --group NAME, or --all")
    path = Path("rollouts") / env / f"{name}.yaml"
    files = settings.edited()
    if str(path) in files:
        raise InputError(
            "there is such a rollout already", code="E_EXISTS", place=str(path), remedy="Edit its version there."
        )
    lists = [f"groups: [{', '.join(groups)}]"] * bool(groups) + [f"devices: [{', '.join(devices)}]"] * bool(devices)
    targets = "{all: true}" if everyone else "{" + ", ".join(lists) + "}"
    text = _MANIFEST.format(name=name, model=model, version=version, targets=targets)
    text += "" if strategy == DEFAULT else _STRATEGY.format(strategy=strategy)
    repo = load_or_refuse(files | {str(path): text.encode()})
    write_atomic(settings.worktree / path, text.encode())
    return Created(path, text, len(target_ids(repo, repo.rollouts[f"{env}/{name}"])))
