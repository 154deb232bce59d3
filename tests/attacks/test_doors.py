"""Every row of the table of attacks is run through every door that it may come through."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.attacks.doors import DOORS, ELSEWHERE, NOT_HERE

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ROWS = sorted(tomllib.loads((ROOT / "docs" / "threats.toml").read_text("utf-8"))["attacks"])
_NAME = re.compile(r"test((?:_a\d\d)+)((?:_(?:cli|reconciler|agent))*)_")


def _held() -> dict[str, set[str]]:
    """Return the doors of each row for which a test stands in this folder."""
    found: dict[str, set[str]] = {}
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match = _NAME.match(node.name) if isinstance(node, ast.FunctionDef) else None
            for row in re.findall(r"a\d\d", match[1]) if match else ():
                found.setdefault(row.upper(), set()).update(match[2].split("_")[1:] if match else ())
    return found


HELD = _held()


@pytest.mark.parametrize("row", ROWS)
def test_every_door_of_every_attack_has_a_test_or_a_reason(row: str) -> None:
    reasons = NOT_HERE.get(row, {})
    if row in ELSEWHERE:
        assert (ROOT / ELSEWHERE[row]).exists()
        assert row not in NOT_HERE
        return
    assert set(DOORS) - HELD.get(row, set()) - set(reasons) == set()
    assert all(reasons.values())
    assert HELD.get(row, set()) & set(reasons) == set(), "a door that has a test needs no reason"


def test_the_table_of_doors_names_only_rows_that_there_are() -> None:
    assert {*NOT_HERE, *ELSEWHERE} - set(ROWS) == set()
