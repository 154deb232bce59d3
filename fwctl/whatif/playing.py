"""One run: rounds of `decide_on` over a modelled fleet, in the passes that a scheduler would begin."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from fwctl.rollouts.actions import Action, Finish, GoBack, MoveWave, Quarantine, Stop, Visit
from fwctl.rollouts.board import Board
from fwctl.rollouts.decide import Decision, decide_on
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.switching import SWITCH
from fwctl.rollouts.view import Control, DeviceView, RolloutView, WaveView
from fwctl.whatif.assumptions import LATEST, Assumptions
from fwctl.whatif.devices import Devices, Visited
from fwctl.whatif.recording import Track, Traffic, Waves
from fwctl.whatif.results import Outcome, Run, Trip
from fwctl.whatif.traits import Trait, draw

ROUND = 200
"""milliseconds between two decisions while visits are under way, as in a pass; more in a fleet that takes hours"""


def play(plan: Plan, assumed: Assumptions, *, seed: int, number: int, start: datetime) -> Run:
    """Return run `number` of a series. The same arguments give the same run."""
    chance = random.Random(f"{seed} {number}")  # noqa: S311  nothing secret is drawn
    return Playing(plan, assumed, draw(plan.members, assumed, chance), start).run(number)


class Playing:
    """The state of one run."""

    def __init__(self, plan: Plan, assumed: Assumptions, traits: dict[str, Trait], start: datetime) -> None:
        self._plan, self._assumed = plan, assumed
        self._fleet = Devices(plan, assumed, traits, start)
        self._board = Board(plan)
        self._changed: set[str] | None = None
        self._visits: list[tuple[int, int, str, Visited]] = []
        self._visiting: set[str] = set()
        self._serial = 0
        self._round = max(ROUND, len(plan.members) // 100)
        self._now = self._pass_began = 0
        self._passes = 1
        self._rollout = RolloutView(approved_stage=self._first_stage, waves={}, devices=self._fleet.views)
        self._wanted_since: int | None = None
        self._track, self._traffic, self._waves = Track(), Traffic(plan), Waves()
        self._ordered: set[str] = set()
        self._exposed: frozenset[str] | None = None
        self._trip: Trip | None = None
        self._at_stop = 0

    @property
    def _first_stage(self) -> int:
        stages = [wave.stage for wave in self._plan.all_waves]
        return min(stages, default=1) if self._assumed.approval else max(stages, default=1)

    def run(self, number: int) -> Run:
        """Play to the end."""
        while True:
            decision = self._decide()
            if (ended := self._ended(decision)) is not None:
                return self._result(number, decision, *ended)
            acted = self._act(decision.actions)
            if not (acted and not self._visiting) and not self._wait(decision):
                return self._result(number, decision, *self._never(decision))

    def _decide(self) -> Decision:
        self._rollout = replace(self._rollout, visiting=frozenset(self._visiting))
        changed, self._changed = self._changed, set()
        self._board.update(self._rollout, changed, self._fleet.at(self._now))
        decision = decide_on(self._board)
        self._track.note(self._now, decision.counts)
        return decision

    # -- acting --------------------------------------------------------------------------------------------------------

    def _act(self, actions: tuple[Action, ...]) -> bool:
        over = self._now >= self._pass_ends
        for action in () if over else actions:
            match action:
                case Visit(device=device):
                    self._visit(device)
                case MoveWave():
                    self._move(action)
                case Quarantine(device=device, reason=reason):
                    known = self._fleet.views.get(device) or DeviceView(id=device)
                    self._set(replace(known, quarantined=reason))
                case GoBack(rule=rule, reason=reason, keeps=keeps):
                    self._stop(rule, reason)
                    self._rollout = replace(self._rollout, back_since=self._fleet.at(self._now), back_keeps=keeps)
                case Stop(rule=rule, reason=reason):
                    self._stop(rule, reason)
                    self._rollout = replace(self._rollout, stopped=reason)
                case Finish():
                    self._rollout = replace(self._rollout, finished=action)
                case _:
                    assert_never(action)
        return bool(actions) and not over

    def _visit(self, device: str) -> None:
        visited = self._fleet.visit(device, self._rollout, self._now)
        if visited.download:
            self._traffic.download(device, visited)
            if self._rollout.back_since is None:
                self._ordered.add(device)
        self._serial += 1
        self._visiting.add(device)
        self._changed_too(device)
        heapq.heappush(self._visits, (visited.end, self._serial, device, visited))

    def _move(self, action: MoveWave) -> None:
        old, moment = self._rollout.waves.get(action.wave), self._fleet.at(self._now)
        view = WaveView(
            action.state,
            action.reason,
            moment if action.state == "soaking" else old.soak_since if old else None,
            opened_at=old.opened_at if old else moment,
            judged_at=moment if action.state in ("passed", "failed") else None,
        )
        self._waves.note(action.wave, action.state, self._now)
        self._rollout = replace(self._rollout, waves={**self._rollout.waves, action.wave: view}, control=None)

    def _stop(self, rule: str, reason: str) -> None:
        if self._trip is None:
            wave = next((one.wave for one in self._failed_waves()), "") or reason.partition(":")[0]
            self._trip = Trip(wave, rule, reason, self._now / 1000)
            self._exposed = frozenset(self._fleet.exposed)
            self._at_stop = len(self._ordered)

    def _failed_waves(self) -> Iterator[MoveWave]:
        for wave, view in self._rollout.waves.items():
            if view.state == "failed":
                yield MoveWave(wave, "failed", view.reason)

    def _set(self, view: DeviceView) -> None:
        self._fleet.views[view.id] = view
        self._changed_too(view.id)

    def _changed_too(self, device: str) -> None:
        if self._changed is not None:
            self._changed.add(device)

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def _pass_ends(self) -> int:
        return self._pass_began + self._assumed.longest * 1000

    def _wait(self, decision: Decision) -> bool:
        """Let time go by until there may be something to decide; False when nothing will ever be."""
        soon = decision.soon(self._fleet.at(self._now))
        due = None if soon is None else self._millis(soon)
        if self._visiting:
            first = max(self._visits[0][0], self._now + self._round)
            over = self._now >= self._pass_ends
            self._now = first if due is None or over else min(first, max(due, self._now + self._round))
            self._end_visits()
            return True
        if due is not None and due < self._pass_ends:
            self._now = max(due, self._now + 1)
            return True
        return self._next_pass(decision)

    def _end_visits(self) -> None:
        while self._visits and self._visits[0][0] <= self._now:
            _, _, device, visited = heapq.heappop(self._visits)
            self._visiting.discard(device)
            self._set(visited.view)

    def _next_pass(self, decision: Decision) -> bool:
        """Go on to the beginning of the next pass in which something can happen."""
        if self._promote(decision):
            return True
        wanted = self._wanted(decision)
        if wanted is None or wanted > LATEST * 1000:
            return False
        interval = self._assumed.interval * 1000
        first = self._now // interval + 1
        # A pass waits for what is due before its end; earlier ones would find nothing to do.
        least = -(-(wanted - self._assumed.longest * 1000 + 1) // interval)
        number = max(first, least)
        self._now = self._pass_began = number * interval
        self._passes += number - first + 1
        self._approve()
        return True

    def _wanted(self, decision: Decision) -> int | None:
        """Return the next moment at which anything can be other than now."""
        now = self._fleet.at(self._now)
        moments = [decision.next_due, decision.soon(now), self._board.until]
        dues = [self._millis(moment) for moment in moments if moment is not None and moment > now]
        if not dues and decision.actions:
            dues = [self._now + 1]
        if self._waiting:
            self._wanted_since = self._now if self._wanted_since is None else self._wanted_since
            dues.append(self._wanted_since + self._assumed.approval * 1000)
        hopeless = not self._fleet.may_return and decision.soon(now) is None and not self._waiting
        if hopeless and not decision.actions and self._board.current and decision.holding:
            return None  # whoever could still move it never comes back
        return min(dues, default=None)

    @property
    def _waiting(self) -> list[Wave]:
        """The waves that wait for a person to approve their stage."""
        if self._board.back:
            return []
        return [wave for wave in self._board.current if wave.stage > self._rollout.approved_stage]

    def _approve(self) -> None:
        since = self._wanted_since
        if since is not None and self._now >= since + self._assumed.approval * 1000 and self._waiting:
            self._wanted_since = None
            self._rollout = replace(self._rollout, approved_stage=min(wave.stage for wave in self._waiting))

    def _promote(self, decision: Decision) -> bool:
        """Let a person make the switch that everybody is staged for; False where nothing waits for that."""
        staged = [wave.name for wave in self._board.current if wave.activation == "hold" and wave.name in self._open]
        waits = decision.next_due is None and not decision.actions and self._rollout.control is None
        if not staged or not waits or self._board.back or self._rollout.stopped:
            return False
        self._now = self._pass_began = self._now + max(1, self._assumed.approval * 1000)
        self._passes += 1
        word = Control(
            "running", "all are staged", "somebody", promoted=frozenset(f"{SWITCH}/{name}" for name in staged)
        )
        self._rollout = replace(self._rollout, control=word)
        return True

    @property
    def _open(self) -> set[str]:
        return {name for name, view in self._rollout.waves.items() if view.state == "open"}

    def _millis(self, moment: datetime) -> int:
        delta = moment - self._fleet.start
        return -(-(delta.days * 86_400_000_000 + delta.seconds * 1_000_000 + delta.microseconds) // 1000)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _ended(self, decision: Decision) -> tuple[Outcome, str] | None:
        finish = self._rollout.finished
        if finish is not None and not self._visiting:
            return ("rolled-back" if finish.state == "rolled-back" else "complete"), finish.reason
        if self._rollout.stopped and not self._visiting and not decision.actions:
            return "stopped", self._rollout.stopped
        return None

    def _never(self, decision: Decision) -> tuple[Outcome, str]:
        return "held", decision.holding or "nothing moves it any more"

    def _result(self, number: int, decision: Decision, outcome: Outcome, reason: str) -> Run:
        self._track.end(self._now, decision.counts)
        exposed = self._fleet.exposed if self._exposed is None else self._exposed
        return Run(
            number=number,
            outcome=outcome,
            reason=reason,
            seconds=self._now / 1000,
            trip=self._trip,
            ordered=self._at_stop if self._trip else len(self._ordered),
            exposed=len(exposed),
            counts=dict(decision.counts),
            waves=self._waves.spans(self._plan),
            samples=tuple(self._track.samples),
            site_total=dict(sorted(self._traffic.total.items())),
            site_peak=self._traffic.peaks(),
            passes=self._passes,
        )
