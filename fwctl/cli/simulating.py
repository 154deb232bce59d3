"""The work behind `plan --simulate`: one rollout, many runs, nothing contacted and nothing written."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from fwctl.cli.context import Context, next_is, notice, say, talk
from fwctl.cli.planning import find_rollouts
from fwctl.errors import UsageError
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import compiled, load_repo
from fwctl.whatif.assumptions import Assumptions, assume
from fwctl.whatif.forecast import Question, forecast, runs_for, simulate
from fwctl.whatif.results import Forecast, Run
from fwctl_agent.protocol.fields import parse_time

_TELL = 5.0
"""seconds of work that are worth a word beforehand"""


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    failure_rate: float
    offline: float
    runs: int | None
    seed: int
    at: str
    assume: Sequence[str]


def show(settings: Context, rollout: str, asked: Asked, ref: str, format_: str, out: Path | None) -> None:
    """Simulate a rollout, and say or write what came of it."""
    from fwctl.files import write_atomic
    from fwctl.render.whatif import RENDERERS

    made = simulated(settings, rollout, asked, ref=ref)
    answer = RENDERERS[format_](made)
    if out is None:
        say(answer)
    else:
        write_atomic(out, answer.encode() + b"\n")
        say(f"Wrote {out}")
    again = f"fwctl plan {made.rollout} --simulate --failure-rate 0.03"
    next_is(*([] if asked.failure_rate else [again]), f"fwctl plan {made.rollout}")


def simulated(settings: Context, rollout: str, asked: Asked, *, ref: str) -> Forecast:
    """Simulate one rollout as it stands in the work tree, or at `ref`.

    Raises:
        UsageError: `E_SIMULATE`, `E_ASSUMPTION`: it cannot be asked like this.
        InputError: what planning the rollout raises; `E_SIMULATE`: it has no targets.
    """
    files = settings.committed(ref)[1] if ref else settings.files()
    repo = load_repo(files)
    found = find_rollouts(repo, rollout)
    if len(found) != 1:
        keys = [one.key for one in found]
        raise UsageError(
            "one rollout is simulated at a time",
            code="E_SIMULATE",
            place="plan --simulate",
            remedy=f"Say which: fwctl plan {keys[0]} --simulate"
            + (f" (or {', '.join(keys[1:5])})" if keys[1:] else ""),
        )
    plan = compiled(repo, found[0], files).plan
    runs = runs_for(len(plan.members)) if asked.runs is None else asked.runs
    question = Question(plan, _assumed(repo, asked), runs, asked.seed, _start(settings, asked.at))
    return forecast(question, _played(question))


def _assumed(repo: FleetRepo, asked: Asked) -> Assumptions:
    for name, share in (("--failure-rate", asked.failure_rate), ("--offline", asked.offline)):
        if not 0 <= share <= 1:
            raise UsageError(
                f"{share:g} is no share of the devices",
                code="E_SIMULATE",
                place=name,
                remedy="Give a number from 0 to 1: 0.03 is 3 %.",
            )
    interval = repo.fleet.spec.pass_interval
    given = assume(Assumptions(interval=interval), asked.assume)
    return replace(given, failure_rate=asked.failure_rate, offline=asked.offline)


def _start(settings: Context, at: str) -> datetime:
    if not at:
        return settings.now().replace(second=0, microsecond=0)
    try:
        return parse_time(at)
    except ValueError:
        raise UsageError(
            "this is no time", code="E_SIMULATE", place="--at", remedy="Write it in UTC: --at 2026-01-02T03:04:05Z"
        ) from None


def _played(question: Question) -> list[Run]:
    """Play all runs; a terminal sees how far it is, and is told after the first run how long it takes."""
    begun, done = time.monotonic(), list[Run]()
    try:
        for run in simulate(question):
            done.append(run)
            took = time.monotonic() - begun
            left = took / len(done) * (question.runs - len(done))
            if len(done) == 1 and left > _TELL:
                notice("")
                talk(f"{question.runs} runs take about {left:.0f} s; --runs says how many.")
            if sys.stderr.isatty():
                notice(f"run {len(done)} of {question.runs}, {left:.0f} s left")
    finally:
        notice("")
    return done
