"""Samples: the first of a phase counts, they move the revision, and go when their mandate has ended."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlite_utils import Database

from fwctl.state import Ledger, RolloutState, SampleTaken, acquire_lease
from fwctl.state.prune import Rule, Told, prune
from fwctl.state.samples import samples
from fwctl.state.schema import migrations
from tests.unit.state.support import NOW, ROLLOUT, TTL, later, rollout


def sample(device: str, value: int, phase: str = "look-1", mandate: str = "m1") -> SampleTaken:
    return SampleTaken(
        at=NOW, mandate=mandate, wave="wave-1", phase=phase, device=device, metrics={"crash_rate": value}
    )


def older(path: Path) -> None:
    """Write a ledger of form 3, which has no samples."""
    database = Database(sqlite3.connect(path), execute_plugins=False)
    migrations.apply(database, stop_before="0004_samples")
    database.conn.commit()
    database.close()


def test_the_first_sample_of_a_phase_counts_and_moves_the_revision(tmp_path: Path) -> None:
    older(tmp_path / "ledger.db")
    with (
        Ledger.open(tmp_path / "ledger.db") as ledger,
        acquire_lease(ledger, holder="test", now=NOW, ttl=TTL) as held,
    ):
        begin = ledger.revision()
        ledger.apply([sample("d1", 3), sample("d2", 4), sample("d1", 5, "look-2")], epoch=held.epoch)
        moved = ledger.revision()
        assert moved > begin
        ledger.apply([sample("d1", 99)], epoch=held.epoch)
        assert ledger.revision() == moved
        assert samples(ledger, "m1", ["wave-1"]) == {
            ("wave-1", "look-1"): {"d1": {"crash_rate": 3}, "d2": {"crash_rate": 4}},
            ("wave-1", "look-2"): {"d1": {"crash_rate": 5}},
        }
        assert samples(ledger, "m1", ["wave-2"]) == samples(ledger, "m2", ["wave-1"]) == {}


def test_prune_forgets_the_samples_of_mandates_that_have_ended(tmp_path: Path) -> None:
    older(tmp_path / "ledger.db")
    with (
        Ledger.open(tmp_path / "ledger.db") as ledger,
        acquire_lease(ledger, holder="test", now=NOW, ttl=TTL) as held,
    ):
        ledger.apply([rollout(RolloutState.WAITING), rollout(RolloutState.PROGRESSING)], epoch=held.epoch)
        mandate = ledger.rollout(ROLLOUT).mandate  # type: ignore[union-attr]
        ledger.apply([sample("d1", 3, mandate=mandate), sample("d1", 3, mandate="gone")], epoch=held.epoch)
        prune(ledger, held, Rule(later(0)), Told(later(1), "test", "room"))
        assert samples(ledger, "gone", ["wave-1"]) == {}
        assert samples(ledger, mandate, ["wave-1"]) != {}
