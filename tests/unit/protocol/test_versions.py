"""The order of versions (Semantic Versioning 2.0, section 11, with one to four numbers)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl_agent.protocol.fields import VERSION
from fwctl_agent.protocol.versions import VersionRange, version_key

RISING = (
    "0", "0.0.1", "0.1", "0.9.9", "1.0.0-0", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
    "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.0.1", "1.2", "1.9", "1.10", "2",
    "2.1.1.9", "2.1.2", "10.0.0", "999999999",
)  # fmt: skip


def test_precedence() -> None:
    assert all(VERSION.fullmatch(version) for version in RISING)
    for low, high in itertools.combinations(RISING, 2):
        assert version_key(low) < version_key(high), (low, high)


@pytest.mark.parametrize(("one", "two"), [("1", "1.0.0.0"), ("1.0.0+a", "1.0.0+b-c"), ("1.0-rc.1", "1.0.0-rc.1+x")])
def test_equal(one: str, two: str) -> None:
    assert version_key(one) == version_key(two)


@given(st.from_regex(VERSION, fullmatch=True), st.from_regex(VERSION, fullmatch=True))
def test_every_two_versions_compare(one: str, two: str) -> None:
    low, high = version_key(one), version_key(two)
    assert (low < high) + (low == high) + (low > high) == 1


@pytest.mark.parametrize(
    "text", ["", "1.", ".1", "01", "1.02", "v1", "1.0.0.0.0", "1-", "1+", "1.0\n", "1_0", "1000000000"]
)
def test_no_versions(text: str) -> None:
    assert not VERSION.fullmatch(text)


def test_ranges() -> None:
    both = VersionRange("2.0.0", "2.5.0")
    assert [v for v in ("1.9", "2.0.0-rc", "2.0.0", "2.4.9", "2.5.0-rc", "2.5.0", "3") if v in both] == [
        "2.0.0",
        "2.4.9",
        "2.5.0-rc",
    ]
    assert "0" in VersionRange(None, None)
    assert "3" in VersionRange("2", None)
    assert "1" not in VersionRange("2", None)
    assert "2" not in VersionRange(None, "2")
    assert [str(one) for one in (both, VersionRange(None, "2"), VersionRange(None, None))] == [
        ">= 2.0.0 and < 2.5.0",
        "< 2",
        "any version",
    ]
