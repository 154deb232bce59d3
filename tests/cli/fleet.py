"""A fleet to type commands at: real git, real keys, a real ledger; made once, copied for each test.

`mask` replaces what differs between two runs, and nothing else: folders of this run, digests and key ids, commit ids,
times and ages, and the versions of the tools of this machine. Masked text keeps its shape otherwise.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fwctl.cli.context import Context
from fwctl.cli.main import guarded
from fwctl.reconcile.commit import Prepared
from fwctl.state import (
    Change,
    DeviceSeen,
    DeviceUnreachable,
    Ledger,
    OrderIntended,
    OrderMoved,
    OrderStatus,
    OutcomeReceived,
    RolloutMoved,
    RolloutState,
    SetMeta,
    WaveMoved,
    WaveState,
    acquire_lease,
    ledger_path,
)

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Alice",
    "GIT_AUTHOR_EMAIL": "alice@example.org",
    "GIT_COMMITTER_NAME": "Alice",
    "GIT_COMMITTER_EMAIL": "alice@example.org",
    "COLUMNS": "80",
    "NO_COLOR": "1",
}

_MASKS = (
    (re.compile(r"sha256:[0-9a-f]{64}"), "sha256:<digest>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b([0-9a-f]{4} ){7}[0-9a-f]{4}\b"), "<fingerprint>"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "<commit>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<commit>"),
    (re.compile(r"(?<=begins with )[0-9a-f]{16}"), "<digest>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?Z?"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "<date>"),
    (re.compile(r"\b\d\d:\d\d:\d\dZ"), "<clock>"),
    (re.compile(r"\b\d+ (s|min|h|d) ago *"), "<age> "),
    (re.compile(r"SEEN +STATE"), "SEEN  STATE"),
    (re.compile(r"\bin \d+ (s|min|h|d)\b"), "in <age>"),
    (re.compile(r"3\.\d+\.\d+, SQLite 3[.\d]+"), "<python>"),
    (re.compile(r"(git\s+)2\.\d[.\w]*"), r"\1<version>"),
    (re.compile(r'("text": )"2\.\d[.\w]*"'), r'\1"<version>"'),
)


@dataclass(frozen=True)
class Answer:
    """What a command said, masked; compared as a whole with a snapshot."""

    command: str
    exit_code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        parts = [f"$ fwctl {self.command}", f"[exit {self.exit_code}]", "--- stdout", self.stdout.rstrip("\n")]
        return "\n".join([*parts, "--- stderr", self.stderr.rstrip("\n")])


@dataclass(frozen=True)
class Fleet:
    """One fleet in one folder: work tree, keys and state beside each other."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "fleet"

    @property
    def options(self) -> list[str]:
        where = {"--repo": self.tree, "--config-dir": self.folder / "config", "--state-dir": self.folder / "state"}
        return [text for name, path in where.items() for text in (name, str(path))]

    @property
    def context(self) -> Context:
        return Context(str(self.tree), self.folder / "state", self.folder / "config")

    @property
    def state(self) -> Path:
        return self.folder / "state" / "acme"

    def copy(self, folder: Path) -> Fleet:
        shutil.copytree(self.folder, folder, symlinks=True)
        return Fleet(folder)

    def run(self, *words: str | Path) -> Answer:
        """Run a command in this process; the answer is masked."""
        return run(*words, options=self.options, folder=self.folder)

    def ok(self, *words: str | Path) -> Answer:
        answer = self.run(*words)
        assert answer.exit_code == 0, str(answer)
        return answer

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.tree, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=True
        )
        return done.stdout

    def commit(self, message: str = "Change") -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def write(self, path: str, text: str) -> None:
        target = self.tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")

    def prepared(self, key: str = "dev/sensors") -> Prepared:
        commit, files = self.context.committed()
        return self.context.read(files, commit).rollouts[key]

    def record(self, *changes: Change) -> None:
        """Write into the ledger as a pass does."""
        with Ledger.open(ledger_path(self.state)) as ledger:
            lease = acquire_lease(ledger, holder="test", now=datetime.now(UTC), ttl=timedelta(minutes=1))
            with lease:
                ledger.apply(changes, epoch=lease.epoch)


def run(*words: str | Path, options: list[str], folder: Path | None = None) -> Answer:
    """Run a command in this process."""
    out, err, arguments = io.StringIO(), io.StringIO(), [str(word) for word in words]
    with redirect_stdout(out), redirect_stderr(err):
        code = guarded([*options, *arguments])
    said = [mask(text.getvalue(), folder) for text in (out, err)]
    return Answer(mask(" ".join(arguments), folder), code, *said)


ENTRY = "from fwctl.cli.main import run; run()"
"""what the installed script does"""


def subprocess_run(
    *words: str, before: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own, after the statements `before`."""
    return subprocess.run(
        [sys.executable, "-c", before + ENTRY, *words],
        env=os.environ | ENVIRONMENT | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def mask(text: str, folder: Path | None = None) -> str:
    """Replace what differs between two runs (see the module's docstring)."""
    if folder is not None:
        text = text.replace(str(folder), "<folder>")
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return text


def build(folder: Path) -> Fleet:
    """Make a fleet of three sensors, with a signed firmware and an approved rollout of two of them."""
    fleet = Fleet(folder)
    fleet.tree.mkdir(parents=True)
    (folder / "app.bin").write_bytes(b"firmware " * 100)
    fleet.ok("init", "--repo-id", "acme", "--as", "alice")
    fleet.write("devices/bench.yaml", _DEVICES)
    fleet.write("groups/bench.yaml", _GROUP)
    fleet.ok("firmware", "add", folder / "app.bin", "--model", "sensor-v1", "--version", "2.5.0", "--notes", "First.")
    fleet.ok(
        "rollout", "create", "sensors", "--firmware", "sensor-v1@2.5.0", "--group", "bench", "--strategy", "Direct"
    )
    fleet.ok("plan", "sensors", "--lock")
    fleet.commit("Plan the rollout")
    return fleet


def approved(fleet: Fleet) -> Fleet:
    fleet.ok("approve", "sensors", "--yes")
    return fleet


def recorded(fleet: Fleet) -> Fleet:
    """Record a pass: sensor-1 was updated and confirmed, sensor-2 cannot be reached."""
    prepared, now = fleet.prepared(), datetime.now(UTC).replace(microsecond=0)
    if prepared.mandate is None:
        raise AssertionError("the rollout is locked")
    mandate, release, image = prepared.mandate.id, prepared.plan.release.digest, prepared.plan.release.image
    moved = RolloutMoved(
        at=now,
        rollout="dev/sensors",
        mandate=mandate,
        commit=fleet.git("rev-parse", "HEAD").strip(),
        state=RolloutState.WAITING,
        reason="it may start",
    )
    evidence = {"evidence": [{"probe": "boot", "ok": True, "detail": "exit 0", "value": None}]}
    fleet.record(
        SetMeta(at=now, key="last_applied_commit", value=moved.commit),
        moved,
        replace(moved, state=RolloutState.PROGRESSING, reason="2 devices are due"),
        WaveMoved(
            at=now,
            rollout="dev/sensors",
            mandate=mandate,
            wave="wave-1",
            state=WaveState.OPEN,
            reason="2 devices may start",
        ),
        OrderIntended(
            at=now,
            order="1" * 64,
            device="sensor-1",
            rollout="dev/sensors",
            mandate=mandate,
            verb="install",
            release=release,
            attempt=1,
            stage=1,
            wave="wave-1",
            refers_to="",
            body={},
            due_at=None,
            reason="may start",
        ),
        OrderMoved(at=now, order="1" * 64, status=OrderStatus.SETTLED, reason="confirmed"),
        OutcomeReceived(
            at=now,
            order="1" * 64,
            device="sensor-1",
            mandate=mandate,
            result="confirmed",
            failure_class="",
            code="",
            running_image=image,
            counter=1,
            envelope={"payload": _base64(evidence)},
            certificate="",
        ),
        DeviceSeen(
            at=now,
            device="sensor-1",
            running_release=release,
            running_image=image,
            running_version="2.5.0",
            running_mandate=mandate,
            state="confirmed",
            document={},
            counter=1,
        ),
        DeviceUnreachable(at=now, device="sensor-2", reason="E_UNREACHABLE: no connection"),
    )
    return fleet


def _base64(value: object) -> str:
    import base64
    import json

    return base64.b64encode(json.dumps(value).encode()).decode()


_DEVICES = """\
apiVersion: fwctl/v1
kind: DeviceInventory
spec:
  defaults: {model: sensor-v1, hardware: rev-a, env: dev, site: lab}
  devices:
    - {id: sensor-1, labels: {ring: bench}, address: "127.0.0.1:9"}
    - {id: sensor-2, labels: {ring: bench}, address: "127.0.0.1:9"}
    - {id: sensor-3, labels: {ring: prod}, address: "127.0.0.1:9"}
"""
_GROUP = """\
apiVersion: fwctl/v1
kind: DeviceGroup
metadata: {name: bench, description: Sensors on the bench.}
spec:
  selector: {matchLabels: {ring: bench}}
"""
