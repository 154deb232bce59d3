"""Durations, sizes, amounts, versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from fwctl.manifests.scalars import parse_amount, parse_cron, parse_duration, parse_size, version_key


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("30s", 30), ("15m", 900), ("4h", 14400), ("2d", 172800)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 m", "05m", "-5m", "5M", "5m\n", "٥m", "1h30m", "5.5m", 5, None, True])
def test_no_durations(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [("0B", 0), ("512KiB", 2**19), ("50MiB", 50 * 2**20), ("1GiB", 2**30)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "5KB", "5 KiB", "5kib", "-1B", "1.5MiB", "5MiB\n", 5])
def test_no_sizes(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        parse_size(text)


@pytest.mark.parametrize(("text", "total", "devices"), [("5%", 37, 2), ("100%", 37, 37), ("1%", 1, 1), (5, 3, 5)])
def test_shares_round_up_to_whole_devices(text: object, total: int, devices: int) -> None:
    assert parse_amount(text).of(total) == devices


@pytest.mark.parametrize("text", ["0 1 * * *", "*/15 0-6 1,15 * 1-5", "59 23 31 12 7"])
def test_crons(text: str) -> None:
    assert parse_cron(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "a * * * *", "1,, * * * *", "٥ * * * *"],
)
def test_no_crons(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        parse_cron(text)


def test_versions_sort_as_semver_says() -> None:
    rising = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0-rc.2", "1.0.0-rc.11", "1.0.0", "1.2", "1.10", "2"]
    falling = rising[::-1]
    assert sorted(falling, key=version_key) == rising
    assert version_key("2.5") == version_key("2.5.0+build.7")


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_versions_compare_by_number(one: list[int], two: list[int]) -> None:
    first, second = ".".join(map(str, one)), ".".join(map(str, two))
    padded = [numbers + [0] * (4 - len(numbers)) for numbers in (one, two)]
    assert (version_key(first) < version_key(second)) == (padded[0] < padded[1])
