"""The kept board says in every round what judging everybody anew would say, and asks only for what has changed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.rollouts.actions import Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import Decision, decide, decide_on
from fwctl.rollouts.paths.stepping import NO_PATH
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.view import DeviceView, RolloutView, WaveView
from tests.unit.rollouts.fleets import NOW, plan_of
from tests.unit.rollouts.history import History
from tests.unit.rollouts.reference import Told, reference


def told(decision: Decision, now: datetime) -> Told:
    return Told(
        decision.actions,
        dict(decision.standings),
        decision.next_due,
        decision.wave_due,
        decision.holding,
        decision.counts,
        decision.soon(now),
    )


def comparable(plan: Plan, said: Told) -> Told:
    """Return what must be the same. When to ask again is not where a device waits for two things that come and go.

    The kept board looks at it when the one ends that it met first; nothing can be done before both have ended.
    """
    limits = plan.limits
    windows = [plan.spec.window, *(wave.window for wave in plan.waves)]
    two = any(windows) or bool(limits.disruption and limits.bytes_per_minute_per_site)
    return replace(said, next_due=None, soon=None) if two else said


@settings(deadline=None, max_examples=120)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_whatever_happens_the_kept_board_says_what_judging_everybody_anew_says(seed: int) -> None:
    history = History(random.Random(seed))
    board = Board(history.plan)
    for _ in range(25):
        changed = history.step()
        board.update(history.view, changed, history.now)
        kept = told(decide_on(board), history.now)
        assert comparable(history.plan, kept) == comparable(
            history.plan, reference(history.plan, history.view, history.now)
        )
        anew = told(decide(history.plan, history.view, history.now), history.now)
        assert comparable(history.plan, kept) == comparable(history.plan, anew)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_what_is_summed_up_is_what_going_through_everybody_finds(seed: int) -> None:
    history = History(random.Random(seed))
    board = Board(history.plan)
    for _ in range(15):
        changed = history.step()
        board.update(history.view, changed, history.now)
        for number, wave in enumerate(history.plan.all_waves):
            standings = [board[device] for device in wave.devices if device in board]
            assert board.counts.standing(number) == Counter(one.state for one in standings)
            for states in (("failed", "straggler", "retry"), ("in-flight",)):
                # Only a person can help who has no legal path, as with who has failed.
                lost = NO_PATH if "failed" in states else "-"
                there = [one for one in standings if one.state in states or one.rule == lost]
                assert board.first(states, 2)[number] == there[:2]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_nobody_stands_otherwise_before_the_moment_that_the_board_tells(seed: int) -> None:
    history = History(random.Random(seed))
    board, fresh = Board(history.plan), Board(history.plan)
    for _ in range(15):
        changed = history.step()
        board.update(history.view, changed, history.now)
        last = board.until - timedelta(seconds=1) if board.until else history.now + timedelta(days=300)
        assert last + timedelta(seconds=1) > history.now
        fresh.update(history.view, None, last)
        assert {one.device: (one.state, one.reason) for one in fresh.values()} == {
            one.device: (one.state, one.reason) for one in board.values()
        }


class Asked(dict[str, DeviceView]):
    """Devices that count how often somebody asks for one."""

    times = 0

    def get(self, key: str, default: object = None) -> DeviceView | None:  # type: ignore[override]
        self.times += 1
        return super().get(key)

    def asked(self) -> int:
        times, self.times = self.times, 0
        return times


SIZE, CHANGED = 20_000, 50


@dataclass
class Big:
    """A rollout of 20,000 devices in three waves, of which the first two have passed."""

    soak: int = 0
    now: datetime = NOW
    devices: Asked = field(default_factory=Asked)

    def __post_init__(self) -> None:
        names = [f"d{number:05}" for number in range(SIZE)]
        cuts = ((0, 200), (200, 2000), (2000, SIZE))
        waves = [Wave(f"wave-{n}", 1, tuple(names[a:b]), self.soak) for n, (a, b) in enumerate(cuts, 1)]
        spec = ["strategy: {type: Direct}", "limits: {maxConcurrent: 100}", "rollback: {maxConcurrent: 100}"]
        self.plan = replace(plan_of(["x"], spec), waves=tuple(waves))
        self.view = RolloutView(
            approved_stage=1,
            waves={"wave-1": WaveView("passed"), "wave-2": WaveView("passed"), "wave-3": WaveView("open")},
            devices=self.devices,
        )
        self.board = Board(self.plan)

    def done(self, device: str) -> None:
        digest = self.plan.release.digest
        self.devices[device] = DeviceView(
            id=device, running=digest, by_mandate=True, install="o", confirmed=True, observed_at=self.now
        )

    def round(self, changed: set[str] | None) -> list[str]:
        """Decide; return who is visited."""
        self.now += timedelta(milliseconds=200)
        self.board.update(self.view, changed, self.now)
        return [action.device for action in decide_on(self.board).actions if isinstance(action, Visit)]


def test_a_round_asks_for_those_who_changed_or_are_being_visited_whatever_the_size_of_the_fleet() -> None:
    big = Big()
    for device in big.plan.members[:2000]:
        big.done(device)
    started = big.round(None)
    assert started == list(big.plan.members[2000:2100])
    big.devices.asked()
    seen: list[str] = []
    for _ in range(40):
        visiting = [*big.view.visiting, *started][:100]
        finished = set(visiting[:CHANGED])
        for device in finished:
            big.done(device)
        big.view = replace(big.view, visiting=frozenset(visiting) - finished)
        started = big.round(finished)
        seen += started
        assert big.devices.asked() <= 2 * CHANGED + 100, "who has changed, and whose visit has begun or ended"
    assert seen[:CHANGED] == list(big.plan.members[2100:2150]), "in the order of the plan"
    assert decide_on(big.board).counts["reached"] == 2000 + 40 * CHANGED


def test_going_back_asks_for_those_who_changed_too() -> None:
    big = Big()
    for device in big.plan.members[:10_000]:
        big.done(device)
    big.view = replace(big.view, back_since=NOW)
    visited = big.round(None)
    big.devices.asked()
    for _ in range(40):
        assert len(visited) == 100
        for device in visited:
            big.devices[device] = replace(big.devices[device], running="old", by_mandate=False, spent=True)
        visited = big.round(set(visited))
        assert big.devices.asked() == 100
    assert decide_on(big.board).counts == {"back": 4000, "in-flight": 6000, "untouched": 10_000}


def test_a_wave_opens_and_a_rollout_stops_without_asking_for_anybody() -> None:
    big = Big()
    for device in big.plan.members:
        big.devices[device] = DeviceView(id=device, running="old", observed_at=NOW)
    for device in big.plan.members[:2000]:
        big.done(device)
    waves = dict(big.view.waves)
    del waves["wave-3"]
    big.view = replace(big.view, waves=waves)
    assert big.round(None) == []
    big.devices.asked()
    assert decide_on(big.board).counts == {"reached": 2000, "held": 18_000}
    big.view = replace(big.view, waves={**waves, "wave-3": WaveView("open")})
    assert big.round(set()) == list(big.plan.members[2000:2100])
    big.view = replace(big.view, stopped="held: look")
    assert big.round(set()) == []
    assert decide_on(big.board).counts == {"reached": 2000, "held": 18_000}
    assert big.devices.asked() == 0


def test_a_soak_asks_for_its_devices_when_it_begins_and_then_only_for_those_who_are_looked_at() -> None:
    big = Big(soak=4000)
    for device in big.plan.members:
        big.done(device)
    assert big.round(None) == []
    big.view = replace(big.view, waves={**big.view.waves, "wave-3": WaveView("soaking", "", big.now)})
    assert big.round(set()) == []
    big.devices.asked()
    big.now += timedelta(seconds=500)
    late = set(big.plan.members[2000:2010])
    for device in late:
        big.done(device)
    assert big.round(late) == []
    big.now += timedelta(seconds=500)
    assert big.devices.asked() == 10
    assert big.round(set()) == list(big.plan.members[2010:])
    assert big.devices.asked() == 0
