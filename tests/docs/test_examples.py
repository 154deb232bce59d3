"""Every file under `examples/` does what it says: units are verified, and every command in them runs."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.blocks import ROOT, environment
from tests.support.world import Process, World, firmware, until

pytestmark = pytest.mark.e2e

EXAMPLES = ROOT / "examples"
REMOTE = "ssh://git@git.example.org/fleet.git"
BIN = "/usr/local/bin"
CI = ("github/review.yml", "github/reconcile.yml", "gitlab/.gitlab-ci.yml")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A fleet with one running device, an approved rollout, and a bare repository that stands for the remote."""
    with World(tmp_path_factory.mktemp("examples")) as world:
        world.init()
        world.enroll("device-001")
        world.git("update-ref", "refs/remotes/origin/main", "HEAD")
        world.commit("A device")
        world.agent("device-001")
        world.release(firmware("2.5.0"))
        world.git("clone", "--quiet", "--bare", str(world.repo), str(world.folder / "remote.git"))
        yield world


def variables(world: World) -> dict[str, str]:
    own = {
        "FWCTL_CONFIG_DIR": str(world.config),
        "FWCTL_STATE_DIR": str(world.state),
        "GITHUB_BASE_REF": "main",
        "GITHUB_STEP_SUMMARY": str(world.folder / "summary.md"),
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": world.git("rev-parse", "origin/main"),
    }
    return {**environment(world.folder), **own}


def here(text: str, world: World) -> str:
    """Put this machine's commands and this test's remote in the place of the example's."""
    return text.replace(f"{BIN}/", f"{Path(sys.executable).parent}/").replace(
        REMOTE, f"file://{world.folder}/remote.git"
    )


def shell(command: str, world: World, *, program: str = "sh", env: Mapping[str, str] | None = None) -> Any:
    return subprocess.run(
        [program, "-ec", command],
        cwd=world.repo,
        env={**variables(world), **(env or {})},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def test_every_example_is_listed_and_every_listed_one_is_there() -> None:
    listed = set(re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text()))
    there = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.is_file()}
    assert listed == {path for path in there if path != "README.md" and "__pycache__" not in path}


def test_the_cron_line_runs_a_pass_and_speaks_only_when_it_does_not_end_well(fleet: World) -> None:
    (line,) = [one for one in (EXAMPLES / "cron" / "fwctl").read_text().splitlines() if one.startswith("*")]
    minute, hour, day, month, weekday, user, command = line.split(" ", 6)
    assert (minute, hour, day, month, weekday, user) == ("*/5", "*", "*", "*", "*", "fwctl")
    good = shell(here(command, fleet), fleet)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    assert fleet.journal("device-001")["running"]["version"] == "2.5.0"
    bad = shell(here(command, fleet).replace("remote.git", "gone.git"), fleet)
    assert "exit 5" in bad.stdout, bad.stdout + bad.stderr
    assert "E_GIT" in bad.stdout


def units() -> list[Path]:
    return sorted(path for path in (EXAMPLES / "systemd").glob("fwctl-*") if path.is_file())


def test_systemd_finds_nothing_wrong(fleet: World) -> None:
    """With systemd-analyze where there is one; else each line must at least be a section or an assignment."""
    assert [path.name for path in units()] == [
        "fwctl-agent.service",
        "fwctl-reconcile.service",
        "fwctl-reconcile.timer",
        "fwctl-watch.service",
    ]
    copies = fleet.folder / "units"
    copies.mkdir()
    for path in units():
        # The machine of the test has none of the users.
        (copies / path.name).write_text(re.sub(r"(?m)^User=.*", "User=root", here(path.read_text(), fleet)))
    shutil.copytree(EXAMPLES / "systemd" / "fwctl-agent.service.d", copies / "fwctl-agent.service.d")
    if shutil.which("systemd-analyze"):
        names = [str(copies / path.name) for path in units()]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, timeout=60, check=False
        )
        said = [line for line in (done.stdout + done.stderr).splitlines() if "fwctl" in line]
        assert (said, done.returncode) == ([], 0), done.stderr
    for path in copies.rglob("fwctl-*.service"):
        if path.is_file():
            parsed = configparser.RawConfigParser(strict=False, delimiters="=")
            parsed.read(path)
            assert {"Unit", "Service"} <= set(parsed.sections())


def test_the_service_runs_a_pass(fleet: World) -> None:
    text = (EXAMPLES / "systemd" / "fwctl-reconcile.service").read_text()
    command = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    done = shell(here(command[0], fleet), fleet)
    assert done.returncode == 0, done.stderr


def test_the_daemon_reconciles_until_it_is_told_to_end(fleet: World) -> None:
    fleet.release(firmware("2.5.2"), "2.5.2")
    text = (EXAMPLES / "systemd" / "fwctl-watch.service").read_text()
    command = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)[0].replace(REMOTE, str(fleet.repo))
    env = {**variables(fleet), "PYTHONUNBUFFERED": "1"}
    daemon = fleet.keep(Process(shlex.split(here(command, fleet)), fleet.folder / "daemon.log", env)).start()
    until(lambda: "complete" in daemon.said(), what="the daemon to have rolled out")
    assert fleet.journal("device-001")["running"]["version"] == "2.5.2"
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    assert "nothing is left half-done" in daemon.said()


def test_the_files_that_the_page_names_are_all_that_a_reconciler_needs(fleet: World) -> None:
    page = (ROOT / "docs" / "how-to" / "run-the-reconciler.md").read_text()
    named = re.search(r"`FWCTL_CONFIG_DIR/<fleet>/`: ([^|]+)", page)
    assert named, "the page names no files"
    lean = fleet.folder / "lean"
    for pattern in re.findall(r"`([^`]+)`", named[1]):
        for path in (fleet.config / "acme").glob(pattern):
            target = lean / "acme" / path.relative_to(fleet.config / "acme")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    assert not list(lean.rglob("*-ca.key.pem"))
    assert not (lean / "acme" / "keys" / "alice.pem").exists()
    fleet.release(firmware("2.5.1"), "2.5.1")
    done = shell("fwctl reconcile --once --max-duration 20", fleet, env={"FWCTL_CONFIG_DIR": str(lean)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert fleet.journal("device-001")["running"]["version"] == "2.5.1"


def test_the_agents_service_runs_it_and_its_drop_in_restarts_the_machine(fleet: World) -> None:
    folder = fleet.enroll("device-002")
    text = (EXAMPLES / "systemd" / "fwctl-agent.service").read_text()
    command = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)[0].replace("/var/lib/fwctl-agent", str(folder))
    log = fleet.folder / "unit.log"
    fleet.keep(Process(shlex.split(here(command, fleet)), log, {"PYTHONUNBUFFERED": "1"})).listening()
    drop_in = (EXAMPLES / "systemd" / "fwctl-agent.service.d" / "bootloader.conf").read_text()
    stop = shlex.split(re.findall(r"^ExecStopPost=(.*)$", drop_in, re.MULTILINE)[0])
    tools = fleet.folder / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tools}/asked\n')
    (tools / "systemctl").chmod(0o755)
    for status in ("0", "75"):
        env = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "EXIT_STATUS": status}
        subprocess.run(stop, env=env, check=True, timeout=20)
    assert (tools / "asked").read_text() == "reboot\n"


def scripts(path: str) -> Iterator[tuple[str, str]]:
    """Yield job and what it runs: steps of GitHub, script lines of GitLab."""
    parsed: dict[str, Any] = yaml.safe_load((EXAMPLES / path).read_text())
    if "jobs" in parsed:
        for name, job in parsed["jobs"].items():
            yield from ((name, step["run"]) for step in job["steps"] if "run" in step)
        return
    for name, job in parsed.items():
        for part in ("before_script", "script", "after_script"):
            yield from ((name, line) for line in (job.get(part, []) if isinstance(job, dict) else []))


@pytest.mark.parametrize("path", CI)
def test_every_fwctl_line_of_a_workflow_runs(fleet: World, path: str) -> None:
    """The review job has no key, no pinned root and no ledger, as on a hosted runner."""
    runs = [(job, script) for job, script in scripts(path) if "fwctl " in script]
    assert len(runs) >= 2
    rest = [script for job, script in scripts(path) if (job, script) not in runs]
    assert rest in ([], ['python -m pip install "$FWCTL_SOURCE"'])
    nothing = {name: str(fleet.folder / "nothing") for name in ("FWCTL_CONFIG_DIR", "FWCTL_STATE_DIR")}
    for job, script in runs:
        done = shell(script, fleet, program="bash", env=nothing if job == "review" else None)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    summary = fleet.folder / "summary.md" if path.startswith("github") else fleet.repo / "diff.md"
    if "review" in {job for job, _ in runs}:
        assert "device-001" in summary.read_text()


def test_a_development_trust_becomes_two_of_two(tmp_path: Path) -> None:
    """The second person has a key of their own making; one signature is not enough any more, on the device either."""
    with World(tmp_path) as world:
        world.init()
        world.git("update-ref", "refs/remotes/origin/main", "HEAD")
        world.enroll("device-001")
        world.agent("device-001")
        key, public = tmp_path / "bob.pem", tmp_path / "bob.pub.pem"
        openssl = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)]
        subprocess.run(openssl, check=True, capture_output=True, timeout=20)
        subprocess.run(
            ["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(public)],
            check=True,
            capture_output=True,
            timeout=20,
        )
        world.fwctl("trust", "add-key", "bob", public, "--group", "owners")
        policy = tmp_path / "policy.json"
        text = (world.repo / "trust/policy/policy.json").read_text()
        rules, releases = text.split('"releaseSigners"')  # one signer still suffices for releases
        policy.write_text(rules.replace('"threshold": 1', '"threshold": 2') + '"releaseSigners"' + releases)
        world.fwctl("trust", "policy", policy)
        world.release(firmware("2.5.0"))
        one = world.once()
        assert (one.code, "1 of 2" in one.out) == (1, True), one.text
        key.rename(world.config / "acme" / "keys" / "bob.pem")
        world.fwctl("approve", "sensors", "--yes", "--as", "bob")
        assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
