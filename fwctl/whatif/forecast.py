"""Many runs of one plan, and what they say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fwctl.errors import InputError, UsageError
from fwctl.rollouts.plan import Plan
from fwctl.whatif.assumptions import Assumptions
from fwctl.whatif.playing import play
from fwctl.whatif.results import OUTCOMES, Forecast, Outcome, Run, quantile

MOST_RUNS = 10_000
_VISITS = 60_000
"""devices times runs that are simulated if nobody says how many runs: about a quarter of a minute"""


def runs_for(devices: int) -> int:
    """Return how many runs a fleet of this size gets by default."""
    return max(5, min(200, _VISITS // max(1, devices)))


@dataclass(frozen=True)
class Question:
    """What is simulated. The same question has the same answer."""

    plan: Plan
    assumed: Assumptions
    runs: int
    seed: int
    start: datetime
    measured: str = ""

    def __post_init__(self) -> None:
        if not self.plan.members:
            raise InputError(
                "the rollout has no targets, so nothing can be simulated",
                code="E_SIMULATE",
                place=self.plan.key,
                remedy=f"See who it could reach: fwctl plan {self.plan.key}",
            )
        if not 1 <= self.runs <= MOST_RUNS:
            raise UsageError(
                f"{self.runs:,} runs cannot be simulated",
                code="E_SIMULATE",
                place="--runs",
                remedy=f"Give a number from 1 to {MOST_RUNS:,}.",
            )


def simulate(question: Question) -> Iterator[Run]:
    """Yield the runs, one by one, so that somebody can be told how far it is."""
    plan = as_simulated(question.plan)
    for number in range(question.runs):
        yield play(plan, question.assumed, seed=question.seed, number=number, start=question.start)


def as_simulated(plan: Plan) -> Plan:
    """Return a plan whose devices are always ready and never compared: what they will report is not known."""
    spec = plan.spec
    ready = spec.preconditions.model_copy(update={"facts": ()})
    health = spec.gates.health.model_copy(update={"compare_with_control": None})
    gates = spec.gates.model_copy(update={"health": health})
    return replace(plan, spec=spec.model_copy(update={"preconditions": ready, "gates": gates}))


def forecast(question: Question, runs: Sequence[Run]) -> Forecast:
    """Return what the runs say together."""
    plan = question.plan
    return Forecast(
        rollout=plan.key,
        model=plan.release.model,
        version=plan.release.version,
        strategy=plan.spec.strategy.type,
        devices=len(plan.members),
        waves=len(plan.waves),
        length=plan.release.length,
        seed=question.seed,
        start=question.start,
        assumptions=question.assumed,
        measured=question.measured,
        runs=tuple(runs),
    )


@dataclass(frozen=True)
class Spread:
    """How some numbers lie; None where there are none."""

    p50: float | None
    p95: float | None
    most: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(quantile(values, 0.5), quantile(values, 0.95), max(values, default=None))


@dataclass(frozen=True)
class Tripped:
    """A gate that ended runs."""

    wave: str
    rule: str
    runs: int
    after: Spread
    """seconds"""


@dataclass(frozen=True)
class Site:
    """Bytes to one site."""

    name: str
    total: Spread
    peak: Spread
    """in one minute"""


def shares(made: Forecast) -> Mapping[Outcome, int]:
    """Return how many runs ended how."""
    return {outcome: len(made.having(outcome)) for outcome in OUTCOMES}


def trips(made: Forecast) -> tuple[Tripped, ...]:
    """Return the gates that ended runs, in the order of the waves, those that ended most first."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in made.runs:
        if run.trip is not None:
            found.setdefault((run.trip.wave, run.trip.rule), []).append(run.trip.after)
    made_of = [Tripped(wave, rule, len(after), Spread.of(after)) for (wave, rule), after in found.items()]
    return tuple(sorted(made_of, key=lambda one: (-one.runs, one.wave, one.rule)))


def sites(made: Forecast) -> tuple[Site, ...]:
    """Return the bytes by site, those with the highest peaks first."""
    names = sorted({site for run in made.runs for site in run.site_total})
    found = [
        Site(
            name,
            Spread.of([run.site_total.get(name, 0) for run in made.runs]),
            Spread.of([run.site_peak.get(name, 0) for run in made.runs]),
        )
        for name in names
    ]
    return tuple(sorted(found, key=lambda site: (-(site.peak.most or 0), site.name)))


def radius(made: Forecast) -> Spread:
    """Return how many devices had run the firmware when it was stopped, in the runs that were."""
    return Spread.of([run.exposed for run in made.runs if run.trip is not None])
