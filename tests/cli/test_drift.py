"""`drift`: what it says word for word, what it exits with, and what it reads."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from fwctl.state import (
    Change,
    DeviceSeen,
    DeviceUnreachable,
    Ledger,
    RolloutMoved,
    RolloutState,
    acquire_lease,
    ledger_path,
)
from tests.cli.fleet import ENVIRONMENT, Fleet
from tests.support.big_ledger import AWAY, FAILED, big_fleet, fill

DEVICES = 202
BACK, FLASHED = "unit-000001", "unit-000002"


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Nearly all confirmed; some failed (no drift) and some never answered."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        fleet = big_fleet(tmp_path_factory.mktemp("calm") / "work", DEVICES)
        fill(fleet)
        with Ledger.open(ledger_path(fleet.state), readonly=True) as ledger:
            (row,) = ledger.rollouts()
        done = RolloutMoved(
            at=row.updated_at,
            rollout=row.key,
            mandate=row.mandate,
            commit=row.commit,
            state=RolloutState.COMPLETE,
            reason="all reached",
        )
        record(fleet, done)
    return fleet


def record(fleet: Fleet, *changes: Change) -> None:
    now = datetime.now(UTC)
    with (
        Ledger.open(ledger_path(fleet.state)) as ledger,
        acquire_lease(ledger, holder="test", now=now, ttl=timedelta(minutes=1)) as lease,
    ):
        ledger.apply(changes, epoch=lease.epoch)


def seen(device: str, version: str, *, ago: timedelta) -> DeviceSeen:
    return DeviceSeen(
        at=datetime.now(UTC) - ago,
        device=device,
        running_release="",
        running_image=f"sha256:{version}",
        running_version=version,
        running_mandate="",
        state="idle",
        document={},
        counter=1,
    )


def names(fleet: Fleet) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in json.loads(fleet.run("drift", "--format", "json").stdout)["drift"]:
        found.setdefault(one["kind"], []).append(one["device"])
    return found


def test_what_failed_or_never_ran_is_no_drift(calm: Fleet) -> None:
    assert set(names(calm)) == {"never-seen"}
    assert len(names(calm)["never-seen"]) == DEVICES // AWAY
    assert DEVICES // FAILED > 0


def test_every_kind_is_told_with_what_to_do(calm: Fleet, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    fleet = calm.copy(tmp_path / "work")
    settings = (fleet.tree / "fleet.yaml").read_text()
    quick = re.sub(r"passInterval: .*", "passInterval: 1m\n  sweep: {period: 1m}", settings)
    fleet.write("fleet.yaml", quick)
    fleet.commit("Look every minute")
    record(
        fleet,
        seen(BACK, "1.0.0", ago=timedelta(hours=-1)),
        seen(FLASHED, "9.9.9", ago=timedelta(hours=-1)),
        seen("stranger", "1.0.0", ago=timedelta(hours=-1)),
        DeviceUnreachable(at=datetime.now(UTC), device="sensor-1", reason="E_UNREACHABLE: no route", next_due=None),
    )
    told = names(fleet)
    assert told.pop("never-seen")
    assert told == {"other-firmware": [BACK, FLASHED], "vanished": ["sensor-1"], "unknown-device": ["stranger"]}
    answer = fleet.run("drift")
    assert answer.exit_code == 1
    assert str(answer) == snapshot


@pytest.mark.parametrize(("most", "code"), [("1", 1), ("2", 0), ("500", 0)])
def test_some_may_be_tolerated(calm: Fleet, most: str, code: int) -> None:
    assert calm.run("drift", "--max", most).exit_code == code


def test_without_a_ledger_nobody_can_tell(calm: Fleet, tmp_path: Path) -> None:
    fleet = calm.copy(tmp_path / "work")
    ledger_path(fleet.state).unlink(missing_ok=True)
    answer = fleet.run("drift")
    assert (answer.exit_code, "E_LEDGER_MISSING" in answer.stderr) == (3, True)


def test_without_summaries_the_commit_is_compiled_and_says_the_same(calm: Fleet, tmp_path: Path) -> None:
    fleet = calm.copy(tmp_path / "work")
    record(fleet, seen(BACK, "1.0.0", ago=timedelta(hours=-1)))
    before = names(fleet)
    assert before["other-firmware"] == [BACK]
    fleet.write("README.md", "A fleet")
    fleet.commit("Nothing of it matters")
    assert names(fleet) == before
