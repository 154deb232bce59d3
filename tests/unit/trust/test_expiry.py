"""What ends when, and how urgent that is: one pure judgement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fwctl.trust.expiry import Thing, as_json, ending, expiring, wanted

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


def thing(left: timedelta, *, life: timedelta | None = None, rollout: str = "") -> Thing:
    end = NOW + left
    return Thing("root", end, "fwctl trust renew", rollout, end - life if life else None)


@pytest.mark.parametrize(
    ("left", "level", "days"),
    [
        (31 * DAY, "ok", 31),
        (30 * DAY + SECOND, "ok", 30),
        (30 * DAY, "notice", 30),
        (14 * DAY + SECOND, "notice", 14),
        (14 * DAY, "warning", 14),
        (7 * DAY + SECOND, "warning", 7),
        (7 * DAY, "critical", 7),
        (SECOND, "critical", 0),
        (timedelta(), "expired", 0),
        (-SECOND, "expired", -1),
    ],
)
def test_levels_change_at_30_14_and_7_days_and_at_the_end(left: timedelta, level: str, days: int) -> None:
    (found,) = expiring([thing(left)], NOW)
    assert (found.level, found.days) == (level, days)


def test_what_lives_for_weeks_warns_of_nobody_in_the_first_half_of_its_life() -> None:
    month, day = 30 * DAY, DAY
    assert [one.level for one in expiring([thing(30 * DAY, life=month), thing(16 * DAY, life=month)], NOW)] == [
        "ok"
    ] * 2
    assert expiring([thing(14 * DAY, life=month)], NOW)[0].level == "warning"
    assert expiring([thing(day, life=day)], NOW)[0].level == "ok"
    assert expiring([thing(day / 3, life=day)], NOW)[0].level == "critical"
    assert expiring([thing(-SECOND, life=day)], NOW)[0].level == "expired"


def test_what_ends_first_comes_first_and_only_what_ends_soon_needs_somebody() -> None:
    things = [thing(400 * DAY), thing(3 * DAY), thing(20 * DAY)]
    found = expiring(things, NOW)
    assert [one.days for one in found] == [3, 20, 400]
    assert [one.level for one in ending(found)] == ["critical", "notice"]
    assert as_json(found)[0] == {
        "what": "root",
        "expires": "2026-06-04T12:00:00Z",
        "days": 3,
        "level": "critical",
        "renew": "fwctl trust renew",
    }


def test_nobody_renews_approvals_of_a_rollout_that_is_complete() -> None:
    things = [thing(DAY), thing(DAY, rollout="dev/done"), thing(DAY, rollout="dev/open")]
    assert [one.rollout for one in wanted(things, {"dev/done"}.__contains__)] == ["", "dev/open"]
