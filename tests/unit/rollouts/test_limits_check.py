"""Limits that cannot be kept, or contradict each other, are found where they stand, before anybody approves them."""

from __future__ import annotations

import pytest

from tests.unit.rollouts.fleets import check_plans, files, repo_of


@pytest.mark.parametrize(
    ("line", "code", "place", "words"),
    [
        (
            "disruption: {groupBy: [site], maxUnavailable: 40%}",
            "E_LIMIT_IMPOSSIBLE",
            "disruption",
            "40% of the 2 devices",
        ),
        ("ramp: {basePerMinute: 9000, increaseEvery: {reached: 5}}", "E_LIMIT_IMPOSSIBLE", "ramp", "begins at 9000"),
        ("bytesPerMinutePerSite: 0B", "E_LIMIT_IMPOSSIBLE", "bytesPerMinutePerSite", "0 bytes"),
        ("disruption: {groupBy: [site], maxUnavailable: 1}", "W_LIMIT_PLACE", "disruption", "2 devices have no site"),
    ],
)
def test_a_limit_that_cannot_be_is_found_where_it_stands(line: str, code: str, place: str, words: str) -> None:
    sources = files(["a", "b"], ["strategy: {type: Direct}", f"limits: {{{line}}}"])
    found = {one.code: one for one in check_plans(repo_of(sources), sources)}
    assert code in found
    assert words in found[code].message
    assert found[code].place.line == len(sources["rollouts/dev/sensors.yaml"].decode().splitlines())
    assert place in str(found[code].message) + sources["rollouts/dev/sensors.yaml"].decode()


@pytest.mark.parametrize("share", ["50%", "100%", "1"])
def test_a_share_that_allows_somebody_is_no_error(share: str) -> None:
    sources = files(
        ["a", "b"],
        ["strategy: {type: Direct}", f"limits: {{disruption: {{groupBy: [site], maxUnavailable: {share}}}}}"],
    )
    assert "E_LIMIT_IMPOSSIBLE" not in {one.code for one in check_plans(repo_of(sources), sources)}


def test_a_rate_that_takes_more_than_a_month_is_a_warning_with_the_time() -> None:
    names = [f"d{number}" for number in range(40)]
    line = "limits: {bytesPerMinutePerSite: 1B, maxPerMinute: 1}"
    sources = files(names, ["strategy: {type: Direct}", line])
    sources["firmware/sensor-v1/2.5.0.yaml"] = sources["firmware/sensor-v1/2.5.0.yaml"].replace(
        b"length: 10}", b"length: 200000}"
    )
    (found,) = [one for one in check_plans(repo_of(sources), sources) if one.code == "W_LIMIT_SLOW"]
    assert found.message == "with this limit the rollout takes at least 5556 days"


def test_a_jitter_as_long_as_the_window_is_a_warning() -> None:
    window = 'window: {allow: [{cron: "0 1 * * *", duration: 1h}]}'
    for jitter, expected in (("1h", True), ("59m", False)):
        sources = files(["a"], ["strategy: {type: Direct}", f"limits: {{jitter: {jitter}}}", window])
        codes = {one.code for one in check_plans(repo_of(sources), sources)}
        assert ("W_LIMIT_JITTER" in codes) is expected
