"""What commands say is next: what hands a commit on, who is missing, which rollout takes a firmware."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from fwctl.cli.watching import watcher
from tests.cli.fleet import Fleet
from tests.cli.test_production import Team


def next_of(stderr: str) -> list[str]:
    """Return the literal commands that an answer ends with."""
    lines = stderr.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("Next: "))
    return [line[6:] for line in lines[start:]]


def with_remote(fleet: Fleet, *, tracked: bool) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(fleet.folder / "remote.git")], check=True)
    fleet.git("remote", "add", "origin", str(fleet.folder / "remote.git"))
    if tracked:
        fleet.git("push", "-q", "-u", "origin", "HEAD")


@pytest.mark.parametrize("tracked", [True, False])
def test_what_is_committed_for_others_is_pushed_next_as_typed(planned: Fleet, *, tracked: bool) -> None:
    with_remote(planned, tracked=tracked)
    branch = planned.git("symbolic-ref", "--short", "HEAD").strip()
    push = "git push" if tracked else f"git push -u origin {branch}"
    for words, then in (
        (("approve", "sensors", "--yes"), "fwctl reconcile --once"),
        (("pause", "sensors", "--reason", "lunch"), "fwctl reconcile --once"),
        (("trust", "floor", "sensor-v1", "1"), "fwctl trust status"),
    ):
        assert next_of(planned.ok(*words).stderr)[:2] == [push, then]
    planned.git(*push.split()[1:], "-q")
    remote = subprocess.run(
        ["git", "rev-parse", branch], cwd=planned.folder / "remote.git", capture_output=True, text=True, check=True
    )
    assert remote.stdout == planned.git("rev-parse", "HEAD")


def test_nothing_is_pushed_without_a_remote_or_a_branch(planned: Fleet) -> None:
    assert next_of(planned.ok("approve", "sensors", "--yes").stderr) == ["fwctl reconcile --once"]
    with_remote(planned, tracked=True)
    planned.git("checkout", "-q", "--detach")
    assert next_of(planned.ok("approve", "sensors", "--yes").stderr) == ["fwctl reconcile --once"]


def test_who_is_missing_is_named_and_only_keys_that_are_here_are_offered(tmp_path: Path) -> None:
    team = Team(tmp_path)
    staged_rollout(team)
    first = team.ok("alice", "approve", "sensors", "--yes").stderr
    assert "Still missing: bob or carol of release-managers\n" in first
    assert next_of(first) == ["fwctl status prod/sensors"]
    shutil.copy(tmp_path / "carol/acme/keys/carol.pem", tmp_path / "alice/acme/keys/")
    shutil.copy(tmp_path / "carol/acme/keys/carol.pub.json", tmp_path / "alice/acme/keys/")
    both = team.ok("alice", "approve", "sensors", "--yes", "--as", "alice").stderr
    assert next_of(both) == ["fwctl approve prod/sensors --as carol", "fwctl status prod/sensors"]
    second = team.ok("bob", "approve", "sensors", "--yes").stderr
    assert "Still missing: dave of security\n" in second
    assert next_of(second) == ["fwctl reconcile --once"], "the first stage may run"
    last = team.ok("dave", "approve", "sensors", "--yes").stderr
    assert "Still missing" not in last


def staged_rollout(team: Team) -> None:
    """Plan a rollout whose second stage asks for security too."""
    right = team.founded()
    for name in ("alice", "carol", "dave"):
        if not (team.folder / name / "acme/root.json").exists():
            team.ok(name, "trust", "pin", "--fingerprint", right)
    head = "apiVersion: fwctl/v1\nkind: DeviceInventory\nspec:\n"
    head += "  defaults: {model: sensor-v1, hardware: rev-a, env: prod}\n  devices:\n"
    devices = "".join(f'    - {{id: unit-{at:02}, address: "127.0.0.1:9"}}\n' for at in range(1, 11))
    team.fleet.write("devices/units.yaml", head + devices)
    (team.folder / "app.bin").write_bytes(b"firmware " * 100)
    add = ("firmware", "add", team.folder / "app.bin", "--model", "sensor-v1", "--version", "2.5.0", "--as", "carol")
    team.ok("carol", *add)
    team.fleet.write(
        "rollouts/prod/sensors.yaml",
        "apiVersion: fwctl/v1\nkind: Rollout\nmetadata: {name: sensors}\nspec:\n"
        '  firmware: {model: sensor-v1, version: "2.5.0"}\n  targets: {all: true}\n'
        "  strategy: {type: Canary, initialPercentage: 20, increments: [100], approvalBefore: [wave-2]}\n",
    )
    team.ok("alice", "plan", "sensors", "--lock")
    team.fleet.commit("A canary")


def test_a_log_tells_a_device_once_and_counts_devices_not_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwctl.cli.watching._EVERY", 0.0)
    log = io.StringIO()
    with watcher(log) as watch:
        for _ in range(3):
            watch.progressed("dev/a", "one", "unreachable", "E_UNREACHABLE: no answer")
        watch.progressed("dev/a", "two", "unreachable", "E_UNREACHABLE: no answer")
        watch.progressed("dev/a", "one", "confirmed", "runs it")
    lines = log.getvalue().splitlines()
    assert [line for line in lines if " so far" not in line] == [
        "dev/a one unreachable: E_UNREACHABLE: no answer",
        "dev/a two unreachable: E_UNREACHABLE: no answer",
    ]
    assert lines[-2:] == ["dev/a: 2 unreachable so far", "dev/a: 1 confirmed, 1 unreachable so far"]


def test_firmware_for_a_rollout_that_is_there(planned: Fleet) -> None:
    (planned.folder / "new.bin").write_bytes(b"newer " * 100)
    add = ("firmware", "add", planned.folder / "new.bin", "--model", "sensor-v1", "--version", "2.6.0")
    answer = planned.ok(*add)
    assert 'write version: "2.6.0" into rollouts/dev/sensors.yaml' in answer.stderr
    assert next_of(answer.stderr) == ["fwctl plan dev/sensors --lock"]
    path = planned.tree / "rollouts/dev/sensors.yaml"
    path.write_text(path.read_text().replace("2.5.0", "2.6.0"))
    planned.ok("plan", "dev/sensors", "--lock")
    assert next_of(planned.ok("firmware", "show", "sensor-v1@2.6.0").stderr) == ["fwctl plan dev/sensors"]


def test_without_a_ledger_nothing_is_said_about_devices(fleet: Fleet) -> None:
    assert "1 of 2" in fleet.ok("plan").stdout or "seen by the ledger" in fleet.ok("plan").stdout
    shutil.rmtree(fleet.state)
    shown = fleet.ok("plan").stdout
    assert "no ledger is here, so what they run now is not known." in shown
    assert "seen" not in shown
