"""The table of codes is what the reference is made from: complete, and about things that can happen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fwctl.manifests import CODES

SOURCES = Path(__file__).parents[3] / "fwctl"


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_is_explained(code: str) -> None:
    entry = CODES[code]
    assert re.fullmatch(r"[EWI]_[A-Z_]+", code)
    assert entry.title
    assert not entry.title.endswith(".")
    assert entry.meaning.endswith(".")
    assert entry.remedy.endswith(".")


def test_every_code_that_manifests_report_is_in_the_table() -> None:
    used = {
        code
        for path in (SOURCES / "manifests").glob("*.py")
        if path.name != "codes.py"
        for code in re.findall(r'"([EWI]_[A-Z_]+)"', path.read_text())
    }
    assert used
    assert used <= CODES.keys()
