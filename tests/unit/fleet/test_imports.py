"""What a command costs before it does anything: HTTP is loaded only where devices are spoken to."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["fwctl.cli.main", "fwctl.fleet.certificates", "fwctl.fleet.interface"])
def test_httpx_is_not_loaded_before_a_device_is_spoken_to(module: str) -> None:
    script = f"import sys, {module}; print(sorted({{'httpx', 'httpcore', 'httptools', 'uvloop'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
