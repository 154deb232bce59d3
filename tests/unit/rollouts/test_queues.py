"""Moments and turns: who is handed out when, in which order, and that what does not hold any more is forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fwctl.rollouts.queues import Dues, Lane, Timers
from tests.unit.rollouts.fleets import NOW


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 20)), st.integers(0, 20))))
def test_timers_hand_out_the_last_moment_set_for_each_and_each_once(steps: list[tuple[int, int | None, int]]) -> None:
    timers, wanted = Timers(), dict[int, datetime]()
    for seat, moment, now in steps:
        timers.set(seat, None if moment is None else at(moment))
        wanted.pop(seat, None)
        if moment is not None:
            wanted[seat] = at(moment)
        due = {one for one, when in wanted.items() if when <= at(now)}
        found = timers.due(at(now))
        assert (len(found), set(found)) == (len(due), due)
        wanted = {one: when for one, when in wanted.items() if one not in due}
        assert timers.next() == min(wanted.values(), default=None)


def test_timers_that_are_put_off_again_and_again_come_only_at_the_end() -> None:
    timers = Timers()
    for number in range(10_000):
        timers.set(7, at(3600 + number))
    assert timers.due(at(3600 + 9_998)) == []
    assert timers.due(at(3600 + 9_999)) == [7]


def test_stragglers_are_due_too_but_told_apart() -> None:
    dues = Dues()
    dues.set(1, at(5), late=True)
    dues.set(2, at(9))
    assert dues.next() == (at(5), at(9))
    dues.set(1, at(7))
    assert dues.next() == (at(7), at(7)), "it is a straggler no more"
    dues.set(2, None)
    assert (dues.due(at(8)), dues.next()) == ([1], (None, None))


def taken(lane: Lane, candidates: set[int], count: int) -> list[int]:
    found = []
    for seat in lane.candidates(lambda seat: seat in candidates):
        found.append(seat)
        if len(found) == count:
            break
    lane.restore()
    return found


def test_a_lane_yields_candidates_in_order_also_those_who_come_back() -> None:
    lane, candidates = Lane(10, 20), {11, 12, 15, 18}
    assert taken(lane, candidates, 3) == [11, 12, 15]
    assert taken(lane, candidates, 2) == [11, 12], "who was chosen and not visited is chosen again"
    candidates -= {11, 12, 15}
    assert taken(lane, candidates, 2) == [18]
    candidates |= {12}
    lane.push(12)
    lane.push(12)
    assert taken(lane, candidates, 9) == [12, 18]
    assert taken(lane, set(), 9) == []
    assert not lane, "everybody has been passed"


def test_who_waits_for_a_moment_comes_back_into_the_lane_then() -> None:
    lane = Lane(0, 3)
    assert taken(lane, {2}, 3) == [2]
    lane.dues.set(0, at(5))
    lane.tick(at(4))
    assert taken(lane, {0, 2}, 3) == [2], "not yet"
    lane.tick(at(5))
    assert taken(lane, {0, 2}, 3) == [0, 2]
