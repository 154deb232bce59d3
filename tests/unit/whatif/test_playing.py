"""A simulated run: the decisions are the planner's, time is counted, and the same question has the same answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.errors import InputError, UsageError
from fwctl.whatif.assumptions import Assumptions, assume
from fwctl.whatif.forecast import Question, as_simulated, forecast, runs_for, simulate
from fwctl.whatif.playing import play
from fwctl.whatif.results import Run, quantile
from fwctl.whatif.traits import draw
from tests.unit.rollouts.fleets import NOW, plan_of

CANARY = "strategy: {type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 15m}"
STRATEGIES = (
    "strategy: {type: Direct}",
    "strategy: {type: Direct, soak: 10m}",
    CANARY,
    "strategy: {type: Rolling, batchSize: 7, maxUnavailable: 3, soak: 1m}",
    "strategy: {type: Rolling, batchSize: 50%}",
)


def run_of(count: int, spec: Sequence[str] = (CANARY,), *, number: int = 0, seed: int = 1, **assumed: float) -> Run:
    plan = plan_of([f"d{n:04}" for n in range(count)], spec)
    return play(plan, Assumptions(**assumed), seed=seed, number=number, start=NOW)  # type: ignore[arg-type]


def test_without_trouble_the_time_is_the_sum_of_its_parts() -> None:
    run = run_of(100, restart=30, probes=5)
    assert (run.outcome, run.reason) == ("complete", "100 of 100 reached")
    assert (run.ordered, run.exposed, run.trip) == (100, 100, None)
    one = 0.1 + 30 + 1 + 0.1 + 5  # connect, restart, a second later, connect, probes
    assert run.seconds == pytest.approx(4 * (one + 900), abs=4 * 1.5)
    assert [wave.state for wave in run.waves] == ["passed"] * 4
    for before, after in zip(run.waves, run.waves[1:], strict=False):
        assert before.judged is not None
        assert after.opened is not None
        assert after.opened >= before.judged
        assert before.soaked is not None
        assert before.judged - before.soaked >= 900


def test_firmware_that_fails_everywhere_never_leaves_the_canary() -> None:
    run = run_of(200, failure_rate=1.0, late=0.0, broken=0.0)
    assert run.outcome == "rolled-back"
    assert run.trip is not None
    assert (run.trip.wave, run.trip.rule) == ("wave-1", "maxFailureRate")
    assert (run.ordered, run.exposed) == (20, 20)
    assert run.counts == {"back": 20, "untouched": 180}


def test_firmware_that_fails_only_in_the_soak_is_found_there() -> None:
    run = run_of(200, failure_rate=1.0, late=1.0)
    assert run.trip is not None
    assert run.trip.wave == "wave-1"
    assert run.waves[0].soaked is not None
    assert run.waves[0].soaked < run.trip.after <= run.waves[0].soaked + 900 + 300
    assert run.counts == {"back": 20, "untouched": 180}


@pytest.mark.parametrize(("scope", "keeps"), [("rollout", False), ("wave", True)])
def test_of_a_rollout_that_goes_back_late_only_what_had_passed_stays(scope: str, keeps: bool) -> None:
    gates = "gates: {maxFailureRate: {percent: 12}, minReached: {percent: 0}}"
    spec = [CANARY, gates, f"rollback: {{scope: {scope}}}"]
    runs = [run_of(100, spec, number=number, failure_rate=0.12, late=0.0, broken=0.0) for number in range(20)]
    late = [run for run in runs if run.trip is not None and run.trip.wave != "wave-1"]
    assert late, "some fail after the first wave"
    for run in late:
        assert run.outcome == "rolled-back"
        passed = sum(1 for wave in run.waves if wave.state == "passed")
        assert bool(run.counts.get("reached")) is keeps
        assert (" keep" in run.reason) is keeps
        assert passed >= 1


def test_a_failed_gate_without_rollback_stops_and_leaves_it_to_people() -> None:
    run = run_of(50, [CANARY, "rollback: {automatic: false}"], failure_rate=1.0, late=0.0, broken=0.0)
    assert run.outcome == "stopped"
    assert run.trip is not None
    assert run.exposed == 5


def test_devices_that_never_return_leave_a_wave_that_holds() -> None:
    run = run_of(40, ["strategy: {type: Direct}"], offline=1.0, returns=0.0)
    assert run.outcome == "held"
    assert "minReached" in run.reason
    assert run.counts == {"straggler": 40}
    assert run.exposed == 0


def test_devices_that_return_move_a_wave_that_held() -> None:
    run = run_of(40, ["strategy: {type: Direct}"], offline=1.0, returns=1.0, away=7200)
    assert run.outcome == "complete"
    assert run.seconds > 3600


def test_a_person_who_takes_an_hour_makes_a_rollout_an_hour_longer() -> None:
    spec = ["strategy: {type: Canary, initialPercentage: 10, increments: [100], soak: 1m, approvalBefore: [wave-2]}"]
    quick, slow = run_of(30, spec), run_of(30, spec, approval=3600)
    assert quick.outcome == slow.outcome == "complete"
    assert slow.seconds - quick.seconds == pytest.approx(3600, abs=300)


def test_passes_far_apart_make_it_longer_where_no_pass_is_long_enough_to_wait() -> None:
    near, far = run_of(30), run_of(30, interval=3600, longest=60)
    assert near.outcome == far.outcome == "complete"
    assert far.seconds > 4 * 3600 > near.seconds
    assert far.passes < 20


def test_the_image_is_counted_once_for_each_download() -> None:
    run = run_of(100)
    assert run.site_total == {"": 1000}  # 10 bytes each
    assert run.site_peak == {"": 500}  # the last wave


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(min_value=0, max_value=2**32),
    count=st.integers(min_value=1, max_value=30),
    spec=st.sampled_from(STRATEGIES),
    failing=st.sampled_from([0.0, 0.02, 0.2, 1.0]),
    offline=st.sampled_from([0.0, 0.1, 0.6]),
    restart=st.sampled_from([0, 30]),
    limit=st.sampled_from(["", "limits: {maxConcurrent: 3}"]),
)
def test_every_run_ends_keeps_its_limits_and_is_the_same_again(
    seed: int, count: int, spec: str, failing: float, offline: float, restart: int, limit: str
) -> None:
    lines = [spec, *([limit] if limit else [])]
    run, again = (
        run_of(count, lines, seed=seed, failure_rate=failing, offline=offline, restart=restart) for _ in range(2)
    )
    assert run == again
    assert sum(run.counts.values()) == count
    assert run.exposed <= run.ordered <= count
    assert [sample.after for sample in run.samples] == sorted({sample.after for sample in run.samples})
    for sample in run.samples:
        assert sum(sample.counts.values()) == count
        if limit and run.trip is None:
            assert sample.counts.get("in-flight", 0) <= 3
    if run.trip is None and run.outcome == "complete":
        assert all(wave.state == "passed" for wave in run.waves)


def test_runs_differ_and_one_rate_does_not_move_the_other() -> None:
    exposed = {run_of(300, number=number, failure_rate=0.03).exposed for number in range(12)}
    assert len(exposed) > 1
    members = [f"d{n}" for n in range(300)]
    sound, ill = (draw(members, Assumptions(failure_rate=rate, offline=0.1), random.Random(1)) for rate in (0.0, 0.5))
    assert {name: trait.back for name, trait in ill.items() if trait.back} == {
        name: trait.back for name, trait in sound.items()
    }
    assert sum(bool(trait.flaw) for trait in ill.values()) > 100


def test_how_many_runs_a_fleet_gets_falls_with_its_size() -> None:
    assert [runs_for(count) for count in (1, 100, 1000, 10_000, 100_000)] == [200, 200, 60, 6, 5]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("restart=90s", {"restart": 90}),
        ("bandwidth=512KiB", {"bandwidth": 512 * 1024}),
        ("late=0", {"late": 0.0}),
        ("from=2.4.0", {"version": "2.4.0"}),
    ],
)
def test_assumptions_are_read_as_in_manifests(given: str, wanted: dict[str, object]) -> None:
    assert vars(assume(Assumptions(), [given])) == vars(Assumptions()) | wanted


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("retart=90s", "Did you mean `restart`?"),
        ("zz", "Known are approval, away, bandwidth, broken, from, interval, late, longest, probes, restart, returns."),
        ("restart=quick", "It is a restart; for example: --assume restart=30s"),
        (
            "late=2",
            "It is of the failing devices: those that fail while they are watched; for example: --assume late=0.25",
        ),
        ("interval=0s", "It is from pass to pass; for example: --assume interval=5m"),
        ("from=new", "It is the version that devices run; for example: --assume from=2.4.0"),
    ],
)
def test_an_assumption_that_cannot_be_read_says_how_it_is_written(given: str, remedy: str) -> None:
    with pytest.raises(UsageError) as raised:
        assume(Assumptions(), [given])
    assert (raised.value.code, raised.value.place, raised.value.remedy) == ("E_ASSUMPTION", f"--assume {given}", remedy)


def test_what_cannot_be_simulated_is_refused_with_a_remedy() -> None:
    plan = plan_of(["a"])
    with pytest.raises(UsageError) as none:
        Question(plan, Assumptions(), 0, 1, NOW)
    assert (none.value.code, none.value.place) == ("E_SIMULATE", "--runs")
    with pytest.raises(InputError) as empty:
        Question(replace(plan, waves=()), Assumptions(), 1, 1, NOW)
    assert empty.value.code == "E_SIMULATE"


def test_what_devices_will_say_of_themselves_holds_nobody_in_a_simulation() -> None:
    facts = "preconditions: {facts: [{key: battery, operator: GreaterThan, value: 30}]}"
    question = Question(plan_of(["a", "b"], [facts, "strategy: {type: Direct}"]), Assumptions(), 1, 1, NOW)
    (run,) = simulate(question)
    assert run.outcome == "complete"
    assert as_simulated(question.plan).waves == question.plan.waves


def test_the_typical_run_has_the_outcome_of_most() -> None:
    plan = plan_of([f"d{n}" for n in range(100)], [CANARY])
    question = Question(plan, Assumptions(failure_rate=0.02), 30, 1, NOW)
    made = forecast(question, list(simulate(question)))
    most = max(("complete", "rolled-back"), key=lambda one: len(made.having(one)))  # type: ignore[arg-type]
    assert made.typical.outcome == most


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 50.0), (0.95, 95.0), (1.0, 100.0)])
def test_a_quantile_is_a_value_that_was_there(share: float, wanted: float) -> None:
    assert quantile([float(n) for n in range(100, 0, -1)], share) == wanted
    assert quantile([7.0], share) == 7.0
    assert quantile([], share) is None


@pytest.mark.parametrize("switch", ["Automatic", "Manual"])
def test_a_switch_of_everybody_at_once_is_played_and_waits_for_a_person_only_where_it_says_so(switch: str) -> None:
    spec = [f"strategy: {{type: BlueGreen, switch: {switch}, soak: 5m, retain: 1h}}"]
    run = run_of(20, spec, approval=1800)
    assert (run.outcome, run.exposed) == ("complete", 20)
    waited = 1800 if switch == "Manual" else 0
    assert run.seconds == pytest.approx(300 + 3600 + waited, abs=400)
    bad = run_of(20, spec, approval=1800, failure_rate=1.0, late=0.0, broken=0.0)
    assert (bad.outcome, bad.exposed, bad.counts) == ("rolled-back", 20, {"back": 20})


def test_nobody_is_compared_with_a_control_group() -> None:
    compare = "gates: {health: {compareWithControl: {metrics: [crash_rate]}}}"
    plan = plan_of([f"d{n:03}" for n in range(100)], [CANARY, compare])
    run = play(as_simulated(plan), Assumptions(), seed=1, number=0, start=NOW)
    assert (run.outcome, run.trip) == ("complete", None)
