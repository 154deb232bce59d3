"""The stage of the demo: its folders, its devices, its processes, and how its commands are shown."""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fwctl
from fwctl.cli.context import say
from fwctl.errors import InputError, WorldError

READY_SECONDS = 60.0
COMMAND_SECONDS = 180
_SHOWN_LINES = 14


_MANY = """\
# More simulated sensors, so that waves have something to hold.
apiVersion: fwctl/v1
kind: DeviceInventory
metadata: {name: many}
spec:
  defaults:
    model: sensor-v1
    hardware: rev-a
    env: dev
    region: eu
    site: berlin
    timeZone: Europe/Berlin
    labels: {ring: field}
  devices:
"""


@dataclass(frozen=True)
class Place:
    """Where everything of the demo lies."""

    top: Path

    @property
    def repo(self) -> Path:
        return self.top / "fleet"

    @property
    def devices(self) -> Path:
        return self.top / "devices"

    @property
    def environment(self) -> dict[str, str]:
        """Own keys, own state, own identity: nothing of the user's is touched."""
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "Dana Demo"), ("EMAIL", "dana@example.org"))
        }
        own = {"FWCTL_CONFIG_DIR": str(self.top / "config"), "FWCTL_STATE_DIR": str(self.top / "state")}
        return {**os.environ, **who, **own}


def _reference() -> Path:
    """Return the reference fleet: beside the package in a checkout, inside it when installed."""
    package = Path(fwctl.__file__).parent
    for folder in (package.parent / "manifests", package / "reference"):
        if (folder / "fleet.yaml").is_file():
            return folder
    raise WorldError("the reference fleet is not installed", code="E_DEMO", remedy="Install fwctl again.")


def empty(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="fwctl-demo-"))
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise InputError("it is not empty", code="E_EXISTS", place=str(folder), remedy="Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def lay_out(place: Place, *, ports: dict[str, int], shared: int, simulated: int) -> None:
    """Copy the reference fleet with more simulated sensors; its devices listen on loopback here."""
    shutil.copytree(_reference(), place.repo, ignore=shutil.ignore_patterns("README.md"))
    settings = place.repo / "fleet.yaml"
    lines = [
        f'  deviceAddress: "127.0.0.1:{shared}"' if line.startswith("  deviceAddress:") else line
        for line in settings.read_text().splitlines()
    ]
    settings.write_text("\n".join(lines) + "\n")
    folder = place.repo / "devices"
    for path in folder.glob("*.yaml"):
        text = path.read_text()
        for device, port in ports.items():
            text = text.replace(f"{{id: {device},", f'{{id: {device}, address: "127.0.0.1:{port}",')
        path.write_text(text)
    there = sum(path.read_text().count("{id: sim-") for path in folder.glob("*.yaml"))
    more = "".join(f"    - {{id: sim-{number:03}}}\n" for number in range(there + 1, simulated + 1))
    (folder / "many.yaml").write_text(_MANY + more)


@contextlib.contextmanager
def agents(place: Place, real: Sequence[str], simulated: Sequence[str], port: int, faults: Path) -> Iterator[None]:
    """Run the real agents and one simulator; they end with the block, whatever happens in it."""
    folder = place.top / "simulated"
    folder.mkdir()
    for device in simulated:
        (folder / device).symlink_to(place.devices / device)
    commands = [["run", "--config", str(place.devices / device)] for device in real]
    options = ["--enrolled", str(folder), "--listen-port", str(port), "--faults", str(faults)]
    commands.append(["simulate", "--devices", str(len(simulated)), *options])
    running: list[subprocess.Popen[str]] = []
    try:
        for command in commands:
            log = (place.top / f"agent-{len(running) + 1}.log").open("w")
            running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "fwctl_agent", *command],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=place.environment,
                )
            )
            log.close()
        for process in running:
            say(_first_line(process))
        say()
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _first_line(process: subprocess.Popen[str]) -> str:
    """Return what an agent says when it listens; one that ends instead is an error, one that hangs is ended."""
    with selectors.DefaultSelector() as selector:
        if process.stdout is not None:
            selector.register(process.stdout, selectors.EVENT_READ)
            if selector.select(READY_SECONDS) and (line := process.stdout.readline()):
                return line.strip()
    raise WorldError("an agent did not start", code="E_DEMO", remedy="Look at the agent-*.log files.")


def step(place: Place, title: str | None, *commands: str) -> None:
    """Show commands as they would be typed, run them, show what they print."""
    if title:
        say(f"# {title}")
    for command in commands:
        quiet(place, shlex.split(command), None, command)
    say()


def live(place: Place, title: str, command: str, *, expect: int = 0) -> None:
    """Show a command as it runs, with its own bars on a terminal; it must end with the exit code `expect`."""
    say(f"# {title}\n$ {command}")
    sys.stdout.flush()
    done = subprocess.run(
        _program(shlex.split(command)), cwd=place.repo, env=place.environment, timeout=COMMAND_SECONDS, check=False
    )
    if done.returncode != expect:
        raise _ended(place, command, done.returncode)
    say()


def quiet(place: Place, arguments: list[str], title: str | None, shown: str) -> None:
    if title:
        say(f"# {title}")
    say(f"$ {shown}")
    done = run(place, arguments)
    lines = done.stdout.splitlines()
    for line in (
        lines if len(lines) <= _SHOWN_LINES else [*lines[:8], f"... {len(lines) - 10} more lines ...", *lines[-2:]]
    ):
        say(f"  {line}".rstrip())
    if title:
        say()


def run(place: Place, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            _program(arguments),
            cwd=place.repo,
            env=place.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise WorldError(
            f"`{' '.join(arguments[:3])}` took more than {COMMAND_SECONDS} seconds",
            code="E_DEMO",
            place=str(place.top),
            remedy="Try again on a machine that is less busy.",
        ) from error
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        raise _ended(place, " ".join(arguments[:3]), done.returncode)
    return done


def _program(arguments: list[str]) -> list[str]:
    """Return what to run for a command line as it is typed: this very fwctl."""
    return [sys.executable, "-m", "fwctl", *arguments[1:]] if arguments[0] == "fwctl" else arguments


def _ended(place: Place, command: str, code: int) -> WorldError:
    return WorldError(
        f"`{command}` ended with {code}",
        code="E_DEMO",
        place=str(place.top),
        remedy="Everything is still there to look at, the agents' logs too.",
    )


def same(slot: Path, image: Path) -> bool:
    if not slot.exists():
        return False
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (slot, image)]
    return found[0] == found[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
