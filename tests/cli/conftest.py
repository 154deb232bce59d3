"""Fleets in each of their stages, copied from ones that are made once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.fleet import ENVIRONMENT, Fleet, approved, build, recorded


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FWCTL_"):
            monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fleet]:
    """Return the fleet `planned`, `approved` or `recorded`: each made once, from the one before."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        top = tmp_path_factory.mktemp("fleets")
        planned = build(top / "planned")
        signed = approved(planned.copy(top / "approved"))
        made = {"planned": planned, "approved": signed, "recorded": recorded(signed.copy(top / "recorded"))}
    return lambda stage: made[stage]


@pytest.fixture
def planned(stages: Callable[[str], Fleet], tmp_path: Path) -> Fleet:
    """A fleet whose rollout is locked and committed, and not approved."""
    return stages("planned").copy(tmp_path / "work")


@pytest.fixture
def fleet(stages: Callable[[str], Fleet], tmp_path: Path) -> Fleet:
    """A fleet in the middle: approved, one device updated, one not reachable, one in no rollout."""
    return stages("recorded").copy(tmp_path / "work")
