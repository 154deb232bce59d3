"""The planner against the modelled fleet while people pause, resume, promote, abort and roll back at random moments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.rollouts.decide import decide
from fwctl.rollouts.view import Control, RolloutView
from fwctl.rollouts.waves import current
from tests.unit.rollouts.fleets import plan_of
from tests.unit.rollouts.test_convergence import LIMIT, MAX_ROUNDS, STRATEGIES, Model

WORDS = ("pause", "resume", "promote", "abort", "abort --revert", "rollback", "release")
MOST_WORDS = 6


@dataclass
class Governed(Model):
    """A fleet with people who change their minds; what they may say follows the rules of the command line."""

    control: Control | None = None
    said: list[str] = field(default_factory=list)
    pauses: set[str] = field(default_factory=set)
    """reasons of stops that were pauses: they last as long as git says so"""
    aborted_after: int | None = None
    """installs that had been ordered when it was aborted or taken back"""

    def view(self) -> RolloutView:
        state = self.control.state if self.control else "running"
        if self.stopped in self.pauses and state != "paused":
            self.stopped = ""
        return replace(super().view(), control=self.control)

    @property
    def ordered(self) -> int:
        return sum(len(attempts) for attempts in self.installs.values())

    @property
    def over(self) -> bool:
        ended = self.control is not None and self.control.state in ("aborted", "rolled-back")
        return ended or self.back_since is not None

    def visit(self, device_id: str) -> None:
        before = self.ordered
        super().visit(device_id)
        stopped = self.control is not None and self.control.state != "running"
        assert not (stopped and self.ordered > before), f"ordered after {self.said}"

    def say(self, word: str) -> None:
        """Write what a person decides into git, if the command line lets it pass."""
        promoted = self.control.promoted if self.control else frozenset[str]()
        reason = f"word {len(self.said)}"
        match word:
            case "pause" if not self.over:
                self.control = Control("paused", reason, "alice", promoted=promoted)
                self.pauses.add(self.control.words)
            case "resume" if not self.over:
                self.control = Control("running", reason, "alice", promoted=promoted)
            case "promote" if not self.over and not self.stopped and (now := current(self.plan, self.view())):
                self.control = Control("running", reason, "alice", promoted=promoted | {now[0].name})
            case "abort" if not self.over:
                self.control = Control("aborted", reason, "alice")
            case "abort --revert":
                self.control = Control("aborted", reason, "alice", revert=True)
            case "rollback":
                self.control = Control("rolled-back", reason, "alice")
            case "release":
                self.devices = {
                    name: replace(one, quarantined=None, forgiven=one.attempts) if one.quarantined else one
                    for name, one in self.devices.items()
                }
            case _:
                return
        self.said.append(word)
        if self.over and self.aborted_after is None:
            self.aborted_after = self.ordered

    def play(self) -> None:
        """Play to the end, and resume what is still paused then."""
        rounds = 0
        while True:
            if len(self.said) < MOST_WORDS and self.chance.random() < 0.1:
                self.say(self.chance.choice(WORDS))
            if not self.round():
                if self.control is None or self.control.state != "paused":
                    return
                self.said = [*self.said, *["-"] * MOST_WORDS]
                self.say("resume")
            rounds += 1
            if rounds > MAX_ROUNDS // 2:
                self.trouble = 0.0
            assert rounds < MAX_ROUNDS, f"it does not converge after {self.said}"


def governed(count: int, spec: Sequence[str], seed: int, *, trouble: float, late: float) -> Governed:
    plan = plan_of([f"d{n}" for n in range(count)], [*spec, f"limits: {{maxConcurrent: {LIMIT}}}"])
    return Governed(plan, random.Random(seed), trouble, late)


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(),
    trouble=st.sampled_from([0.0, 0.1, 0.4]),
    late=st.sampled_from([0.0, 0.0, 0.2]),
    count=st.integers(min_value=1, max_value=12),
    strategy=st.sampled_from(STRATEGIES),
)
def test_whatever_people_say_it_ends_and_holds_its_promises(
    seed: int, trouble: float, late: float, count: int, strategy: str
) -> None:
    model = governed(count, [strategy], seed, trouble=trouble, late=late)
    model.play()
    for attempts in model.installs.values():
        assert attempts == sorted(set(attempts)), "an attempt was ordered twice (I3)"
    again = decide(model.plan, model.view(), model.now + timedelta(seconds=1))
    assert again.actions == (), "running it again changes nothing (I9)"
    if model.aborted_after is not None:
        assert model.ordered == model.aborted_after, "nothing new after the end"
    if model.back_since is not None:
        assert model.finished is not None
        assert model.finished.state == "rolled-back"
        assert not any(device.by_mandate for device in model.devices.values()), "all came back (I5)"
    elif model.control is None or model.control.state == "running":
        assert not model.stopped or model.stopped not in model.pauses, "a pause ends when it is resumed"
    if model.control is not None and (model.control.revert or model.control.state == "rolled-back"):
        assert model.back_since is not None, "who is told to go back goes back"


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(), count=st.integers(min_value=1, max_value=12), strategy=st.sampled_from(STRATEGIES))
def test_a_rollback_at_any_moment_brings_every_device_back(seed: int, count: int, strategy: str) -> None:
    model = governed(count, [strategy], seed, trouble=0.2, late=0.0)
    model.said = ["-"] * MOST_WORDS  # nobody else says anything
    for _ in range(model.chance.randrange(60)):
        model.round()
    model.say("rollback")
    model.play()
    assert not any(device.by_mandate or device.order for device in model.devices.values())
    assert model.finished is not None
    assert model.finished.state == "rolled-back"


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(), count=st.integers(min_value=1, max_value=12), strategy=st.sampled_from(STRATEGIES))
def test_a_pause_changes_nothing_but_the_time(seed: int, count: int, strategy: str) -> None:
    model = governed(count, [strategy], seed, trouble=0.0, late=0.0)
    model.said = ["-"] * MOST_WORDS
    for _ in range(model.chance.randrange(40)):
        model.round()
    model.say("pause")
    while model.round():
        pass
    assert all(device.order is None for device in model.devices.values()), "what was in flight has ended"
    model.play()
    assert model.finished is not None
    assert model.finished.reason == f"{count} of {count} reached"
    assert all(attempts == [1] for attempts in model.installs.values())
