"""A ledger with a held lease."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fwctl.state import Lease, Ledger, acquire_lease, ledger_path
from tests.unit.state.support import NOW, TTL


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(ledger_path(tmp_path)) as made:
        yield made


@pytest.fixture
def lease(ledger: Ledger) -> Iterator[Lease]:
    with acquire_lease(ledger, holder="test", now=NOW, ttl=TTL) as held:
        yield held
