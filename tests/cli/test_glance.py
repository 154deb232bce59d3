"""Whoever only looks judges on fewer facts, and says the same of everybody."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fwctl.reconcile.commit import Prepared
from fwctl.reconcile.glancing import glance
from fwctl.reconcile.views import rollout_view
from fwctl.rollouts.decide import decide
from fwctl.rollouts.view import WaveView
from fwctl.state import (
    Change,
    DeviceDeferred,
    DeviceSeen,
    DeviceUnreachable,
    Ledger,
    OrderIntended,
    OrderMoved,
    OrderStatus,
    Quarantined,
    QuarantineReleased,
    RolloutMoved,
    RolloutState,
    acquire_lease,
    ledger_path,
)
from tests.support.big_ledger import KEY, big_fleet

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    fleet = big_fleet(tmp_path_factory.mktemp("fleet"), 60)
    commit, files = fleet.context.committed()
    return fleet.context.read(files, commit).rollouts[KEY]


def lives(prepared: Prepared, chance: random.Random) -> Iterator[Change]:
    """All that may happen to devices, in no sensible order."""
    assert prepared.mandate is not None
    mandate, release = prepared.mandate.id, prepared.plan.release.digest
    common: dict[str, Any] = {"rollout": KEY, "mandate": mandate}
    yield RolloutMoved(at=NOW, **common, commit="c", state=RolloutState.PROGRESSING, reason="r")
    *some, first, second = chance.sample(prepared.plan.members, 52)
    for device in (first, second):
        yield _arrived(device, release, mandate)
    for device in some:
        for attempt in range(chance.choice([0, 1, 1, 2])):
            order, at = f"{device}-{attempt}", NOW - timedelta(minutes=chance.randrange(1, 300))
            yield OrderIntended(
                at=at, **common, order=order, device=device, verb=chance.choice(["install", "install", "revert"]),
                release=release, attempt=attempt + 1, stage=1, wave="wave-1", refers_to="", body={}, due_at=None,
                reason="r",
            )  # fmt: skip
            if chance.random() < 0.8:
                klass = chance.choice(["", "", "", "health", "refused", "download"])
                settled = OrderStatus.SETTLED
                yield OrderMoved(at=at, order=order, status=settled, failure_class=klass, code="E_X", reason="r")
        for _ in range(chance.choice([0, 1, 1, 1, 2])):
            at = NOW - timedelta(minutes=chance.choice([1, 1, 1, 20, 3000]))
            yield DeviceSeen(
                at=at, device=device, running_release=chance.choice([release, release, release, "other", ""]),
                running_image="i", running_version="2.5.0", running_mandate=chance.choice([mandate, ""]), state="idle",
                document={}, counter=1, spent=chance.choice([(), (), (), (mandate,), ("another",)]),
                next_due=chance.choice([None, None, None, NOW + timedelta(minutes=5), NOW - timedelta(minutes=5)]),
            )  # fmt: skip
        if chance.random() < 0.15:
            yield DeviceUnreachable(at=NOW - timedelta(minutes=3), device=device, reason="r", next_due=NOW)
        if chance.random() < 0.1:
            yield DeviceDeferred(at=NOW - timedelta(minutes=3), device=device, reason="r", next_due=NOW)
        if chance.random() < 0.15:
            yield Quarantined(at=NOW - timedelta(minutes=2), device=device, reason="r")
            if chance.random() < 0.5:
                yield QuarantineReleased(at=NOW - timedelta(minutes=1), device=device, reason="r")


def _arrived(device: str, release: str, mandate: str) -> DeviceSeen:
    return DeviceSeen(
        at=NOW - timedelta(minutes=1),
        device=device,
        running_release=release,
        running_image="i",
        running_version="2.5.0",
        running_mandate=mandate,
        state="idle",
        document={},
        counter=1,
    )


@pytest.mark.parametrize("seed", range(12))
def test_everybody_stands_as_on_the_whole_view(planned: Prepared, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with (
        Ledger.create(ledger_path(tmp_path)) as ledger,
        acquire_lease(ledger, holder="test", now=NOW, ttl=timedelta(minutes=10)) as lease,
    ):
        ledger.apply_groups([[change] for change in lives(planned, chance)], epoch=lease.epoch)
        whole, seen = rollout_view(ledger, planned), glance(ledger, planned)
    assert len({id(view) for view in seen.devices.values()}) < len(whole.devices), "some share a view"
    for word in (None, "open", "soaking", "passed"):
        waves = {"wave-1": WaveView(word, soak_since=NOW - timedelta(seconds=10))} if word else {}
        a, b = (decide(planned.plan, replace(view, waves=waves), NOW) for view in (whole, seen))
        assert dict(b.standings) == dict(a.standings)
        assert (b.counts, b.next_due, b.wave_due, b.holding) == (a.counts, a.next_due, a.wave_due, a.holding)
        assert b.actions == a.actions


def test_a_way_back_is_seen_as_a_whole(planned: Prepared, tmp_path: Path) -> None:
    assert planned.mandate is not None
    back = RolloutMoved(
        at=NOW, rollout=KEY, mandate=planned.mandate.id, commit="c", state=RolloutState.ROLLING_BACK, reason="r"
    )
    with (
        Ledger.create(ledger_path(tmp_path)) as ledger,
        acquire_lease(ledger, holder="test", now=NOW, ttl=timedelta(minutes=10)) as lease,
    ):
        changes = [*lives(planned, random.Random(1)), back]
        ledger.apply_groups([[change] for change in changes], epoch=lease.epoch)
        assert glance(ledger, planned) == rollout_view(ledger, planned)
