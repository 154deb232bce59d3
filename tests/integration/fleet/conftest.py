from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
import uvloop

from tests.integration.fleet.devices import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.make(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Another fleet that gave itself the same name."""
    return Pki.make(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="session")
def ancient(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.make(tmp_path_factory.mktemp("ancient"), age=timedelta(days=4000))


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run everything that the link does on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
