"""Small fleets for the planner's tests, made through the real loader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from fwctl.manifests.diagnostic import Diagnostic
from fwctl.manifests.load import load
from fwctl.manifests.repo import FleetRepo
from fwctl.rollouts.check import check_plan
from fwctl.rollouts.compile import compile_locked, compile_rollout
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, RolloutView, WaveView

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "dev/sensors"
OPEN = {"wave-1": WaveView("open")}

_FLEET = """\
apiVersion: fwctl/v1
kind: Fleet
metadata: {name: acme}
spec: {repoId: acme, deviceAddress: "{id}:8443"}
"""
_FIRMWARE = """\
apiVersion: fwctl/v1
kind: Firmware
spec:
  model: sensor-v1
  version: "2.5.0"
  hardware: [rev-a]
  image: {digest: "sha256:%s", length: 10}
  releaseCounter: 1
"""
_ROLLOUT = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {name: sensors}
spec:
  firmware: {model: sensor-v1, version: "2.5.0"}
  targets: {all: true}
"""


def files(
    devices: Iterable[str], spec: Sequence[str] = ("strategy: {type: Direct}",), regions: Sequence[str] = ()
) -> dict[str, bytes]:
    """Return the files of a fleet with these devices and one rollout; `spec` are more lines of its spec.

    Devices are dealt to `regions` in turn.
    """
    dealt = [f", region: {region}" for region in regions] or [""]
    entries = "".join(f'    - {{id: "{device}"{dealt[at % len(dealt)]}}}\n' for at, device in enumerate(devices))
    inventory = (
        "apiVersion: fwctl/v1\nkind: DeviceInventory\nspec:\n"
        "  defaults: {model: sensor-v1, hardware: rev-a, env: dev}\n  devices:\n" + entries
    )
    rollout = _ROLLOUT + "".join(f"  {line}\n" for line in spec)
    texts = {
        "fleet.yaml": _FLEET,
        "firmware/sensor-v1/2.5.0.yaml": _FIRMWARE % ("0" * 64),
        "devices/all.yaml": inventory,
        "rollouts/dev/sensors.yaml": rollout,
    }
    return {path: text.encode() for path, text in texts.items()}


def repo_of(sources: dict[str, bytes]) -> FleetRepo:
    loaded = load(sources)
    assert loaded.repo is not None, [str(found.message) for found in loaded.diagnostics]
    return loaded.repo


def check_plans(repo: FleetRepo, files: Mapping[str, bytes]) -> tuple[Diagnostic, ...]:
    """Return what compiling finds in all rollouts."""
    return tuple(
        found
        for rollout in repo.rollouts.values()
        for found in check_plan(repo, rollout, partial(compile_locked, repo, rollout, files))
    )


def plan_of(
    devices: Iterable[str], spec: Sequence[str] = ("strategy: {type: Direct}",), regions: Sequence[str] = ()
) -> Plan:
    repo = repo_of(files(devices, spec, regions))
    return compile_rollout(repo, repo.rollouts[KEY])


def view_of(
    *devices: DeviceView,
    approved_stage: int = 1,
    stopped: str = "",
    waves: Mapping[str, WaveView] = OPEN,
) -> RolloutView:
    return RolloutView(
        approved_stage=approved_stage,
        not_approved="" if approved_stage else "nobody has approved it",
        stopped=stopped,
        waves=waves,
        devices={device.id: device for device in devices},
    )
