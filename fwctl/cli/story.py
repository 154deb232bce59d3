"""The demo: the commands that a person would type, run for real, each shown with what it prints."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fwctl.cli.context import say
from fwctl.cli.stage import Place, agents, empty, free_port, lay_out, live, quiet, run, same, step

FACTORY = b"fwctl reference image: sensor-v1 2.4.0\n"
REAL = ("device-001", "device-002")
SIMULATED = 200
IMAGE_BYTES = 128 << 10
STRATEGY = "strategy: {type: Canary, initialPercentage: 10, increments: [50, 100], soak: 6s}"
FAULTS = """\
seed = 7

# 2.5.1 has a bug: on two of five devices a health check fails, seconds after they were confirmed.
[[faults]]
name = "bug-in-2.5.1"
kind = "unhealthy"
share = 0.4
versions = ["2.5.1"]
late = 2
"""


@dataclass(frozen=True)
class End:
    """How it ended."""

    ok: bool
    summary: str
    next_commands: tuple[str, ...]


def tell(folder: Path | None) -> End:
    """Play the demo in `folder` and leave everything there to look at; the processes it starts end with it.

    Raises:
        InputError: the folder is not empty.
        WorldError: a step failed; its output was shown.
    """
    start, place = time.monotonic(), Place(empty(folder))
    say(f"A fleet of {SIMULATED + len(REAL)} sensors runs 2.4.0. Two are real agents, the others are simulated.")
    say(f"Everything lies in {place.top}\n")
    port = free_port()
    lay_out(place, ports={device: free_port() for device in REAL}, shared=port, simulated=SIMULATED)
    step(place, "A repository, keys, and a one-person trust", "fwctl init --as dana")
    step(place, None, "git add -A", "git commit -q -m 'Describe the fleet'")
    sensors = _enroll(place)
    faults = place.top / "faults.toml"
    faults.write_text(FAULTS)
    simulated = [device for device in sensors if device not in REAL]
    with agents(place, REAL, simulated, port, faults):
        good = _good(place)
        _bad(place)
        return _end(place, sensors, good, start)


def _enroll(place: Place) -> list[str]:
    """Give every sensor of the rollout, as the plan tells them, a certificate and a folder."""
    plan = json.loads(run(place, ["fwctl", "plan", "sensors", "--format", "json"]).stdout)["plans"][0]["plan"]
    sensors = sorted(device for wave in plan["waves"] for device in wave["devices"])
    factory = place.top / "factory.bin"
    factory.write_bytes(FACTORY)
    options = ["--out", str(place.devices), "--factory", str(factory), "--factory-version", "2.4.0"]
    title = f"{len(sensors)} devices get a certificate and a folder to run from"
    quiet(
        place,
        ["fwctl", "device", "enroll", *sensors, *options],
        title,
        "fwctl device enroll device-001 ... --out devices",
    )
    return sensors


def _good(place: Place) -> Path:
    manifest = place.repo / "rollouts" / "dev" / "sensors.yaml"
    text = manifest.read_text()
    manifest.write_text(text.replace("strategy: {type: Direct, soak: 0s}", STRATEGY))
    image = _release(place, "2.4.0", "2.5.0", "A human signs exactly this plan; every device will check it")
    live(place, "A tenth first, then half, then all, with a soak between: over mutual TLS", "fwctl reconcile --once")
    step(place, "Where it stands", "fwctl status sensors")
    return image


def _bad(place: Place) -> None:
    say("# The next build has a bug that shows only seconds after a device was confirmed.\n")
    _release(place, "2.5.0", "2.5.1", "Nobody saw it in the review")
    title = "The canary sees it, stops, and everybody goes back; nobody has to type anything (exit code 1)"
    live(place, title, "fwctl reconcile --once", expect=1)
    step(place, "What happened, and why", "fwctl explain sensors")
    report = place.top / "report.html"
    step(place, "The same for a browser", f"fwctl rollout report sensors --format html --out {report}")


def _release(place: Place, old: str, new: str, title: str) -> Path:
    """Register a build, change one line in git, plan, commit, approve."""
    image = place.top / f"sensor-{new}.bin"
    head = f"sensor-v1 {new}\n".encode()
    image.write_bytes(head + os.urandom(IMAGE_BYTES - len(head)))
    add = f"fwctl firmware add {image} --model sensor-v1 --version {new}"
    step(place, f"{new} is built: register and sign it", add)
    manifest = place.repo / "rollouts" / "dev" / "sensors.yaml"
    manifest.write_text(manifest.read_text().replace(f'version: "{old}"', f'version: "{new}"'))
    say(f"# One line changes in git: rollouts/dev/sensors.yaml, version {old} -> {new}\n")
    step(place, "What would happen, to whom", "fwctl plan sensors --lock")
    step(place, None, "git add -A", f"git commit -q -m 'Sensors to {new}'")
    step(place, title, "fwctl approve sensors --yes")
    return image


def _end(place: Place, sensors: Sequence[str], good: Path, start: float) -> End:
    """Look into the slots themselves: what the ledger says is not asked."""
    held = sum(same(place.devices / device / "slots" / "current", good) for device in sensors)
    bad = place.top / "sensor-2.5.1.bin"
    still = sum(same(place.devices / device / "slots" / "current", bad) for device in sensors)
    return End(
        held == len(sensors),
        f"{held} of {len(sensors)} devices run the very bytes of {good.name}, {still} the bad ones. "
        f"{time.monotonic() - start:.0f} seconds in all.",
        (
            f"cd {place.repo} && export FWCTL_CONFIG_DIR={place.top}/config FWCTL_STATE_DIR={place.top}/state",
            f"open {place.top}/report.html      the waves on a time line, what failed, how fast it came back",
            "fwctl device history device-001    every firmware that it ran, and who approved it",
            "fwctl events --for sensors         what happened, link by link",
            f"fwctl-agent run --config {place.devices}/device-001   start a device again",
            f"rm -rf {place.top}      when you have seen enough",
        ),
    )
