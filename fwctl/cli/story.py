"""The demo: the commands that a person would type, run for real, each shown with what it prints."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fwctl
from fwctl.cli.context import say
from fwctl.errors import InputError, WorldError

FACTORY = b"fwctl reference image: sensor-v1 2.4.0\n"
REAL = ("device-001", "device-002")
IMAGE_BYTES = 4 << 20
READY_SECONDS = 30.0
COMMAND_SECONDS = 120


@dataclass(frozen=True)
class End:
    """How it ended."""

    ok: bool
    summary: str
    next_commands: tuple[str, ...]


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


def tell(folder: Path | None) -> End:
    """Play the demo in `folder` and leave everything there to look at; the processes it starts end with it.

    Raises:
        InputError: the folder is not empty.
        WorldError: a step failed; its output was shown.
    """
    start = time.monotonic()
    place = Place(_empty(folder))
    fleet, single, shared = _reference(), _free_port(), _free_port()
    second = _free_port()
    say(
        "A fleet of 22 sensors runs 2.4.0. Two are real agents, twenty are simulated.\n"
        f"Everything lies in {place.top}\n"
    )
    _lay_out(place, fleet, ports=dict(zip(REAL, (single, second), strict=True)), shared=shared)
    _step(place, "A repository, keys, and a one-person trust", "fwctl init --as dana")
    _step(place, None, "git add -A", "git commit -q -m 'Describe the fleet'")
    sensors = _sensors(place)
    factory = place.top / "factory.bin"
    factory.write_bytes(FACTORY)
    _quiet(
        place,
        [
            "fwctl",
            "device",
            "enroll",
            *sensors,
            "--out",
            str(place.devices),
            "--factory",
            str(factory),
            "--factory-version",
            "2.4.0",
        ],
        f"{len(sensors)} devices get a certificate and a folder to run from",
        "fwctl device enroll device-001 ... --out devices",
    )
    with _agents(place, sensors, shared):
        return _roll_out(place, sensors, start)


def _roll_out(place: Place, sensors: Sequence[str], start: float) -> End:
    image = place.top / "sensor-2.5.0.bin"
    image.write_bytes(b"sensor-v1 2.5.0\n" + os.urandom(IMAGE_BYTES - 16))
    add = f"fwctl firmware add {image} --model sensor-v1 --version 2.5.0"
    _step(place, "2.5.0 is built: register and sign it", add)
    manifest = place.repo / "rollouts" / "dev" / "sensors.yaml"
    manifest.write_text(manifest.read_text().replace('version: "2.4.0"', 'version: "2.5.0"'))
    say("# One line changes in git: rollouts/dev/sensors.yaml, version 2.4.0 -> 2.5.0\n")
    _step(place, "What would happen, to whom", "fwctl plan sensors --lock")
    _step(place, None, "git add -A", "git commit -q -m 'Sensors to 2.5.0'")
    _step(place, "A human signs exactly this plan; every device will check it", "fwctl approve sensors --yes")
    _live(place, "Make it so, over mutual TLS", "fwctl reconcile --once")
    _step(place, "Where it stands", "fwctl status")
    updated = sum(_same(place.devices / device / "slots" / "current", image) for device in sensors)
    seconds = time.monotonic() - start
    return End(
        updated == len(sensors),
        f"{updated} of {len(sensors)} devices hold the very bytes of {image.name} in their active slot. "
        f"{seconds:.0f} seconds in all.",
        (
            f"cd {place.repo} && export FWCTL_CONFIG_DIR={place.top}/config FWCTL_STATE_DIR={place.top}/state",
            "fwctl events --for device-001      what happened to one device, link by link",
            "fwctl trust status                 who may approve what",
            f"ls {place.devices}/device-001      a device: its slots, journal and settings",
            f"fwctl-agent run --config {place.devices}/device-001   start it again",
            f"rm -rf {place.top}      when you have seen enough",
        ),
    )


def _reference() -> Path:
    """Return the reference fleet: beside the package in a checkout, inside it when installed."""
    package = Path(fwctl.__file__).parent
    for folder in (package.parent / "manifests", package / "reference"):
        if (folder / "fleet.yaml").is_file():
            return folder
    raise WorldError("the reference fleet is not installed", code="E_DEMO", remedy="Install fwctl again.")


def _empty(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="fwctl-demo-"))
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise InputError("it is not empty", code="E_EXISTS", place=str(folder), remedy="Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def _lay_out(place: Place, fleet: Path, *, ports: dict[str, int], shared: int) -> None:
    """Copy the reference fleet; its devices listen on loopback here."""
    shutil.copytree(fleet, place.repo, ignore=shutil.ignore_patterns("README.md"))
    settings = place.repo / "fleet.yaml"
    lines = [
        f'  deviceAddress: "127.0.0.1:{shared}"' if line.startswith("  deviceAddress:") else line
        for line in settings.read_text().splitlines()
    ]
    settings.write_text("\n".join(lines) + "\n")
    for path in (place.repo / "devices").glob("*.yaml"):
        text = path.read_text()
        for device, port in ports.items():
            text = text.replace(f"{{id: {device},", f'{{id: {device}, address: "127.0.0.1:{port}",')
        path.write_text(text)


def _sensors(place: Place) -> list[str]:
    """Return the devices of the rollout, as the plan tells them."""
    done = _run(place, ["fwctl", "plan", "sensors", "--format", "json"])
    plan = json.loads(done.stdout)["plans"][0]["plan"]
    return [device for wave in plan["waves"] for device in wave["devices"]]


@contextlib.contextmanager
def _agents(place: Place, sensors: Sequence[str], port: int) -> Iterator[None]:
    """Run two agents and one simulator; they end with the block, whatever happens in it."""
    simulated = place.top / "simulated"
    simulated.mkdir()
    for device in sensors:
        if device not in REAL:
            (simulated / device).symlink_to(place.devices / device)
    count = str(len(sensors) - len(REAL))
    commands = [["run", "--config", str(place.devices / device)] for device in REAL]
    commands.append(["simulate", "--devices", count, "--enrolled", str(simulated), "--listen-port", str(port)])
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
    import selectors

    with selectors.DefaultSelector() as selector:
        if process.stdout is not None:
            selector.register(process.stdout, selectors.EVENT_READ)
            if selector.select(READY_SECONDS) and (line := process.stdout.readline()):
                return line.strip()
    raise WorldError("an agent did not start", code="E_DEMO", remedy="Look at the agent-*.log files.")


def _step(place: Place, title: str | None, *commands: str) -> None:
    """Show commands as they would be typed, run them, show what they print."""
    import shlex

    if title:
        say(f"# {title}")
    for command in commands:
        _quiet(place, shlex.split(command), None, command)
    say()


def _live(place: Place, title: str, command: str) -> None:
    """Show a command as it runs, with its own bars on a terminal."""
    import shlex

    say(f"# {title}\n$ {command}")
    sys.stdout.flush()
    done = subprocess.run(
        _program(shlex.split(command)), cwd=place.repo, env=place.environment, timeout=COMMAND_SECONDS, check=False
    )
    if done.returncode != 0:
        raise _ended(place, command, done.returncode)
    say()


def _quiet(place: Place, arguments: list[str], title: str | None, shown: str) -> None:
    if title:
        say(f"# {title}")
    say(f"$ {shown}")
    done = _run(place, arguments)
    lines = done.stdout.splitlines()
    for line in lines if len(lines) <= 14 else [*lines[:8], f"... {len(lines) - 10} more lines ...", *lines[-2:]]:
        say(f"  {line}".rstrip())
    if title:
        say()


def _run(place: Place, arguments: list[str]) -> subprocess.CompletedProcess[str]:
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


def _same(slot: Path, image: Path) -> bool:
    if not slot.exists():
        return False
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (slot, image)]
    return found[0] == found[1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
