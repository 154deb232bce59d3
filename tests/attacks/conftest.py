from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.realm import Realm
from tests.support.world import World


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """One fleet and one real agent for all attacks of a module: none of them may change anything.

    At the end a good rollout goes through, or the module fails.
    """
    with World(tmp_path_factory.mktemp("realm")) as world:
        realm = Realm(world).build()
        realm.run_agent()
        yield realm
        realm.works()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Realm]:
    """A fleet and an agent of one's own, for attacks after which nothing more may be approved."""
    with World(tmp_path) as world:
        realm = Realm(world).build()
        realm.run_agent()
        yield realm
