"""Gates: every verdict, at its limit and beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.manifests.models.rollout_parts import Gates
from fwctl.rollouts.failures import CLASSES
from fwctl.rollouts.health.gates import Fail, Inconclusive, Pass, Tally, Undecided, judge
from fwctl.rollouts.standing import Standing, StandingState
from fwctl_agent.protocol.statements import FailureClass


def gates(*, percent: float = 2.0, sample: int = 20, reached: float = 90.0) -> Gates:
    rate = {"percent": percent, "minSample": sample}
    return Gates.model_validate({"maxFailureRate": rate, "minReached": {"percent": reached}})


DEFAULT = gates()


def test_the_defaults_are_those_of_the_manifest() -> None:
    assert Gates() == DEFAULT


@pytest.mark.parametrize(
    ("size", "reached", "counted", "other", "verdict", "why"),
    [
        (10, 0, 0, 0, Undecided, "nobody has settled"),
        (10, 9, 0, 0, Undecided, "one is still on its way, although enough are there"),
        (10, 10, 0, 0, Pass, "all reached"),
        (10, 9, 0, 1, Pass, "exactly as many reached as wanted"),
        (10, 8, 0, 2, Inconclusive, "one too few reached"),
        (10, 0, 0, 10, Inconclusive, "all stragglers: nothing is known, so nothing is promoted"),
        (10, 9, 1, 0, Fail, "10 % failed"),
        (10, 0, 1, 0, Fail, "10 % of all have failed already: waiting cannot mend it"),
        (100, 98, 2, 0, Pass, "exactly as many failures as allowed"),
        (100, 97, 3, 0, Fail, "one failure too many"),
        (100, 0, 3, 0, Fail, "one failure too many of all, whatever the sample"),
        (100, 0, 2, 0, Undecided, "a sample of 2 stops nothing early"),
        (100, 17, 2, 0, Undecided, "19 have settled: below the sample"),
        (100, 18, 2, 0, Fail, "20 have settled, 10 % failed: the early stop"),
        (100, 19, 1, 0, Fail, "1 of 20 is 5 %"),
        (100, 49, 1, 0, Undecided, "1 of 50 is just allowed, the others may still fail"),
        (100, 90, 2, 8, Fail, "2 of the 92 that settled: stragglers do not water it down"),
        (40, 39, 1, 0, Fail, "2.5 % at the end, below the limit of no sample"),
        (19, 18, 1, 0, Fail, "minSample guards the early stop only, not the end"),
        (50, 10, 1, 39, Fail, "the end is judged by who settled: 1 of 11, below the sample"),
        (2, 2, 0, 0, Pass, "the quick start's two devices"),
        (1, 0, 1, 0, Fail, "a canary of one that fails"),
        (1, 0, 0, 1, Inconclusive, "a canary of one that is away"),
        (0, 0, 0, 0, Pass, "everybody has dropped out: there is nothing to wait for"),
    ],
)
def test_the_verdict(size: int, reached: int, counted: int, other: int, verdict: type[object], why: str) -> None:
    assert isinstance(judge(DEFAULT, Tally(size, reached, counted, other)), verdict), why


def test_a_verdict_says_which_rule_with_which_numbers() -> None:
    assert judge(DEFAULT, Tally(10, 8, 1, 0)) == Fail("maxFailureRate", "1 of 9 failed (11.1 %), allowed are 2 %")
    assert judge(DEFAULT, Tally(10, 8, 0, 2)) == Inconclusive(
        "minReached", "8 of 10 reached, 90 % are wanted; 2 cannot be"
    )
    assert judge(DEFAULT, Tally(100, 98, 2, 0)) == Pass("98 of 100 reached, 2 failed")


@pytest.mark.parametrize(
    ("set_to", "tally", "verdict"),
    [
        (gates(percent=0), Tally(1000, 999, 1, 0), Fail),
        (gates(percent=0), Tally(1000, 1000, 0, 0), Pass),
        (gates(percent=100, reached=0), Tally(10, 0, 10, 0), Pass),
        (gates(percent=0.1, reached=99), Tally(1000, 999, 1, 0), Pass),
        (gates(percent=50, sample=1), Tally(10, 0, 1, 0), Fail),
        (gates(percent=50, sample=2), Tally(10, 0, 1, 0), Undecided),
        (gates(reached=100), Tally(1000, 999, 0, 1), Inconclusive),
        (gates(reached=0), Tally(10, 0, 0, 10), Pass),
        (gates(reached=33.3), Tally(1000, 333, 0, 667), Pass),
    ],
)
def test_the_limits_are_the_manifests(set_to: Gates, tally: Tally, verdict: type[object]) -> None:
    assert isinstance(judge(set_to, tally), verdict)


@given(
    size=st.integers(1, 200),
    parts=st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200)),
    sample=st.integers(1, 50),
)
def test_more_failures_never_make_a_wave_pass(size: int, parts: tuple[int, int, int], sample: int) -> None:
    reached, counted, other = parts
    if reached + counted + other >= size or reached == 0:
        return
    better = judge(gates(sample=sample), Tally(size, reached, counted, other))
    worse = judge(gates(sample=sample), Tally(size, reached - 1, counted + 1, other))
    assert not (isinstance(better, Fail) and not isinstance(worse, Fail))


def standing(state: StandingState, klass: FailureClass | None = None) -> Standing:
    return Standing("d", state, "because", None, klass=klass)


@pytest.mark.parametrize(("klass", "rule"), list(CLASSES.items()))
def test_the_class_of_a_failure_says_whether_it_counts(klass: FailureClass, rule: object) -> None:
    tally = Tally.of([standing("failed", klass)])
    counts = {"refused", "install", "health", "unconfirmed", "silent-revert"}
    assert (tally.counted, tally.other) == ((1, 0) if klass in counts else (0, 1))
    assert (tally.size, tally.reached, tally.unsettled) == (1, 0, 0)


def test_what_is_settled_and_what_is_not() -> None:
    open_ones: list[StandingState] = ["pending", "held", "in-flight", "retry"]
    tally = Tally.of([*map(standing, open_ones), standing("reached"), standing("straggler"), standing("failed")])
    assert (tally.size, tally.reached, tally.counted, tally.other, tally.unsettled) == (7, 1, 1, 1, 4)
    assert tally.sample == 2, "a straggler says nothing about the firmware"


def sure(percent: float, confidence: float, sample: int = 20) -> Gates:
    rate = {"percent": percent, "minSample": sample, "confidence": confidence}
    return Gates.model_validate({"maxFailureRate": rate})


@pytest.mark.parametrize(
    ("size", "reached", "counted", "other", "verdict", "why"),
    [
        (1, 0, 1, 0, Fail, "a canary of one that fails: the bound is 27 %"),
        (2, 1, 1, 0, Fail, "a canary of two: small ones can fail"),
        (10, 9, 1, 0, Fail, "1 of 10: the bound is 2.4 %"),
        (20, 19, 1, 0, Inconclusive, "1 of 20 may be bad luck: it neither goes back nor on"),
        (20, 20, 0, 0, Pass, "nobody failed"),
        (100, 98, 2, 0, Pass, "exactly as many as allowed"),
        (100, 96, 4, 0, Inconclusive, "4 of 100 may be bad luck"),
        (100, 94, 6, 0, Fail, "6 of 100 are not"),
        (100, 18, 2, 0, Fail, "2 of 20, and the bound is above the limit: the early stop"),
        (100, 19, 1, 0, Undecided, "without confidence this would be stopped early"),
        (100, 0, 4, 0, Undecided, "4 of 4, below the sample, and of 100 in the end not sure"),
    ],
)
def test_with_confidence(size: int, reached: int, counted: int, other: int, verdict: type[object], why: str) -> None:
    assert isinstance(judge(sure(2, 0.95), Tally(size, reached, counted, other)), verdict), why


def test_the_words_of_a_bound() -> None:
    verdict = judge(sure(2, 0.95), Tally(20, 19, 1, 0))
    assert verdict == Inconclusive(
        "maxFailureRate",
        "1 of 20 failed (5 %), allowed are 2 %; with 95 % confidence the rate is above 1.12 %: "
        "neither sure enough to go back nor good enough to go on",
    )


@given(size=st.integers(1, 300), share=st.floats(0, 1), percent=st.sampled_from([0.0, 1.0, 2.0, 4.6, 30.0]))
def test_confidence_only_ever_asks_for_more_before_it_fails_and_never_promotes_more(
    size: int, share: float, percent: float
) -> None:
    counted = int(share * size)
    tally = Tally(size, size - counted, counted, 0)
    plain, bound = judge(gates(percent=percent, reached=0), tally), judge(sure(percent, 0.95), tally)
    assert not (isinstance(bound, Fail) and not isinstance(plain, Fail))
    assert not (isinstance(bound, Pass) and not isinstance(plain, Pass))
