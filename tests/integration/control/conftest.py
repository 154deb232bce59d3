from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A fleet with nothing in it; what it starts is stopped at the end."""
    with World(tmp_path) as world:
        yield world
