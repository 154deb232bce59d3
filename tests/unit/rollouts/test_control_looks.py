"""Looks at the control group are visits of devices that start nothing: no rate and no disruption budget counts them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fwctl.rollouts.board import Board
from fwctl.rollouts.view import RolloutView, WaveView
from tests.unit.rollouts.fleets import NOW, plan_of

DEVICES = [f"d{number:03}" for number in range(40)]
SPEC = ["strategy: {type: Canary, initialPercentage: 25, increments: [100], soak: 20m}"]


@pytest.mark.parametrize(
    "limits", ["maxPerMinute: 10", "disruption: {groupBy: [model], maxUnavailable: 1}", "bytesPerMinutePerSite: 10B"]
)
def test_looks_at_those_who_wait_keep_nobody_from_starting(limits: str) -> None:
    plan = plan_of(DEVICES, [*SPEC, f"limits: {{maxConcurrent: 500, {limits}}}"])
    first, second = plan.waves
    waves = {first.name: WaveView("open", opened_at=NOW)}
    looked = frozenset(second.devices)
    board = Board(plan)
    board.update(RolloutView(approved_stage=9, waves=waves, visiting=looked, devices={}), None, NOW)
    assert len(board.due(500)) == 1
    assert sum(line.waiting for line in board.limits()) == len(first.devices) - 1


def test_a_look_counts_as_a_start_once_its_wave_is_open() -> None:
    plan = plan_of(DEVICES, [*SPEC, "limits: {disruption: {groupBy: [model], maxUnavailable: 1}}"])
    first, second = plan.waves
    looked = frozenset(second.devices[:1])
    board = Board(plan)
    waves = {first.name: WaveView("soaking", soak_since=NOW, opened_at=NOW)}
    board.update(RolloutView(approved_stage=9, waves=waves, visiting=looked, devices={}), None, NOW)
    later = NOW + timedelta(minutes=30)
    opened = {first.name: WaveView("passed"), second.name: WaveView("open", opened_at=later)}
    board.update(RolloutView(approved_stage=9, waves=opened, visiting=looked, devices={}), set(), later)
    assert board.due(500) == []
