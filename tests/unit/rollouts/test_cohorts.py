"""Who goes first: the lot is drawn by hash, and waves are cut at whole devices."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.errors import InputError
from fwctl.rollouts.cohorts import by_lot, cut, share
from fwctl.rollouts.plan import Plan
from tests.unit.rollouts.fleets import plan_of

IDS = st.sets(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), min_size=1, max_size=30)
QUICK_START = "strategy: {type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 1s%s}"


def fleet(count: int) -> list[str]:
    return [f"d{number:04}" for number in range(count)]


def sizes(plan: Plan) -> list[tuple[str, int, int]]:
    """Return name, stage and number of devices of each wave."""
    return [(wave.name, wave.stage, len(wave.devices)) for wave in plan.waves]


# -- the lot -----------------------------------------------------------------------------------------------------------


@given(members=IDS, seed=st.integers())
def test_the_lot_does_not_depend_on_the_order_of_the_input(members: set[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(sorted(members), len(members))
    assert by_lot(shuffled, "sensors") == by_lot(sorted(members), "sensors")
    assert sorted(by_lot(shuffled, "sensors")) == sorted(members)


@given(members=IDS, new=st.from_regex(r"z[a-z0-9]{6}", fullmatch=True))
def test_a_device_more_moves_nobody_past_anybody_else(members: set[str], new: str) -> None:
    before = by_lot(sorted(members), "sensors")
    after = by_lot([new, *sorted(members)], "sensors")
    assert tuple(device for device in after if device != new) == before


def test_the_lot_is_fixed_for_ever_and_another_rollout_draws_another_one() -> None:
    assert by_lot(["a", "b", "c", "d", "e"], "sensors") == ("b", "e", "d", "c", "a")
    assert by_lot(fleet(50), "sensors") != by_lot(fleet(50), "sensors-2")
    assert by_lot(fleet(50), "sensors") != tuple(fleet(50)), "it is not the alphabet that decides who goes first"


@given(count=st.integers(1, 60), first=st.integers(1, 49), second=st.integers(50, 99))
def test_a_greater_share_holds_everybody_of_a_smaller_one(count: int, first: int, second: int) -> None:
    """Monotone: raising a percentage never takes a device out of the first wave."""
    ordered = by_lot(fleet(count), "sensors")
    few, more = (set(cut(ordered, [share(p, count)], soak=0)[0].devices) for p in (first, second))
    assert few <= more


# -- whole devices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "total", "devices"),
    [
        (5, 37, 2),
        (10, 2, 1),
        (50, 2, 1),
        (100, 2, 2),
        (5, 20, 1),
        (5, 21, 2),
        (0.1, 1000, 1),
        (0.1, 1001, 2),
        (33.3, 1000, 333),
        (1, 1, 1),
        (100, 0, 0),
        (7, 100, 7),
        (0.07, 10_000, 7),
        (29, 100, 29),
        (57, 100, 57),
        (1.1, 1000, 11),
    ],
)
def test_shares_round_up_to_whole_devices_and_are_exact(percent: float, total: int, devices: int) -> None:
    """As floats, 7 % of 100 is 7.000000000000001, and would round up to 8."""
    assert share(percent, total) == devices


@given(tenths=st.integers(1, 1000), total=st.integers(0, 10_000))
def test_a_share_is_the_least_number_that_is_enough(tenths: int, total: int) -> None:
    found = share(tenths / 10, total)
    assert Fraction(tenths, 1000) * total <= found <= total
    assert found - 1 < Fraction(tenths, 1000) * total or found == 0


@pytest.mark.parametrize(
    ("count", "waves"),
    [
        (1, [("wave-1", 1)]),
        (2, [("wave-1", 1), ("wave-4", 1)]),
        (3, [("wave-1", 1), ("wave-3", 1), ("wave-4", 1)]),
        (4, [("wave-1", 1), ("wave-2", 1), ("wave-4", 2)]),
        (7, [("wave-1", 1), ("wave-2", 2), ("wave-3", 1), ("wave-4", 3)]),
        (10, [("wave-1", 1), ("wave-2", 2), ("wave-3", 2), ("wave-4", 5)]),
        (20, [("wave-1", 2), ("wave-2", 4), ("wave-3", 4), ("wave-4", 10)]),
        (37, [("wave-1", 4), ("wave-2", 8), ("wave-3", 7), ("wave-4", 18)]),
    ],
)
def test_small_fleets_get_fewer_waves_with_whole_devices(count: int, waves: list[tuple[str, int]]) -> None:
    """The specification's quick start is the second row: two devices, 10/30/50/100."""
    assert [(name, size) for name, _, size in sizes(plan_of(fleet(count), [QUICK_START % ""]))] == waves


@given(count=st.integers(1, 60))
def test_waves_part_the_fleet(count: int) -> None:
    plan = plan_of(fleet(count), [QUICK_START % ""])
    assert sorted(plan.members) == fleet(count)
    assert all(wave.devices == tuple(sorted(wave.devices)) and wave.devices for wave in plan.waves)


# -- approval points ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "stages"),
    [
        ("wave-4", [("wave-1", 1), ("wave-4", 2)]),
        ("wave-2", [("wave-1", 1), ("wave-4", 2)]),
        ("wave-2, wave-3", [("wave-1", 1), ("wave-4", 2)]),
        ("wave-2, wave-4", [("wave-1", 1), ("wave-4", 2)]),
        ("wave-1", [("wave-1", 2), ("wave-4", 2)]),
        ("wave-1, wave-4", [("wave-1", 2), ("wave-4", 3)]),
    ],
)
def test_an_approval_point_holds_the_next_wave_that_has_devices(before: str, stages: list[tuple[str, int]]) -> None:
    plan = plan_of(fleet(2), [QUICK_START % f", approvalBefore: [{before}]"])
    assert [(name, stage) for name, stage, _ in sizes(plan)] == stages
    assert sorted({leaf.stage for leaf in plan.lock().leaves}) == sorted({stage for _, stage in stages})


def test_each_approval_point_opens_a_stage_of_its_own() -> None:
    plan = plan_of(fleet(20), [QUICK_START % ", approvalBefore: [wave-4, wave-2]"])
    assert [(name, stage) for name, stage, _ in sizes(plan)] == [
        ("wave-1", 1),
        ("wave-2", 2),
        ("wave-3", 2),
        ("wave-4", 3),
    ]


def test_an_approval_before_a_wave_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        plan_of(fleet(20), [QUICK_START % ", approvalBefore: [wave-5]"])
    assert (caught.value.code, "wave-1 to wave-4" in caught.value.message) == ("E_NO_WAVE", True)


# -- Rolling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "count", "batches", "limit"),
    [
        ("batchSize: 4", 10, [4, 4, 2], None),
        ("batchSize: 4, maxUnavailable: 2", 10, [4, 4, 2], 2),
        ('batchSize: "25%"', 10, [3, 3, 3, 1], None),
        ('batchSize: "25%", maxUnavailable: "50%"', 16, [4, 4, 4, 4], 2),
        ('batchSize: "25%", maxUnavailable: "1%"', 16, [4, 4, 4, 4], 1),
        ("batchSize: 100", 3, [3], None),
        ('batchSize: "1%"', 3, [1, 1, 1], None),
        ('batchSize: "100%"', 3, [3], None),
    ],
)
def test_batches_are_counts_or_shares(strategy: str, count: int, batches: list[int], limit: int | None) -> None:
    plan = plan_of(fleet(count), [f"strategy: {{type: Rolling, {strategy}, soak: 1s}}"])
    assert [len(wave.devices) for wave in plan.waves] == batches
    assert {wave.max_unavailable for wave in plan.waves} == {limit}
    assert [wave.name for wave in plan.waves] == [f"wave-{number}" for number in range(1, len(batches) + 1)]
    assert {wave.soak for wave in plan.waves} == {1}


def test_batches_may_wait_for_approval_too() -> None:
    plan = plan_of(fleet(6), ["strategy: {type: Rolling, batchSize: 2, approvalBefore: [wave-3]}"])
    assert [stage for _, stage, _ in sizes(plan)] == [1, 1, 2]
    with pytest.raises(InputError):
        plan_of(fleet(6), ["strategy: {type: Rolling, batchSize: 2, approvalBefore: [wave-4]}"])
