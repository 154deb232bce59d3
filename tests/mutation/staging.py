"""A copy of the sources in the one layout that mutmut knows: packages and tests side by side.

mutmut names a mutant by the path of its file and looks it up by the module's name; with `agent/fwctl_agent` the two
would differ. The copy keeps times of change, so that a second run tests again only what has changed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parents[2]
WORK: Final = TOP / ".mutate"
TREE: Final = WORK / "tree"
TOOL: Final = WORK / "lib"
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
    # mutmut copies the tests again, and never removes one that is gone
    shutil.rmtree(TREE / "mutants" / "tests", ignore_errors=True)
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


def run(patterns: Sequence[str], jobs: int, environ: dict[str, str]) -> int:
    """Run mutmut in the copy; its own progress goes to the terminal."""
    argv = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *patterns]
    paths = {"PYTHONPATH": str(TOOL), "HYPOTHESIS_STORAGE_DIRECTORY": str(WORK / "hypothesis")}
    return subprocess.run(argv, cwd=TREE, env=environ | paths, check=False).returncode


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
