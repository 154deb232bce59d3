"""Every command in every format, word for word: stdout, stderr, exit code."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.cli.fleet import Fleet, run

READING = (
    "",
    "approve sensors --yes",
    "device list",
    "device list --format json",
    "device list --group bench --state reached",
    "device list --model nothing",
    "device show sensor-1",
    "device show sensor-1 --format json",
    "device show sensor-3",
    "diff HEAD",
    "diff HEAD~1 HEAD",
    "diff HEAD~1 --format json",
    "diff HEAD~1 --format markdown",
    "diff HEAD~2 HEAD",
    "diff HEAD~2 HEAD --format json",
    "diff HEAD~2 HEAD --format markdown",
    "doctor",
    "doctor --format json",
    "events",
    "events --for sensors --format json",
    "events --for sensor-2 --limit 1 --verify",
    "explain",
    "explain E_LOCK_STALE",
    "explain rollout.spec.strategy.soak",
    "explain fleet.spec.passInterval --format json",
    "explain devicegroup.spec",
    "firmware list",
    "firmware list --format json",
    "firmware show sensor-v1@2.5.0",
    "firmware show sensor-v1@2.5.0 --format json",
    "firmware sign sensor-v1@2.5.0",
    "group list",
    "group list --format json",
    "group show bench",
    "group show bench --format json",
    "keys list",
    "keys list --format json",
    "plan",
    "plan sensors --format json",
    "plan sensors --lock",
    "rollout list",
    "rollout list --format json",
    "rollout show sensors",
    "rollout show sensors --format json",
    "schema",
    "status",
    "status sensors",
    "status --format json",
    "trust status",
    "trust status --format json",
    "trust status --format markdown",
    "validate",
    "validate --format concise",
    "validate --format json",
    "validate --ref HEAD",
)


@pytest.mark.parametrize("command", READING, ids=lambda command: command or "bare")
def test_answers(fleet: Fleet, command: str, snapshot: SnapshotAssertion) -> None:
    assert str(fleet.run(*command.split())) == snapshot


BEFORE = (
    *("", "plan", "reconcile --once", "reconcile --once --format json", "rollout show sensors", "status"),
    *("trust status", "trust status --format markdown", "trust status --format json"),
)


@pytest.mark.parametrize("command", BEFORE, ids=lambda command: command or "bare")
def test_answers_before_approval(planned: Fleet, command: str, snapshot: SnapshotAssertion) -> None:
    assert str(planned.run(*command.split())) == snapshot


def test_an_approval_shows_what_it_signs(planned: Fleet, snapshot: SnapshotAssertion) -> None:
    assert str(planned.run("approve", "sensors", "--yes", "--days", "7")) == snapshot


HELP = (
    "",
    *("abort", "pause", "promote", "quarantine", "quarantine add", "quarantine list", "quarantine release"),
    *("resume", "rollback"),
    *("approve", "demo", "device", "device enroll", "device list", "device show", "diff", "doctor", "events"),
    *("explain", "firmware", "firmware add", "firmware list", "firmware show", "firmware sign", "group"),
    *("group list", "group show", "init", "keys", "keys list", "plan", "reconcile", "rollout", "rollout create"),
    *("rollout list", "rollout show", "schema", "status", "trust", "trust status", "validate"),
)


@pytest.mark.parametrize("command", HELP, ids=lambda command: command or "fwctl")
def test_help(command: str, snapshot: SnapshotAssertion) -> None:
    answer = run(*command.split(), "--help", options=[])
    assert answer.stdout == run(*command.split(), "-h", options=[]).stdout
    assert answer.exit_code == 0
    assert "..." not in answer.stdout.replace("ARGS]...", "").replace("NAME]...", ""), "a sentence is cut"
    assert all(len(line) <= 80 for line in answer.stdout.splitlines())
    assert answer.stdout == snapshot
