"""A whole fleet in one folder: the real command line, real git, real agents on loopback addresses of their own."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fwctl.cli.main import guarded
from fwctl.fleet.certificates import Authorities
from fwctl.state import Ledger, ledger_path
from fwctl.trust.keystore import KeyStore
from tests.support.agents import Client

REPO = "acme"
MODEL = "sensor-v1"
SECONDS = 20.0
"""the longest that anything here may take"""

IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Alice",
    "GIT_AUTHOR_EMAIL": "alice@example.org",
    "GIT_COMMITTER_NAME": "Alice",
    "GIT_COMMITTER_EMAIL": "alice@example.org",
}

FLEET = """\
apiVersion: fwctl/v1
kind: Fleet
metadata: {{name: acme}}
spec:
  repoId: acme
  storage: {{type: file, path: images}}
  deviceAddress: "{{id}}:8443"
  passInterval: {pass_interval}
  confirmWithin: {confirm_within}
  defaults:
    timeoutPerDevice: {timeout}
    retry: {{maxAttempts: {attempts}, backoff: {{initial: 1s, factor: 1, max: 1s, jitter: 0}}}}
"""

# Every process of a test run gets loopback addresses that no other one has.
_NETWORK = (1 + os.getpid() % 199, random.SystemRandom().randrange(256))
_hosts = itertools.count()


def next_host() -> str:
    """Return a loopback address that nothing else of this run has."""
    number = next(_hosts)
    return f"127.{_NETWORK[0]}.{(_NETWORK[1] + number // 250) % 256}.{1 + number % 250}"


@dataclass(frozen=True)
class Ran:
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"

    @property
    def next(self) -> list[str]:
        """Return the commands that it printed as the next ones."""
        _, _, after = self.err.partition("Next: ")
        return [line.strip() for line in after.splitlines() if line.strip()]


@dataclass
class Process:
    """One process that the test started: its output goes to a file, so that no pipe can fill up."""

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    address: str = ""

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | dict(self.env),
                start_new_session=True,
            )
        return self

    def listening(self) -> Self:
        """Start, and wait until it says that it listens."""
        seen = self.log.stat().st_size if self.log.exists() else 0
        self.start()
        found: list[str] = []

        def says() -> bool:
            assert self.running, self.said()
            found[:] = re.findall(r"listening on (\S+:\d+)", self.log.read_text()[seen:])
            return bool(found)

        until(says, what=f"{self.log.name} to listen")
        self.address = found[0]
        return self

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = SECONDS) -> int:
        return self._process.wait(seconds)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and whatever runs below it (what strace starts would outlive strace)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """End it: politely, then not."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(5)
        self.kill()


class World:
    """One fleet: `fleet/` is its repository, `state/` and `config/` what would lie in the user's home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = folder / "fleet"
        self.state = folder / "state"
        self.config = folder / "config"
        self.processes: list[Process] = []
        self.location = str(self.repo)
        self._version = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.processes:
            process.stop()
        if error is not None and isinstance(error, AssertionError):
            for process in self.processes:
                error.add_note(f"--- {process.log.name}\n{process.said()[-4000:]}")

    def keep(self, process: Process) -> Process:
        """Have a process stopped at the end."""
        self.processes.append(process)
        return process

    # -- the command line -------------------------------------------------------------------------------------------

    @property
    def options(self) -> list[str]:
        return ["--repo", self.location, "--state-dir", str(self.state), "--config-dir", str(self.config)]

    def run(self, *arguments: object) -> Ran:
        """Run one command in this process, and return whatever it answers."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = guarded([*self.options, *map(str, arguments)])
        return Ran(code, out.getvalue(), err.getvalue())

    def fwctl(self, *arguments: object) -> Ran:
        """Run one command that must succeed."""
        ran = self.run(*arguments)
        assert ran.code == 0, ran.text
        return ran

    def spawn(self, *arguments: object, setup: str = "") -> Process:
        """Start one command as a process of its own; `setup` is Python that it runs first.

        What `setup` limits would hit the coverage measurement too, so such a process is not measured.
        """
        unmeasured = {"COVERAGE_PROCESS_CONFIG": ""} if setup else {}
        argv = [sys.executable, "-c", f"{setup}\nfrom fwctl.cli.main import run; run()", *self.options]
        process = Process([*argv, *map(str, arguments)], self.folder / f"fwctl-{len(self.processes)}.log", unmeasured)
        self.processes.append(process)
        return process.start()

    def once(self, *options: object, duration: int = 15) -> Ran:
        return self.run("reconcile", "--once", "--max-duration", duration, *options)

    def reconciled(self, *options: object) -> dict[str, Any]:
        """Run one pass that must succeed, and return its report."""
        ran = self.once("--format", "json", *options)
        assert ran.code == 0, ran.text
        report: dict[str, Any] = json.loads(ran.out)
        return report

    # -- git --------------------------------------------------------------------------------------------------------

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.repo,
            env=os.environ | IDENTITY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str = "Change the fleet") -> str:
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    # -- the fleet --------------------------------------------------------------------------------------------------

    def init(
        self, *, pass_interval: str = "5m", confirm_within: str = "10m", timeout: str = "10m", attempts: int = 3
    ) -> Self:
        self.fwctl("init", self.repo, "--repo-id", REPO, "--as", "alice")
        settings = {"confirm_within": confirm_within, "timeout": timeout, "attempts": attempts}
        (self.repo / "fleet.yaml").write_text(FLEET.format(pass_interval=pass_interval, **settings))
        self.commit("Settings")
        return self

    def enroll(self, name: str, *options: object, address: str = "", settings: Mapping[str, str] | None = None) -> Path:
        """Declare and enrol one device; `settings` replaces texts in its agent.toml."""
        folder = self.folder / "devices" / name
        folder.parent.mkdir(exist_ok=True)
        where = ("--address", address or free_address(), "--out", folder)
        self.fwctl("device", "enroll", name, "--model", MODEL, *where, *options)
        toml = (folder / "agent.toml").read_text()
        for old, new in (settings or {}).items():
            assert old in toml
            toml = toml.replace(old, new, 1)
        (folder / "agent.toml").write_text(toml)
        return folder

    def enroll_simulated(self, count: int) -> Path:
        """Declare and enrol devices that one simulator will serve, an address each."""
        port = free_address().rpartition(":")[2]
        names = [f"sim-{number:03}" for number in range(1, count + 1)]
        rest = f"model: {MODEL}, hardware: rev-a, env: dev"
        lines = [f'    - {{id: {name}, {rest}, address: "{next_host()}:{port}"}}' for name in names]
        inventory = ["apiVersion: fwctl/v1", "kind: DeviceInventory", "spec:", "  devices:", *lines]
        (self.repo / "devices").mkdir(exist_ok=True)
        (self.repo / "devices" / "simulated.yaml").write_text("\n".join(inventory) + "\n")
        self.fwctl("device", "enroll", *names, "--out", self.folder / "simulated")
        self.simulated = (count, port)
        return self.folder / "simulated"

    def agent(self, name: str) -> Process:
        """Run the real agent of an enrolled device."""
        return self._serve(name, "run", "--config", str(self.folder / "devices" / name))

    def simulator(self, *options: str) -> Process:
        count, port = self.simulated
        enrolled = str(self.folder / "simulated")
        return self._serve(
            "simulator", "simulate", "--enrolled", enrolled, "--devices", str(count), "--listen-port", port, *options
        )

    def _serve(self, name: str, *arguments: str) -> Process:
        argv = [sys.executable, "-m", "fwctl_agent", *arguments]
        process = Process(argv, self.folder / f"{name}.log", {"PYTHONUNBUFFERED": "1"})
        self.processes.append(process)
        return process.listening()

    def add_firmware(self, image: bytes, version: str) -> None:
        file = self.folder / f"{version}.bin"
        file.write_bytes(image)
        self.fwctl("firmware", "add", file, "--model", MODEL, "--version", version)

    def release(self, image: bytes, version: str = "2.5.0", *, approve: bool = True) -> str:
        """Register an image, make it the rollout's, plan, commit and approve it; return the commit."""
        self.add_firmware(image, version)
        path = self.repo / "rollouts" / "dev" / "sensors.yaml"
        if path.exists():
            path.write_text(re.sub(r'version: "[^"]+"', f'version: "{version}"', path.read_text()))
        else:
            self.fwctl(
                "rollout", "create", "sensors", "--firmware", f"{MODEL}@{version}", "--all", "--strategy", "Direct"
            )
        self.fwctl("plan", "sensors", "--lock")
        self.commit(f"Release {version}")
        if approve:
            self.fwctl("approve", "sensors", "--yes")
        return self.git("rev-parse", "HEAD")

    # -- questions --------------------------------------------------------------------------------------------------

    @property
    def keystore(self) -> KeyStore:
        return KeyStore.of(REPO, self.config)

    @property
    def ledger_file(self) -> Path:
        return ledger_path(self.state / REPO)

    @property
    def images(self) -> list[Path]:
        return [path for path in (self.state / REPO / "images").rglob("*") if path.is_file()]

    @contextlib.contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with Ledger.open(self.ledger_file, readonly=True) as ledger:
            yield ledger

    def status(self) -> dict[str, Any]:
        """Return the one rollout as `status --format json` shows it."""
        rollout: dict[str, Any] = json.loads(self.fwctl("status", "--format", "json").out)["rollouts"][0]
        return rollout

    def standings(self) -> dict[str, str]:
        return {one["device"]: one["state"] for one in self.status()["devices"]}

    def forget_summaries(self) -> None:
        """Have the next pass work everything out anew, as after a new release of fwctl."""
        with contextlib.closing(sqlite3.connect(ledger_path(self.state / REPO))) as ledger, ledger:
            ledger.execute("DELETE FROM summaries")

    def client(self, name: str, address: str) -> Client:
        """Connect to a device with the controller's certificate, as a reconciler does."""
        paths = Authorities(self.keystore.pki)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(paths.device_ca)
        context.load_cert_chain(paths.controller, paths.controller_key)
        return Client(name, address, context)

    def journal(self, name: str) -> dict[str, Any]:
        """Return what `fwctl-agent status` says about a device's folder."""
        folder = self.folder / "devices" / name
        argv = [sys.executable, "-m", "fwctl_agent", "status", "--config", str(folder), "--format", "json"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS)
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    def active_bytes(self, name: str) -> bytes:
        """Return the bytes of the slot that a device runs from (installer `slots`)."""
        return (self.folder / "devices" / name / "slots" / f"{self.journal(name)['current']}.img").read_bytes()


def free_address() -> str:
    """Return a loopback address of its own and a port that is free on it."""
    host = next_host()
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def until(condition: Callable[[], object], *, what: str, seconds: float = SECONDS) -> None:
    """Wait for a condition that another process makes true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def firmware(text: str, size: int = 200_000) -> bytes:
    """Return an image, the same for the same text, that does not repeat itself."""
    return text.encode() + random.Random(text).randbytes(size)
