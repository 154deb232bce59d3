"""The first page: its quick start works word for word, and what it points to is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import marked, run, typed

pytestmark = pytest.mark.e2e


def test_the_quick_start_works_word_for_word(tmp_path: Path) -> None:
    block = marked("README.md")["quick start"]
    assert len(typed(block)) <= 10
    fleet = tmp_path / "acme"
    fleet.mkdir()
    said = run(block + "cmp /bin/true device-001/slots/current\n", folder=tmp_path, cwd=fleet)
    assert "1 reached" in said
