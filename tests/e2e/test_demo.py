"""`fwctl demo`, as `make demo` runs it: the whole story ends well, and leaves no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def running_in(folder: Path) -> list[str]:
    """Return the command lines of processes that name something in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in command:
                found.append(command)
    return found


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_the_demo_tells_the_whole_story_and_cleans_up_after_itself(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "fwctl", "demo", "--dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=220,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "dev/sensors  ✔ complete  202 reached" in done.stdout
    assert "↩ rolled-back" in done.stdout
    assert "202 of 202 devices run the very bytes of sensor-2.5.0.bin, 0 the bad ones." in done.stdout
    report = (folder / "report.html").read_text()
    assert "sensor-v1" in report
    assert "2.5.1" in report
    assert "Traceback" not in done.stdout + done.stderr
    assert running_in(folder) == []


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "fwctl", "demo", "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (done.returncode, "E_EXISTS" in done.stderr) == (3, True)
    assert (tmp_path / "something").read_text() == "mine"
