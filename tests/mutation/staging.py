"""A copy of the sources in the one layout that mutmut knows: packages and tests side by side.

mutmut names a mutant by the path of its file and looks it up by the module's name; with `agent/fwctl_agent` the two
would differ.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

TOP: Final = Path(__file__).parents[2]
WORK: Final = TOP / ".mutate"
TREE: Final = WORK / "tree"
TOOL: Final = WORK / "lib"
RESULTS: Final = WORK / "results.jsonl"
REACHED: Final = WORK / "reached.json"
_COPIED: Final = {
    "agent/fwctl_agent": "fwctl_agent",
    "fwctl": "fwctl",
    "tests": "tests",
    "schemas": "schemas",
    "pyproject.toml": "pyproject.toml",
}


def stage() -> Path:
    """Bring the copy up to date and return its folder."""
    TREE.mkdir(parents=True, exist_ok=True)
    for source, target in _COPIED.items():
        _mirror(TOP / source, TREE / target)
    # mutmut copies what it does not change again, and never removes a file that is gone
    for folder in ("tests", "fwctl", "schemas"):
        shutil.rmtree(TREE / "mutants" / folder, ignore_errors=True)
    return TREE


def install() -> None:
    """Put mutmut beside the environment of the project; what both need has the same version in both."""
    wanted = (TOP / "requirements" / "mutate.txt").read_bytes()
    mark = TOOL / "requirements.txt"
    if mark.exists() and mark.read_bytes() == wanted:
        return
    shutil.rmtree(TOOL, ignore_errors=True)
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(TOOL)]
    subprocess.run([*argv, "--requirement", str(TOP / "requirements" / "mutate.txt")], check=True)
    mark.write_bytes(wanted)


def chosen() -> tuple[list[str], list[str]]:
    """Return the paths of the modules that are changed, and those of the tests that judge."""
    settings = tomllib.loads((TREE / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]
    return settings["only_mutate"], settings["pytest_add_cli_args_test_selection"]


def generate() -> None:
    """Have mutmut write the mutants into the copy; what has not changed stays."""
    _python(TREE, "tests.mutation.generate")


def judge(task: Mapping[str, object]) -> int:
    """Judge mutants: see tests/mutation/judge.py. What pytest says in all its forks goes to a file."""
    file = WORK / "task.json"
    file.write_text(json.dumps(task), "utf-8")
    with (WORK / "judge.log").open("wb") as log:
        return _python(TREE / "mutants", "tests.mutation.judge", str(file), check=False, stdout=log)


def _python(folder: Path, *argv: str, check: bool = True, stdout: IO[bytes] | None = None) -> int:
    paths = {"PYTHONPATH": str(TOOL), "PYTEST_DEBUG_TEMPROOT": str(WORK), "PYTHONDONTWRITEBYTECODE": "1"}
    environ = os.environ | paths
    done = subprocess.run([sys.executable, "-m", *argv], cwd=folder, env=environ, check=check, stdout=stdout)
    return done.returncode


def _mirror(source: Path, target: Path) -> None:
    """Copy what is newer or of another size, and remove what is gone."""
    if source.is_file():
        _copy(source, target)
        return
    wanted = {
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    for path in wanted:
        _copy(source / path, target / path)
    for path in target.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.relative_to(target) not in wanted:
            path.unlink()


def _copy(source: Path, target: Path) -> None:
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
