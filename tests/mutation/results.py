"""The verdicts of all runs, one line each, in `.mutate/results.jsonl`; and which of them still hold.

A verdict holds as long as the module of the mutant is the same and, if a test killed it, the file of that test; if none
did, the files of all tests that judge. What tests are helped by (`tests/support`) is not looked at: see `--again`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ALL: Final = "all"


@dataclass(frozen=True)
class Digests:
    """Of the modules that are changed, by name, and of the test files by path, with `ALL` for all of them."""

    modules: Mapping[str, str]
    tests: Mapping[str, str]

    @classmethod
    def of(cls, tree: Path, modules: list[str], selection: list[str]) -> Digests:
        files = {
            path.relative_to(tree).as_posix(): _digest(path)
            for one in selection
            for path in ([tree / one] if one.endswith(".py") else sorted((tree / one).rglob("*.py")))
        }
        every = hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:16]
        names = {path.removesuffix(".py").replace("/", "."): _digest(tree / path) for path in modules}
        return cls(names, files | {ALL: every})

    def wanted(self, record: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Return what the digests of a record have to be."""
        module, file = record["mutant"].rpartition(".")[0], record["test"].partition("::")[0]
        killed = record["verdict"] == "killed" and file
        return self.modules.get(module), self.tests.get(file if killed else ALL)


def load(file: Path) -> dict[str, dict[str, Any]]:
    """Return the last record of each mutant. A line that was being written when the run ended is left out."""
    found = {}
    for line in file.read_text("utf-8").splitlines() if file.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found[record["mutant"]] = record
    return found


def holding(records: Mapping[str, dict[str, Any]], digests: Digests) -> dict[str, str]:
    """Return the verdicts that still hold. Who was late beside others is to be tried alone first."""
    return {
        name: record["verdict"]
        for name, record in records.items()
        if (record["module"], record["tests"]) == digests.wanted(record)
        and (record["verdict"] != "timeout" or record["alone"])
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
