"""When a window is open, in every kind of zone: as a walk over every minute finds it, and by hand where it matters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.manifests.models.rollout_parts import Span, Window
from fwctl.rollouts.windows.calendar import NEAR as SOON
from fwctl.rollouts.windows.calendar import Calendar, known_zone, local
from fwctl.rollouts.windows.recurring import Interval, complement, occurrences, union

BERLIN, NEW_YORK, LORD_HOWE, KOLKATA = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"
MINUTE = timedelta(minutes=1)


def span(cron: str, duration: str = "1h", zone: str = "UTC") -> dict[str, str]:
    return {"cron": cron, "duration": duration, "timeZone": zone}


def window(*, allow: list[dict[str, str]] | None = None, deny: list[dict[str, str]] | None = None) -> Window:
    return Window.model_validate({"allow": allow or [], "deny": deny or []})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def walls(calendar: Calendar, now: datetime, zone: str, count: int = 2) -> list[str]:
    """Return the next spans as a clock on the wall of a zone shows them."""
    return [f"{local(one.begin, zone)} to {local(one.end, zone)}" for one in calendar.spans(now, zone, count)]


# -- the switch of the clocks, by hand ---------------------------------------------------------------------------------

SWITCHES = {
    "a start in the skipped hour is taken at the first minute after it": (
        span("30 2 * * *", "1h", BERLIN),
        "2026-03-29T00:00",
        "Sun 2026-03-29 03:00 CEST to Sun 2026-03-29 04:00 CEST",
    ),
    "a start in the doubled hour is taken the first time": (
        span("30 2 * * *", "30m", BERLIN),
        "2026-10-24T22:00",
        "Sun 2026-10-25 02:30 CEST to Sun 2026-10-25 02:00 CET",
    ),
    "a span across the spring switch lasts as long as always": (
        span("0 1 * * *", "4h", BERLIN),
        "2026-03-28T22:00",
        "Sun 2026-03-29 01:00 CET to Sun 2026-03-29 06:00 CEST",
    ),
    "a span across the autumn switch lasts as long as always": (
        span("0 1 * * *", "4h", BERLIN),
        "2026-10-24T22:00",
        "Sun 2026-10-25 01:00 CEST to Sun 2026-10-25 04:00 CET",
    ),
    "New York skips": (
        span("15 2 * * *", "1h", NEW_YORK),
        "2026-03-08T05:00",
        "Sun 2026-03-08 03:00 EDT to Sun 2026-03-08 04:00 EDT",
    ),
    "New York doubles": (
        span("15 1 * * *", "2h", NEW_YORK),
        "2026-11-01T04:00",
        "Sun 2026-11-01 01:15 EDT to Sun 2026-11-01 02:15 EST",
    ),
    "Lord Howe skips half an hour": (
        span("15 2 * * *", "1h", LORD_HOWE),
        "2026-10-03T14:00",
        "Sun 2026-10-04 02:30 +11 to Sun 2026-10-04 03:30 +11",
    ),
    "Lord Howe doubles half an hour": (
        span("45 1 * * *", "1h", LORD_HOWE),
        "2026-04-04T13:00",
        "Sun 2026-04-05 01:45 +11 to Sun 2026-04-05 02:15 +1030",
    ),
    "Kolkata has no switch": (
        span("30 2 * * *", "1h", KOLKATA),
        "2026-03-28T18:30",
        "Sun 2026-03-29 02:30 IST to Sun 2026-03-29 03:30 IST",
    ),
}


@pytest.mark.parametrize("what", SWITCHES)
def test_the_switch_of_the_clocks(what: str) -> None:
    given_span, since, wanted = SWITCHES[what]
    found = walls(Calendar(window(allow=[given_span])), utc(since), given_span["timeZone"])
    assert found[0] == wanted
    assert found[1][4:14] > found[0][4:14], "the next one begins on the next day"


def test_a_start_in_the_doubled_hour_does_not_come_again_when_asked_within_it() -> None:
    """The second 02:15 lies after the first 02:30."""
    calendar = Calendar(window(allow=[span("30 2 * * *", "5m", BERLIN)]))
    second = utc("2026-10-25T01:15")
    assert local(second, BERLIN) == "Sun 2026-10-25 02:15 CET"
    assert walls(calendar, second, BERLIN, 1) == ["Mon 2026-10-26 02:30 CET to Mon 2026-10-26 02:35 CET"]


def test_a_star_follows_the_clock() -> None:
    """What comes twice happens twice, what is skipped does not happen: Debian's rule for `*`."""
    hourly = Calendar(window(allow=[span("*/30 2 * * *", "10m", BERLIN)]))
    begins = [local(one.begin, BERLIN) for one in hourly.spans(utc("2026-10-24T22:00"), count=5)]
    assert begins == [
        "Sun 2026-10-25 02:00 CEST",
        "Sun 2026-10-25 02:30 CEST",
        "Sun 2026-10-25 02:00 CET",
        "Sun 2026-10-25 02:30 CET",
        "Mon 2026-10-26 02:00 CET",
    ]
    spring = [local(one.begin, BERLIN) for one in hourly.spans(utc("2026-03-28T22:00"), count=1)]
    assert spring == ["Mon 2026-03-30 02:00 CEST"]


def test_a_day_that_the_switch_made_longer_is_not_covered_by_a_day_of_24_hours() -> None:
    whole_sunday = Calendar(window(deny=[span("0 0 * * 0", "1d", BERLIN)]))
    last = utc("2026-10-25T22:30")
    assert local(last, BERLIN) == "Sun 2026-10-25 23:30 CET"
    assert whole_sunday.open_at(last)


# -- what joins and what wins ------------------------------------------------------------------------------------------


def test_allowed_spans_that_touch_or_overlap_are_one() -> None:
    calendar = Calendar(window(allow=[span("0 1 * * *", "2h"), span("0 3 * * *", "1h"), span("30 3 * * *", "1h")]))
    assert calendar.spans(utc("2026-05-01T00:00"), count=1) == [
        Interval(utc("2026-05-01T01:00"), utc("2026-05-01T04:30"))
    ]


def test_deny_wins() -> None:
    calendar = Calendar(window(allow=[span("0 1 * * *", "4h")], deny=[span("0 2 * * *", "1h")]))
    assert calendar.spans(utc("2026-05-01T00:00"), count=2) == [
        Interval(utc("2026-05-01T01:00"), utc("2026-05-01T02:00")),
        Interval(utc("2026-05-01T03:00"), utc("2026-05-01T05:00")),
    ]


def test_without_allow_it_is_open_but_for_what_is_denied() -> None:
    calendar = Calendar(window(deny=[span("0 2 * * *", "1h")]))
    assert calendar.spans(utc("2026-05-01T02:30"), count=1) == [
        Interval(utc("2026-05-01T03:00"), utc("2026-05-02T02:00"))
    ]
    assert calendar.open_at(utc("2026-05-01T03:00"))
    assert not calendar.open_at(utc("2026-05-01T02:59"))


def test_of_two_windows_both_must_be_open() -> None:
    night, weekend = window(allow=[span("0 1 * * *", "4h")]), window(allow=[span("0 0 * * 6", "2d")])
    calendar = Calendar(night, weekend)
    assert walls(calendar, utc("2026-05-01T12:00"), "UTC") == [
        "Sat 2026-05-02 01:00 UTC to Sat 2026-05-02 05:00 UTC",
        "Sun 2026-05-03 01:00 UTC to Sun 2026-05-03 05:00 UTC",
    ]


def test_a_window_in_the_zone_of_the_device_opens_at_each_ones_own_time() -> None:
    calendar = Calendar(window(allow=[span("0 1 * * *", "1h", "device")]))
    now = utc("2026-05-01T00:30")
    assert calendar.local
    assert not calendar.open_at(now)
    assert calendar.phase(now).until == utc("2026-05-01T01:00"), "UTC for one that has none"
    assert calendar.phase(now, BERLIN).until == utc("2026-05-01T23:00")
    assert calendar.phase(now, NEW_YORK).until == utc("2026-05-01T05:00")
    assert calendar.phase(now, "Atlantis/Capital").until == utc("2026-05-01T01:00")
    assert known_zone("Atlantis/Capital") == "UTC"


def test_why_it_is_closed_is_told_in_the_windows_own_zone() -> None:
    calendar = Calendar(window(allow=[span("0 1 * * *", "4h", BERLIN)]))
    closed = calendar.closed(utc("2026-11-23T18:40"))
    assert closed is not None
    assert closed.reason == "outside its window; opens Tue 2026-11-24 01:00 CET"
    assert closed.opens == utc("2026-11-24T00:00")


def test_a_window_that_never_opens_says_so_and_ends() -> None:
    never = Calendar(window(allow=[span("0 0 30 2 *", "1d")]))
    closed = never.closed(utc("2026-01-01T00:00"))
    assert closed is not None
    assert closed.reason == "outside its window; does not open within four years"
    assert closed.opens is None
    assert never.phase(utc("2026-01-01T00:00")).until is None


def test_a_rare_day_is_found() -> None:
    leap = Calendar(window(allow=[span("0 0 29 2 *", "1d")]))
    assert leap.phase(utc("2026-01-01T00:00")).until == utc("2028-02-29T00:00")


def test_one_that_is_always_open_has_no_next_change() -> None:
    always = Calendar(window(allow=[span("* * * * *", "1m", BERLIN)]))
    now = utc("2026-01-01T00:00")
    assert always.open_at(now)
    assert always.lasting(now).until == now + SOON, "nobody looks through four years in every zone for that"
    assert always.phase(utc("2026-01-01T00:00")).until is None


# -- against a walk over every minute ----------------------------------------------------------------------------------


@st.composite
def _crons(draw: st.DrawFn) -> str:
    minute = draw(st.sampled_from(["0", "30", "15,45", "59", "*", "*/20", "10-12"]))
    hour = draw(st.sampled_from(["0", "1", "2", "3", "1,2", "23", "*", "*/2", "2-4"]))
    return f"{minute} {hour} {draw(st.sampled_from(DAYS))}"


DAYS = ["* * *", "* * 0", "* * 6,7", "* 3,10 *", "29 3 *", "25 10 1", "*/2 * 0", "1-8 * *"]
SETS = {"*/20": {0, 20, 40}, "10-12": {10, 11, 12}, "2-4": {2, 3, 4}, "1-8": set(range(1, 9))}
"""what the fields above mean, written down by hand"""


def _has(field: str, value: int, *, first: int = 0) -> bool:
    if field in ("*", "*/2"):
        return field == "*" or (value - first) % 2 == 0
    return value in SETS.get(field, ()) or str(value) in field.split(",")


def _fires(cron: str, wall: datetime) -> bool:
    minute, hour, day, month, weekday = cron.split()
    of_month = _has(day, wall.day, first=1)
    of_week = _has(weekday, wall.isoweekday()) or _has(weekday, wall.isoweekday() % 7)
    on_day = (of_month and of_week) if "*" in day[0] + weekday[0] else (of_month or of_week)
    return on_day and _has(minute, wall.minute) and _has(hour, wall.hour) and _has(month, wall.month)


def _walk(cron: str, zone: ZoneInfo, since: datetime, until: datetime) -> Iterator[datetime]:
    """Yield when an expression fires, by looking at the clock on the wall in every minute."""
    follows = any(field.startswith("*") for field in cron.split()[:2])
    highest, now = (since - MINUTE).astimezone(zone).replace(tzinfo=None), since
    while now < until:
        wall = now.astimezone(zone).replace(tzinfo=None, fold=0)
        if follows:
            fires = _fires(cron, wall)
        else:
            skipped = [highest + step * MINUTE for step in range(1, int((wall - highest) / MINUTE) + 1)]
            fires = any(_fires(cron, one) for one in skipped)  # nothing while the clock shows a time again
            highest = max(highest, wall)
        if fires:
            yield now
        now += MINUTE


NEAR = {
    BERLIN: ("2026-03-28T12:00", "2026-10-24T12:00"),
    NEW_YORK: ("2026-03-07T12:00", "2026-10-31T12:00"),
    LORD_HOWE: ("2026-04-04T02:00", "2026-10-03T02:00"),
    KOLKATA: ("2026-02-28T12:00", "2026-12-31T12:00"),
    "America/Havana": ("2026-03-07T12:00", "2026-10-31T12:00"),  # switches at midnight
    "UTC": ("2026-02-28T00:00", "2026-12-31T00:00"),
}


@settings(max_examples=60, deadline=None)
@given(
    cron=_crons(),
    place=st.sampled_from([(zone, since) for zone, moments in NEAR.items() for since in moments]),
    minutes=st.sampled_from([1, 7, 60, 150, 1440]),
)
def test_it_is_what_a_walk_over_every_minute_finds(cron: str, place: tuple[str, str], minutes: int) -> None:
    zone, since = place[0], utc(place[1])
    until, length = since + timedelta(days=2), timedelta(minutes=minutes)
    starts = list(_walk(cron, ZoneInfo(zone), since - length - timedelta(hours=3), until))
    wanted = list(union([[Interval(one, one + length) for one in starts]], since, until))
    one = Span.model_validate(span(cron, f"{minutes}m", zone))
    assert list(occurrences(one, zone, since, until)) == wanted


@settings(max_examples=40, deadline=None)
@given(
    cron=st.sampled_from(["30 2 * * *", "15 1,2 * * *", "0 0 * * 0", "0 3 1-8 * 0", "59 23 * 3,10 *"]),
    zone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, KOLKATA]),
    day=st.integers(0, 1000),
)
def test_a_time_of_day_begins_when_cronsim_says(cron: str, zone: str, day: int) -> None:
    since = utc("2026-01-01T00:00") + timedelta(days=day)
    begin = since.astimezone(ZoneInfo(zone)).replace(hour=12, minute=0)
    wanted = [one.astimezone(UTC) for one in islice(CronSim(cron, begin), 3)]
    one = Span.model_validate(span(cron, "1m", zone))
    found = occurrences(one, zone, begin.astimezone(UTC), begin.astimezone(UTC) + timedelta(days=400))
    assert [interval.begin for interval in islice(found, 3)] == wanted


SPANS = st.lists(
    st.builds(span, _crons(), st.sampled_from(["1m", "45m", "3h", "1d"]), st.sampled_from([*NEAR, "device"])),
    max_size=2,
)


@settings(max_examples=60, deadline=None)
@given(allow=SPANS, deny=SPANS, place=st.sampled_from([(zone, since) for zone in NEAR for since in NEAR[zone]]))
def test_a_phase_and_the_spans_agree_with_allow_and_deny(
    allow: list[dict[str, str]], deny: list[dict[str, str]], place: tuple[str, str]
) -> None:
    if not allow and not deny:
        return
    zone, now = place[0], utc(place[1])
    calendar, until = Calendar(window(allow=allow, deny=deny)), now + timedelta(hours=30)

    def covered(spans: list[dict[str, str]], moment: datetime) -> bool:
        models = [Span.model_validate(one) for one in spans]
        zones = [zone if one.time_zone == "device" else one.time_zone for one in models]
        return any(
            any(True for _ in occurrences(one, where, moment, moment + MINUTE))
            for one, where in zip(models, zones, strict=True)
        )

    at, seen = now, []
    while at < until:
        is_open = (not allow or covered(allow, at)) and not covered(deny, at)
        seen.append((at, is_open))
        at += 17 * MINUTE
    changes = [calendar.phase(at, zone) for at, _ in seen]
    assert [phase.is_open for phase in changes] == [is_open for _, is_open in seen]
    for (at, _), phase in zip(seen, changes, strict=True):
        assert phase.until is None or phase.until > at
    fresh = Calendar(window(allow=allow, deny=deny))
    phase = fresh.phase(now, zone)
    if phase.until is not None:
        assert fresh.phase(phase.until - MINUTE, zone).is_open == phase.is_open
        assert Calendar(window(allow=allow, deny=deny)).open_at(phase.until, zone) != phase.is_open


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=8))
def test_what_a_set_leaves_and_the_set_are_everything_once(pairs: list[tuple[int, int]]) -> None:
    since, until = utc("2026-01-01T00:10"), utc("2026-01-01T00:50")
    base = utc("2026-01-01T00:00")
    given_set = sorted(Interval(base + a * MINUTE, base + (a + b) * MINUTE) for a, b in pairs)
    inside = list(union([given_set], since, until))
    outside = list(complement(inside, since, until))
    both = sorted([*inside, *outside])
    assert both[0].begin == since
    assert both[-1].end == until
    assert all(one.end == other.begin for one, other in pairwise(both))
    assert all(any(one.begin <= i.begin < one.end for one in given_set) for i in inside)


@settings(max_examples=60, deadline=None)
@given(
    cron=_crons(),
    zone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE]),
    minutes=st.sampled_from([1, 60, 1440, 20 * 1440]),
    hours=st.lists(st.integers(0, 400 * 24), min_size=1, max_size=4).map(sorted),
    deny=st.booleans(),
)
def test_how_long_it_lasts_at_least_is_never_longer_than_it_lasts(
    cron: str, zone: str, minutes: int, hours: list[int], *, deny: bool
) -> None:
    spans = [span(cron, f"{minutes}m", "device")]
    given = window(deny=spans) if deny else window(allow=spans)
    kept = Calendar(given)
    for hour in hours:
        now = utc("2026-01-01T00:00") + timedelta(hours=hour)
        least, whole = kept.lasting(now, zone), Calendar(given).phase(now, zone)
        assert (least.is_open, kept.closed(now, zone)) == (whole.is_open, Calendar(given).closed(now, zone))
        if least.until != whole.until:
            assert least.until is not None
            assert least.is_open
            assert now < least.until < (whole.until or utc("2099-01-01T00:00"))
