"""A small benchmark runs to its end, each mode of it, and accounts for every device. How fast is not asked here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docs.generator import ROOT
from tests.bench.__main__ import main

DEVICES = 12
SMALL = ("--devices", str(DEVICES), "--image-bytes", "4096", "--boot-delay", "0.2")


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_every_mode_runs_and_every_device_is_accounted_for(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    assert main([*SMALL, "--work", str(tmp_path / "work"), "--json", str(record)]) == 0
    runs = json.loads(record.read_text())["runs"]
    assert {run["mode"] for run in runs} == {
        "plan",
        "validate",
        "hot",
        "idle",
        "status",
        "rollback",
        "reboot",
        "blue-green",
    }
    by_mode = {run["mode"]: run for run in runs}
    assert by_mode["hot"]["accounts"] == by_mode["reboot"]["accounts"] == {"confirmed": DEVICES}
    assert by_mode["rollback"]["accounts"] == {"reverted": DEVICES}
    assert by_mode["hot"]["conversation"]["connections"] == 1
    assert by_mode["reboot"]["conversation"]["connections"] >= 2
    assert by_mode["hot"]["shortcuts"].startswith("journal and slots in memory")
    assert all(rate["perMinute"] > 0 for rate in by_mode["hot"]["bare"].values())
    assert [run["problems"] for run in runs] == [[]] * len(runs)


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_with_faults_nobody_is_lost(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    assert main([*SMALL, "--faults", "1", "--work", str(tmp_path / "work"), "--json", str(record)]) == 0
    (run,) = json.loads(record.read_text())["runs"]
    assert sum(run["accounts"].values()) == DEVICES
    assert run["accounts"]["confirmed"] < DEVICES
    assert len(run["faults"]) > 5


@pytest.mark.e2e
def test_an_interruption_leaves_no_process(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.bench", *SMALL, "--mode", "hot", "--work", str(tmp_path)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "agent")])
    bench = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.PIPE)
    begun = time.monotonic()
    while not (tmp_path / str(DEVICES) / "config").exists():
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
    bench.send_signal(signal.SIGINT)
    assert bench.wait(60) == 130
    assert bench.stderr is not None
    assert b"Traceback" not in bench.stderr.read()
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if str(tmp_path).encode() in _read(path)]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
