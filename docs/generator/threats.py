"""The threat table: each row of `docs/threats.toml` with the tests that hold it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from docs.generator.text import ROOT, cell


def threats() -> str:
    """Return the threat table: each row with the tests that hold it, or the word that none does yet."""
    table = tomllib.loads((ROOT / "docs" / "threats.toml").read_text("utf-8"))
    tests = tests_by_name()
    lines: list[str] = []
    for part, rows in table.items():
        covered = {key: _held(key, row, tests) for key, row in rows.items()}
        done = sum(1 for held in covered.values() if held)
        lines += [
            "",
            f"### {part.capitalize()}: {done} of {len(rows)} have a test",
            "",
            "| id | what | code | held by |",
        ]
        lines += ["|---|---|---|---|"]
        for key, row in rows.items():
            held = "<br>".join(link(name) for name in covered[key]) or f"**none**: {row.get('note', 'no test')}"
            code = f"`{row['code']}`" if row.get("code") else ""
            lines.append(f"| {key} | {cell(row['what'])} | {code} | {held} |")
    return "\n".join([*lines, "", ""])


def tests_by_name() -> dict[str, str]:
    """Return what every test says of itself, by `file::function`."""
    return dict(_tests())


def _tests() -> Iterator[tuple[str, str]]:
    """Yield `file::function` of every test with what it says of itself: name, docstring, decorators."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if named or (isinstance(node, ast.ClassDef) and any("StateMachine" in ast.unparse(b) for b in node.bases)):
                assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)  # noqa: S101
                about = [node.name, ast.get_docstring(node) or "", *map(ast.unparse, node.decorator_list)]
                yield f"{path.relative_to(ROOT).as_posix()}::{node.name}", " ".join(about)


def _held(key: str, row: dict[str, Any], tests: dict[str, str]) -> list[str]:
    """Return the tests of a row: those it lists, which must exist, and those that name its id."""
    listed = [str(name) for name in row.get("tests", [])]
    for name in listed:
        if name not in tests:
            raise ValueError(f"docs/threats.toml: {key} names {name}, which does not exist")
    own = re.compile(rf"(?<![a-z0-9]){key}(?![a-z0-9])", re.IGNORECASE)
    found = [name for name, about in tests.items() if own.search(about.replace("_", " "))]
    return list(dict.fromkeys([*listed, *found]))


def link(test: str) -> str:
    """Return a test as a link from a page below docs/."""
    path, _, name = test.partition("::")
    return f"[{name}](../{path})"
