"""A fleet for the benchmark: repository, keys, enrolled devices, an approved rollout; kept if wanted."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from tests.bench.process import PYTHON, BenchError, Process, Used, environment, stepping

REPO_ID, MODEL, ENV = "bench", "sensor-v1", "dev"
ROLLOUT = f"{ENV}/all"
BEFORE, AFTER = "1.0.0", "2.0.0"
_FRESH = 3 * 86400
"""seconds after which a kept fleet is made anew: approvals do not last for ever"""

GATES = """\
  gates: {maxFailureRate: {percent: 50}, minReached: {percent: 10}}   # faults shall be accounted for, not stop the run
  limits: {maxPerMinute: 10000000}
"""

FLEET = """\
apiVersion: fwctl/v1
kind: Fleet
metadata: {{name: bench}}
spec:
  repoId: bench
  storage: {{type: file, path: images}}
  deviceAddress: "{{id}}:{port}"
  passInterval: 30s
  confirmWithin: 10m
  defaults:
    timeoutPerDevice: 30s
    retry: {{maxAttempts: 3, backoff: {{initial: 2s, factor: 2, max: 20s, jitter: 0.2}}}}
"""


@dataclass(frozen=True)
class Size:
    """What a fleet is made of."""

    devices: int
    image: int
    """bytes"""


@dataclass(frozen=True)
class Fleet:
    """A fleet in a folder; `state` is a ledger's folder of its own, so that every measurement starts from the same."""

    folder: Path
    size: Size
    port: int
    run: str = "base"

    @property
    def repo(self) -> Path:
        return self.folder / self.run / "fleet"

    @property
    def state(self) -> Path:
        return self.folder / self.run / "state"

    @property
    def ledger(self) -> Path:
        return self.state / REPO_ID / "ledger.db"

    @property
    def enrolled(self) -> Path:
        return self.folder / "devices"

    @property
    def pki(self) -> Path:
        return self.folder / "config" / REPO_ID / "pki"

    @property
    def env(self) -> Mapping[str, str]:
        state, config = self.folder / self.run / "state", self.folder / "config"
        return environment({"FWCTL_STATE_DIR": str(state), "FWCTL_CONFIG_DIR": str(config)})

    def process(self, log: str, *argv: str, every: float = 0.2, probe: Callable[[], int] = lambda: 0) -> Process:
        """Return a measured process: `fwctl ...` or `fwctl_agent ...`."""
        path = self.folder / self.run / f"{log}.log"
        return Process([*PYTHON, *argv], path, env=self.env, cwd=self.repo, every=every, probe=probe)

    def fwctl(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Used:
        """Run a command to its end.

        Raises:
            BenchError: it ended with another exit code.
        """
        with self.process(f"fwctl-{arguments[0]}", "fwctl", *arguments) as process:
            used = process.wait()
            if used.code not in codes:
                raise BenchError(f"fwctl {' '.join(arguments)} exits {used.code}: {used.out[-500:]} {process.errors()}")
        return used

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.repo, env=dict(self.env), check=True, capture_output=True)

    @contextmanager
    def copied(self, run: str) -> Iterator[Fleet]:
        """Give a measurement a repository and a ledger of its own, gone afterwards."""
        shutil.rmtree(self.folder / run, ignore_errors=True)
        shutil.copytree(self.folder / self.run, self.folder / run)
        try:
            yield Fleet(self.folder, self.size, self.port, run)
        finally:
            shutil.rmtree(self.folder / run, ignore_errors=True)


def host_of(number: int) -> str:
    """Return a device's own loopback address: 127.1.0.1, 127.1.0.2 and so on."""
    return f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def name_of(number: int) -> str:
    return f"d{number:06d}"


def prepare(folder: Path, size: Size, tell: Callable[[str], None]) -> Fleet:
    """Return a fleet of this size with an approved Direct rollout that no device has begun.

    A fleet that is in the folder already, of the same size and not old, is taken as it is.

    Raises:
        BenchError: a command failed.
    """
    mark = folder / "fleet.json"
    if mark.exists() and (port := _kept(json.loads(mark.read_text()), size)):
        tell(f"using the fleet in {folder}")
        return Fleet(folder, size, port)
    fleet = Fleet(folder, size, free_port())
    shutil.rmtree(folder / "base", ignore_errors=True)
    shutil.rmtree(folder / "config", ignore_errors=True)
    shutil.rmtree(folder / "devices", ignore_errors=True)
    (folder / "base" / "fleet").mkdir(parents=True)
    fleet.fwctl("init", "--repo-id", REPO_ID)
    (fleet.repo / "fleet.yaml").write_text(FLEET.format(port=fleet.port))
    (fleet.repo / "devices").mkdir(exist_ok=True)
    with (fleet.repo / "devices" / "all.csv").open("w") as file:
        file.writelines(_inventory(size.devices, fleet.port))
    images = {version: _image(folder, version, size.image) for version in (BEFORE, AFTER)}
    with stepping(tell, f"enrolled {size.devices} devices"):
        enrol = ("--out", str(fleet.enrolled), "--factory", str(images[BEFORE]), "--factory-version", BEFORE)
        fleet.fwctl("device", "enroll", "--all", *enrol)
    release(fleet, images[AFTER], AFTER, tell)
    mark.write_text(json.dumps({"size": vars(size), "port": fleet.port, "made": int(time.time())}))
    return fleet


def release(fleet: Fleet, image: Path, version: str, tell: Callable[[str], None]) -> None:
    """Register the image, write the rollout of it to every device, lock, commit and approve it."""
    fleet.fwctl("firmware", "add", str(image), "--model", MODEL, "--version", version)
    fleet.fwctl("rollout", "create", "all", "--firmware", f"{MODEL}@{version}", "--all", "--strategy", "Direct")
    with (fleet.repo / "rollouts" / ENV / "all.yaml").open("a") as file:
        file.write(GATES)
    with stepping(tell, "planned, committed and approved"):
        fleet.fwctl("plan", "all", "--lock")
        fleet.git("add", "-A")
        fleet.git("commit", "-qm", "Everything to the new version")
        fleet.fwctl("approve", "all", "--yes")


def _kept(mark: Mapping[str, Any], size: Size) -> int | None:
    """Return the port of a fleet that can be used again."""
    good = mark["size"] == vars(size) and time.time() - mark["made"] < _FRESH
    return int(mark["port"]) if good else None


def free_port() -> int:
    """Return a free port that no outgoing connection gets."""
    while True:
        port = SystemRandom().randrange(15000, 32000)
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("0.0.0.0", port))
            return port


def _inventory(devices: int, port: int) -> Iterator[str]:
    yield "id,model,hardware,env,address\n"
    for number in range(devices):
        yield f"{name_of(number)},{MODEL},rev-a,{ENV},{host_of(number)}:{port}\n"


def _image(folder: Path, version: str, size: int) -> Path:
    path = folder / f"{version}.bin"
    path.write_bytes(Random(version).randbytes(size))
    return path
