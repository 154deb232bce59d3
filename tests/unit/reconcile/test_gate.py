"""How many visits go on at once: nobody is lost at the gate, and its width follows the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.reconcile.gate import BUSY, CALM, LEAST, MOST, START, Gate, Lanes


async def _inside(gate: Gate, log: list[str], name: str, leave: asyncio.Event) -> None:
    async with gate:
        log.append(name)
        await leave.wait()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_gate_lets_in_as_many_as_it_is_wide_and_the_rest_in_their_order() -> None:
    gate, log, leave = Gate(2), list[str](), asyncio.Event()
    tasks = [asyncio.create_task(_inside(gate, log, name, leave)) for name in "abcd"]
    await _settle()
    assert (log, gate.inside, gate.crowded) == (["a", "b"], 2, True)
    leave.set()
    await asyncio.gather(*tasks)
    assert (log, gate.inside, gate.crowded) == (["a", "b", "c", "d"], 0, False)


async def test_a_wider_gate_lets_in_who_waits_and_a_narrower_one_throws_nobody_out() -> None:
    gate, log, leave = Gate(1), list[str](), asyncio.Event()
    tasks = [asyncio.create_task(_inside(gate, log, name, leave)) for name in "abc"]
    await _settle()
    gate.resize(3)
    await _settle()
    assert log == ["a", "b", "c"]
    gate.resize(1)
    assert gate.inside == 3
    leave.set()
    await asyncio.gather(*tasks)
    assert gate.inside == 0


@pytest.mark.parametrize("late", [False, True, None], ids=["waiting", "let-in-just-before", "let-in-just-after"])
async def test_who_is_cancelled_at_the_gate_takes_nobodys_place_along(late: bool | None) -> None:
    gate, log, first, second = Gate(1), list[str](), asyncio.Event(), asyncio.Event()
    holder = asyncio.create_task(_inside(gate, log, "holder", first))
    await _settle()
    waiting = asyncio.create_task(_inside(gate, log, "cancelled", second))
    last = asyncio.create_task(_inside(gate, log, "last", second))
    await _settle()
    if late:
        gate.resize(2)  # its turn has come, but it has not run yet
    waiting.cancel()
    if late is None:
        gate.resize(2)  # its place is passed on before it has noticed
    first.set()
    await _settle()
    second.set()
    await asyncio.gather(holder, last)
    assert waiting.cancelled()
    assert (log, gate.inside, gate.crowded) == (["holder", "last"], 0, False)


def _adapted(measurements: Sequence[float], *, crowded: bool) -> list[int]:
    async def run() -> list[int]:
        lanes, leave, log = Lanes(), asyncio.Event(), list[str]()
        tasks = [
            asyncio.create_task(_inside(lanes.talking, log, str(at), leave))
            for at in range(MOST + 10 if crowded else 0)
        ]
        await _settle()
        found = []
        for late in measurements:
            lanes.adapt(late, 0.1, ())
            found.append(lanes.talking.limit)
        leave.set()
        await asyncio.gather(*tasks)
        return found

    return asyncio.run(run())


def test_the_lanes_grow_while_somebody_waits_and_the_loop_is_on_time() -> None:
    assert _adapted([0.0] * 80, crowded=True)[-1] == MOST


async def test_the_lanes_stay_as_they_are_while_computing_is_what_takes_the_time() -> None:
    lanes, leave, log = Lanes(), asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(_inside(lanes.talking, log, str(at), leave)) for at in range(2 * START)]
    await _settle()
    lanes.adapt(0.0, 0.9, [0.01] * 10)
    assert lanes.talking.limit == START
    lanes.adapt(0.0, 0.2, [0.01] * 10)
    assert lanes.talking.limit > START
    leave.set()
    await asyncio.gather(*tasks)


def test_the_lanes_stay_as_they_are_while_nobody_waits() -> None:
    assert _adapted([0.0] * 3, crowded=False) == [START] * 3


def test_the_lanes_shrink_while_the_loop_is_late_but_never_close() -> None:
    assert _adapted([BUSY + 0.01] * 30, crowded=True)[-1] == LEAST


def test_between_calm_and_busy_the_lanes_stay() -> None:
    assert _adapted([(CALM + BUSY) / 2] * 3, crowded=True) == [START] * 3


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=60))
def test_whatever_is_measured_the_lanes_stay_within_their_bounds(measurements: list[float]) -> None:
    assert all(LEAST <= limit <= MOST for limit in _adapted(measurements, crowded=True))


def test_handshakes_that_take_a_multiple_of_the_best_time_narrow_the_lanes_and_slow_links_alone_do_not() -> None:
    lanes = Lanes()
    lanes.adapt(0.0, 0.1, [0.9] * 10)  # a mobile network, from the start
    assert lanes.talking.limit == START
    lanes.adapt(0.0, 0.1, [0.01] * 10)
    lanes.adapt(0.0, 0.1, [0.9] * 10)  # the same time where handshakes can be quick: they wait for each other
    assert lanes.talking.limit < START


def test_what_fails_to_connect_says_nothing_about_the_width() -> None:
    lanes = Lanes()
    lanes.adapt(0.0, 0.1, [0.01] * 10)
    with pytest.raises(ConnectionError), lanes.timed():
        raise ConnectionError
    lanes.adapt(0.0, 0.1, [5.0])  # one that took long is no sample
    assert lanes.talking.limit == START
