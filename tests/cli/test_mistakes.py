"""What goes wrong says what, where and what to do next, with the right exit code, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.cli.fleet import ENTRY, ENVIRONMENT, Fleet, run, subprocess_run

WRONG = (
    "approve",
    "approve sensorz --yes",
    "approve sensors --as bob --yes",
    "bogus",
    "device",
    "device enroll",
    "device enroll nope --out x",
    "device enroll BAD! --model sensor-v1 --out x",
    "device enroll new --model sensor-v1 --env ../.. --out x",
    "device list --group bensh",
    "device list --state happy",
    "device show sensor-9",
    "diff nope",
    "diff --format=json nope",
    "events --for sensr-1",
    "explain rollout.spec.gats",
    "explain E_LOCK_STAL",
    "firmware add nowhere.bin --model sensor-v1 --version 2.5.1",
    "firmware show sensor-v1",
    "firmware show sensor-v1@2.5.9",
    "firmware sign sensor-v1@2.5.0 --as bob",
    "group show bensh",
    "plan sensorz --format json",
    "plan --lock --ref HEAD",
    "reconcile",
    "reconcile --once --ref nope",
    "rollout create sensors --firmware sensor-v1@2.5.0 --all",
    "rollout create ../../evil --firmware sensor-v1@2.5.0 --all",
    "rollout create b --firmware sensor-v1 --all",
    "rollout create b --firmware sensor-v1@2.5.0",
    "rollout create b --firmware sensor-v1@2.5.0 --device a]",
    "schema Nope",
    "status --bogus",
    "status --format yaml",
    "validate . --ref HEAD",
    "validate nowhere",
)


@pytest.mark.parametrize("command", WRONG)
def test_mistakes(fleet: Fleet, command: str, snapshot: SnapshotAssertion) -> None:
    answer = fleet.run(*command.split())
    assert answer.exit_code in (2, 3, 4)
    assert str(answer) == snapshot
    assert fleet.git("status", "--porcelain") == "", "a refused command writes nothing"


def test_an_error_in_json_is_json(fleet: Fleet) -> None:
    answer = fleet.run("rollout", "show", "nope", "--format", "json")
    error = json.loads(answer.stdout)
    assert (error["schemaVersion"], error["error"]["code"], answer.stderr) == (1, "E_NO_ROLLOUT", "")


def test_findings_in_json_come_with_the_error(fleet: Fleet) -> None:
    fleet.write("groups/bench.yaml", "kind: DeviceGroup\n")
    answer = fleet.run("device", "list", "--format", "json")
    document = json.loads(answer.stdout)
    assert answer.exit_code == 3
    assert document["error"]["code"] == "E_MANIFESTS"
    assert document["diagnostics"][0]["path"] == "groups/bench.yaml"


def test_validate_shows_all_findings_and_exits_1(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    fleet.write("groups/bench.yaml", "apiVersion: fwctl/v1\nkind: DeviceGroup\nmetadata: {name: bench}\nspec: {}\n")
    for style in ("full", "concise", "json"):
        answer = fleet.run("validate", "--format", style)
        assert answer.exit_code == 1
        assert str(answer) == snapshot(name=style)


def test_validate_of_nothing_is_a_failure_of_its_own(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    (fleet.tree / "empty").mkdir()
    answer = fleet.run("validate", fleet.tree / "empty")
    assert answer.exit_code == 3
    assert str(answer) == snapshot


def test_validate_names_an_unsigned_release(fleet: Fleet) -> None:
    next((fleet.tree / "firmware").rglob("*.dsse.json")).unlink()
    answer = fleet.run("validate", "--format", "concise")
    assert answer.exit_code == 1
    assert "firmware/sensor-v1/2.5.0.yaml: E_SIG_MISSING" in answer.stdout


def test_validate_names_trust_that_was_tampered_with(fleet: Fleet) -> None:
    policy = fleet.tree / "trust" / "policy" / "policy.json"
    policy.write_text(policy.read_text().replace('"threshold": 1', '"threshold": 0'))
    answer = fleet.run("validate", "--format", "concise")
    assert (answer.exit_code, answer.stdout.split(":")[0]) == (1, "trust/")


def test_validate_of_the_reference_fleet() -> None:
    reference = Path(__file__).parents[2] / "manifests"
    answer = run("validate", reference, options=[])
    assert answer.exit_code == 0, str(answer)
    assert "Signatures not checked" in answer.stderr


def test_no_repository(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    for command in ("status", "plan", "validate", "doctor", "approve x", ""):
        assert str(run(*command.split(), options=["--repo", str(tmp_path)], folder=tmp_path)) == snapshot(name=command)


def test_a_repository_without_commits_or_manifests(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    empty = Fleet(tmp_path)
    empty.tree.mkdir()
    empty.git("init", "-q", "-b", "main")
    for command in ("status", "plan", "validate", "doctor", "reconcile --once", ""):
        assert str(empty.run(*command.split())) == snapshot(name=command)


_GROUP = "apiVersion: fwctl/v1\nkind: DeviceGroup\nmetadata: {name: more}\nspec: {devices: [sensor-3]}\n"


def test_what_is_not_committed_cannot_be_approved(planned: Fleet, snapshot: SnapshotAssertion) -> None:
    planned.write("groups/more.yaml", _GROUP)
    assert str(planned.run("approve", "sensors", "--yes")) == snapshot


def test_what_is_not_locked_cannot_be_approved(planned: Fleet, snapshot: SnapshotAssertion) -> None:
    (planned.tree / "rollouts" / "dev" / "sensors.lock").unlink()
    planned.commit()
    assert str(planned.run("approve", "sensors", "--yes")) == snapshot


def test_nobody_is_asked_where_nobody_is(planned: Fleet) -> None:
    answer = planned.run("approve", "sensors")
    assert (answer.exit_code, "E_NO_INPUT" in answer.stderr) == (2, True)
    assert "approvals/" not in planned.git("ls-files")


def test_a_colleague_with_a_fresh_clone(fleet: Fleet, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    """No keys, no pinned root, no ledger: what there is can be seen, and the way on is told."""
    theirs = Fleet(tmp_path / "theirs")
    theirs.folder.mkdir()
    shutil.copytree(fleet.tree, theirs.tree)
    looking = ("validate", "plan", "firmware list", "device list", "rollout list", "keys list", "diff HEAD~1")
    needing = ("status", "trust status", "approve sensors --yes", "events", "reconcile --once", "doctor", "init")
    for command in (*looking, *needing):
        assert str(theirs.run(*command.split())) == snapshot(name=command)


def test_the_remedy_of_a_missing_root_works(fleet: Fleet, tmp_path: Path) -> None:
    theirs = Fleet(tmp_path / "theirs")
    theirs.folder.mkdir()
    shutil.copytree(fleet.tree, theirs.tree)
    root = theirs.folder / "config" / "acme" / "root.json"
    root.parent.mkdir(parents=True)
    shutil.copyfile(theirs.tree / "trust" / "1.root.json", root)
    assert "approved  alice" in theirs.ok("status").stdout
    assert theirs.run("approve", "sensors", "--yes").exit_code == 3
    assert "Ask one of them to approve" in theirs.run("approve", "sensors", "--yes").stderr


def test_a_missing_ledger_is_never_overlooked(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    (fleet.state / "ledger.db").unlink()
    for command in ("reconcile --once", "events", "status", "device list"):
        assert str(fleet.run(*command.split())) == snapshot(name=command)


def test_the_doctor_names_what_is_ill(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    fleet.write("groups/more.yaml", _GROUP)
    (fleet.folder / "config" / "acme" / "keys" / "alice.pem").chmod(0o644)
    shutil.rmtree(fleet.state / "images")
    answer = fleet.run("doctor")
    assert answer.exit_code == 1
    assert str(answer) == snapshot


def test_the_doctor_sees_a_forged_event(fleet: Fleet) -> None:
    with sqlite3.connect(fleet.state / "ledger.db") as conn:
        conn.execute("DROP TRIGGER events_no_update")
        conn.execute("UPDATE events SET reason = 'nothing happened' WHERE seq = 3")
    assert "event 3 does not follow: its content was changed" in fleet.run("doctor").stdout
    answer = fleet.run("events", "--verify")
    assert (answer.exit_code, "broken at event 3" in answer.stderr) == (1, True)


def test_init_twice_changes_nothing(fleet: Fleet) -> None:
    before = fleet.git("rev-parse", "HEAD")
    assert "stands already" in fleet.ok("init").stdout
    assert fleet.git("rev-parse", "HEAD") == before


def test_init_leaves_staged_and_other_files_alone(tmp_path: Path) -> None:
    mine = Fleet(tmp_path)
    mine.tree.mkdir()
    mine.git("init", "-q", "-b", "main")
    mine.write("README", "hello")
    mine.commit("Mine")
    mine.write("staged", "later")
    mine.write("untracked", "later")
    mine.git("add", "staged")
    mine.ok("init", "--repo-id", "acme", "--as", "alice")
    assert mine.git("status", "--porcelain").splitlines() == ["A  staged", "?? untracked"]
    assert "fleet.yaml" in mine.git("show", "--stat", "HEAD")


def test_a_remote_can_be_looked_at_and_not_written(fleet: Fleet, snapshot: SnapshotAssertion) -> None:
    where = ["--repo", f"file://{fleet.tree}", *fleet.options[2:]]
    for command in ("status", "plan", "device list", "validate", "trust status", "rollout list"):
        assert run(*command.split(), options=where, folder=fleet.folder).exit_code == 0
    for command in ("plan --lock", "diff HEAD", "rollout create b --firmware sensor-v1@2.5.0 --all"):
        assert str(run(*command.split(), options=where, folder=fleet.folder)) == snapshot(name=command)


def test_a_disk_that_is_full_leaves_nothing(fleet: Fleet) -> None:
    """A limit on the size of files stands for the full disk: the image does not fit."""
    (fleet.folder / "big.bin").write_bytes(b"x" * 300_000)
    words = ["firmware", "add", str(fleet.folder / "big.bin"), "--model", "sensor-v1", "--version", "2.5.1"]
    done = subprocess_run(*fleet.options, *words, before=_LIMIT)
    assert (done.returncode, "E_DISK" in done.stderr) == (5, True), done.stderr
    assert fleet.git("status", "--porcelain") == ""
    assert {path.stat().st_size for path in (fleet.state / "images").rglob("*") if path.is_file()} == {900}


_LIMIT = (
    "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
)


def test_a_broken_pipe_is_no_error(fleet: Fleet) -> None:
    answer = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{ENTRY}' schema Rollout | head -1; echo ${{PIPESTATUS[0]}}"],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert answer.stdout.splitlines() == ["{", "0"]
    assert answer.stderr == ""


def test_the_real_process_answers_like_the_function(fleet: Fleet) -> None:
    done = subprocess_run(*fleet.options, "device", "show", "sensor-9")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Did you mean `sensor-" in done.stderr
    assert subprocess_run("--version").stdout.startswith("fwctl ")
    assert subprocess_run("nope").returncode == 2
