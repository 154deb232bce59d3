"""The bound and the tests behind gates, against published figures and their definitions."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.manifests.models.rollout_parts import Limit
from fwctl.rollouts.health.metrics import bounds_of, impossible
from fwctl.rollouts.health.statistics import can_compare, holm, rank_test, wilson_lower


@pytest.mark.parametrize(
    ("part", "whole", "confidence", "bound"),
    [
        # R. G. Newcombe, Stat. Med. 17 (1998) 857-872, table I, method 3: two-sided 95 % is one-sided 97.5 %
        (81, 263, 0.975, 0.2553),
        (15, 148, 0.975, 0.0624),
        (1, 29, 0.975, 0.0061),
        (0, 20, 0.975, 0.0),
        (0, 0, 0.975, 0.0),
    ],
)
def test_wilsons_bound_as_published(part: int, whole: int, confidence: float, bound: float) -> None:
    assert wilson_lower(part, whole, confidence) == pytest.approx(bound, abs=5e-5)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.6, 0.9, 0.99]))
def test_the_bound_lies_below_the_share_and_rises_with_failures(whole: int, data: st.DataObject, sure: float) -> None:
    part = data.draw(st.integers(1, whole))
    assert 0 < wilson_lower(part, whole, sure) < part / whole
    assert wilson_lower(part - 1, whole, sure) < wilson_lower(part, whole, sure)
    assert wilson_lower(part, whole, 0.999) < wilson_lower(part, whole, sure)


def test_the_rank_test_counts_the_orders_that_are_as_extreme() -> None:
    assert can_compare()
    values, control = (9, 7, 5), (6, 4, 3, 1)
    pool = sorted(values + control)

    def above(some: tuple[int, ...]) -> int:
        return sum(one > other for one in some for other in pool if other not in some)

    extreme = [above(some) >= above(values) for some in combinations(pool, 3)]
    assert rank_test(values, control) == pytest.approx(sum(extreme) / len(extreme))


def test_values_that_are_all_equal_are_not_higher() -> None:
    assert rank_test((3, 3, 3), (3, 3)) == 1.0


def test_higher_is_unlikely_and_lower_is_not() -> None:
    assert rank_test(tuple(range(20, 40)), tuple(range(20))) < 1e-6
    assert rank_test(tuple(range(20)), tuple(range(20, 40))) > 0.99


def test_holm_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == {0, 3}
    assert holm([0.06], 0.05) == frozenset()
    assert holm([], 0.05) == frozenset()


def test_limits_become_whole_numbers_that_are_no_looser() -> None:
    limits = {"t": Limit(min=3.2, max=80.5), "rssi": Limit(min=-90.5), "cold": Limit(max=-4.5)}
    bounds = bounds_of(limits)
    assert (bounds.maxima, bounds.minima) == ((("cold", -5), ("t", 80)), (("rssi", -90), ("t", 4)))
    assert impossible(Limit(min=3.2, max=3.8))
    assert not impossible(Limit(min=3.2, max=4.0))
