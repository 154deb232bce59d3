"""What validation says of windows, at its place in the manifest."""

from __future__ import annotations

import pytest

from tests.unit.rollouts.fleets import check_plans, files, repo_of

BERLIN = 'timeZone: "Europe/Berlin"'


def findings(*lines: str) -> list[tuple[str, str, str]]:
    sources = files(["a", "b"], ["strategy: {type: Direct}", *lines])
    return [(one.code, one.field, one.message) for one in check_plans(repo_of(sources), sources)]


def allow(span: str) -> str:
    return f"window: {{allow: [{{{span}}}]}}"


def test_a_good_window_is_no_finding() -> None:
    assert findings(allow(f'cron: "0 1 * * *", duration: 4h, {BERLIN}')) == []


WRONG = {
    "a day that does not exist": (
        'cron: "0 1 30 2 *", duration: 4h',
        ("E_WINDOW_NEVER", "spec.window.allow[0].cron", "`0 1 30 2 *` names a day that no month has"),
    ),
    "no length": (
        'cron: "0 1 * * *", duration: 0s',
        ("E_WINDOW_SPAN", "spec.window.allow[0].duration", "a span lasts longer than nothing, and at most 366 days"),
    ),
    "longer than a year": (
        'cron: "0 1 * * *", duration: 400d',
        ("E_WINDOW_SPAN", "spec.window.allow[0].duration", "a span lasts longer than nothing, and at most 366 days"),
    ),
    "a zone that does not exist": (
        'cron: "0 1 * * *", duration: 4h, timeZone: "Europe/Atlantis"',
        ("E_TIME_ZONE", "spec.window.allow[0].timeZone", "the IANA database has no zone `Europe/Atlantis`"),
    ),
    "shorter than a pass": (
        'cron: "0 1 * * *", duration: 1m',
        (
            "W_WINDOW_SHORT",
            "spec.window.allow[0].duration",
            "shorter than the pass interval (0:05:00): a pass may miss it",
        ),
    ),
    "shorter than a device is given": (
        'cron: "0 1 * * *", duration: 6m',
        (
            "W_WINDOW_SHORT",
            "spec.window.allow[0].duration",
            "shorter than `timeoutPerDevice` (0:10:00): who starts late ends outside it",
        ),
    ),
    "the zone of devices that have none": (
        'cron: "0 1 * * *", duration: 4h, timeZone: device',
        ("W_WINDOW_ZONE", "spec.window", "2 of 2 devices have no time zone: this window is in UTC for them"),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_at_its_place(what: str) -> None:
    span, wanted = WRONG[what]
    assert findings(allow(span)) == [wanted]


@pytest.mark.parametrize(
    "window",
    [
        '{allow: [{cron: "0 1 * * *", duration: 1h}], deny: [{cron: "0 1 * * *", duration: 1h}]}',
        '{deny: [{cron: "* * * * *", duration: 1m}]}',
        '{allow: [{cron: "0 1 * * 1", duration: 1h}], deny: [{cron: "0 0 * * 1", duration: 1d}]}',
        '{allow: [{cron: "0 1 * * *", duration: 1h, timeZone: device}], deny: [{cron: "0 0 * * *", duration: 2h}]}',
    ],
)
def test_a_window_that_is_denied_wholly_never_opens(window: str) -> None:
    found = [one for one in findings(f"window: {window}") if one[0] != "W_WINDOW_ZONE"]
    assert [(code, field) for code, field, _ in found] == [("E_WINDOW_NEVER", "spec.window")]


def test_a_window_that_opens_once_in_four_years_opens() -> None:
    assert findings(allow('cron: "0 0 29 2 *", duration: 1d')) == []


TWO_MINUTES = '{cron: "*/2 * * * *", duration: 1m}'


def test_a_window_that_begins_too_often_is_refused_before_anybody_looks_through_its_years() -> None:
    """Four years of a hundred such spans take minutes, in validation and in each pass."""
    spans = ", ".join([TWO_MINUTES] * 50)
    message = "the spans of this window begin 72,000 times on one day; at most 144 are allowed"
    assert findings(f"window: {{allow: [{spans}], deny: [{spans}]}}") == [("E_WINDOW_SPAN", "spec.window", message)]


def test_spans_that_touch_begin_once_a_day() -> None:
    assert findings(allow('cron: "* * * * *", duration: 10m')) == []
    assert findings(allow('cron: "*/10 * * * *", duration: 9m')) == [
        (
            "W_WINDOW_SHORT",
            "spec.window.allow[0].duration",
            "shorter than `timeoutPerDevice` (0:10:00): who starts late ends outside it",
        )
    ]
