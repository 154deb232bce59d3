from __future__ import annotations

from datetime import timedelta

import pytest

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
