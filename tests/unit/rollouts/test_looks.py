"""When devices are looked at: everybody within the period, never more than a pass may, no burst after an update."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fwctl.rollouts.looks import AHEAD, SPREAD, Contact, Rhythm, lot, next_look, sweep_due

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = Rhythm(timedelta(days=1), timedelta(minutes=30))


def contact(device: str, ago: timedelta = timedelta(), misses: int = 0, not_before: datetime | None = None) -> Contact:
    return Contact(device, NOW - ago, misses, not_before)


contacts = st.builds(
    contact,
    st.text("abc0123", min_size=1, max_size=8),
    st.integers(0, 200_000).map(lambda seconds: timedelta(seconds=seconds)),
    st.integers(0, 12),
    st.none() | st.integers(-90_000, 90_000).map(lambda seconds: NOW + timedelta(seconds=seconds)),
)


def passes(fleet: dict[str, datetime], rhythm: Rhythm, periods: float) -> tuple[list[int], timedelta]:
    """Run passes over devices that all answer; return how many each looked at, and the longest time unseen."""
    now, counts, longest = NOW, list[int](), timedelta()
    for _ in range(int(periods * (rhythm.period / rhythm.interval))):
        now += rhythm.interval
        seen = [Contact(device, tried, 0, None) for device, tried in fleet.items()]
        due = sweep_due(seen, rhythm, now, most=rhythm.most(len(fleet)))
        longest = max([longest, *(now - fleet[device] for device in due)])
        fleet.update(dict.fromkeys(due, now))
        counts.append(len(due))
    assert max(now - tried for tried in fleet.values()) <= longest
    return counts, longest


@settings(max_examples=8, deadline=None)
@given(st.text("xyz", max_size=6), st.integers(1, 600), st.sampled_from([timedelta(minutes=30), timedelta(hours=2)]))
@example("unit", 1200, timedelta(minutes=30))
def test_after_an_update_of_everything_everybody_is_seen_within_the_period_and_without_a_burst(
    prefix: str, devices: int, interval: timedelta
) -> None:
    rhythm = replace(DAY, interval=interval)
    counts, longest = passes({f"{prefix}-{number}": NOW for number in range(devices)}, rhythm, periods=3)
    even = devices * (interval / rhythm.period)
    assert max(counts) <= AHEAD * even / SPREAD + 12
    assert longest <= rhythm.period + interval
    assert sum(counts) <= devices * 3 / (1 - SPREAD), "nobody is looked at much more often than asked for"


def test_a_fleet_that_was_updated_at_once_drifts_apart_over_the_periods() -> None:
    counts, _ = passes({f"unit-{number}": NOW for number in range(3000)}, DAY, periods=12)
    per_period = int(DAY.period / DAY.interval)
    peaks = [max(counts[start : start + per_period]) for start in range(0, len(counts), per_period)]
    assert peaks[0] > 250
    assert max(peaks[8:]) < 150, f"evenly they would be {3000 // per_period}"


@given(st.lists(contacts, max_size=60, unique_by=lambda one: one.device), st.integers(0, 40))
def test_a_pass_takes_the_longest_due_and_never_more_than_it_may(fleet: list[Contact], most: int) -> None:
    due = {one.device: DAY.due(one) for one in fleet}
    taken = sweep_due(fleet, DAY, NOW, most=most)
    rest = [moment for device, moment in due.items() if device not in taken and moment <= NOW]
    assert len(taken) <= most
    assert len(set(taken)) == len(taken)
    assert all(due[device] <= NOW for device in taken)
    assert all(due[device] <= moment for device in taken for moment in rest)
    assert not rest or len(taken) == most
    assert taken == sweep_due(reversed(fleet), DAY, NOW, most=most)


@given(st.lists(contacts, max_size=60, unique_by=lambda one: one.device))
def test_the_next_look_is_that_of_the_first_due_though_not_everybody_is_read(fleet: list[Contact]) -> None:
    answering = sorted((one._replace(misses=0) for one in fleet), key=lambda one: one.tried_at)
    assert next_look(iter(answering), DAY) == min(map(DAY.due, answering), default=None)


def test_the_next_look_is_found_in_a_large_fleet_by_reading_its_beginning() -> None:
    read = Counter[str]()

    def fleet() -> object:
        for number in range(100_000):
            read["devices"] += 1
            yield contact(f"unit-{number}", timedelta(seconds=(100_000 - number) * 0.8))

    assert next_look(fleet(), DAY) is not None  # type: ignore[arg-type]
    assert read["devices"] < 5000


def test_a_device_that_does_not_answer_is_tried_again_soon_then_ever_more_seldom() -> None:
    waits = [DAY.due(contact("a", misses=misses)) - NOW for misses in range(1, 9)]
    assert waits[:4] == [timedelta(hours=1), timedelta(hours=2), timedelta(hours=4), timedelta(hours=8)]
    assert waits[5:] == [DAY.due(contact("a")) - NOW] * 3, "as often as those that answer, at the least"


def test_whoever_works_on_a_device_says_when_it_may_be_contacted_again() -> None:
    later = NOW + timedelta(hours=5)
    assert DAY.due(contact("a", timedelta(days=3), not_before=later)) == later
    assert DAY.due(contact("a", timedelta(days=3), not_before=NOW - timedelta(days=9))) < NOW


@given(st.integers(0, 10**6), st.integers(1, 5000))
def test_looks_wait_for_each_other_less_than_a_pass_interval(seconds: int, interval: int) -> None:
    rhythm, due = Rhythm(timedelta(days=1), timedelta(seconds=interval)), NOW + timedelta(seconds=seconds)
    together = rhythm.together(due)
    assert due <= together < due + rhythm.interval
    assert together.timestamp() % interval == 0
    assert rhythm.together(together) == together


@given(st.text(max_size=20), st.integers(0, 10**9))
def test_a_lot_is_a_part_of_one_and_drawn_from_the_name_and_the_time_alone(device: str, seconds: int) -> None:
    moment = NOW + timedelta(seconds=seconds)
    assert 0 <= lot(device, moment) <= 1
    assert lot(device, moment) == lot(device, moment.astimezone(timezone(timedelta(hours=2))))


def test_what_one_pass_may_begin_with_follows_the_size_of_the_fleet() -> None:
    often = Rhythm(timedelta(days=1), timedelta(minutes=5))
    assert [often.most(number) for number in (0, 50, 1200, 100_000)] == [100, 100, 100, 8334]
    assert replace(often, interval=timedelta(hours=12)).most(1200) == 4800, "a pass that comes seldom takes them all"
    assert often.allowance(100_000, timedelta(minutes=10)) == 3 * 8334
