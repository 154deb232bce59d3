"""A plan as people read it stays readable, whatever its size."""

from __future__ import annotations

from dataclasses import replace

from fwctl.cli.planning import PlanResult
from fwctl.reconcile.commit import prepare
from fwctl.render.plan import text
from fwctl.rollouts.plan import Plan, Wave
from tests.unit.rollouts.fleets import KEY, NOW, files, repo_of

_REPO = repo_of(files(["a"], ["strategy: {type: Rolling, batchSize: 1}"]))
_PREPARED = prepare(_REPO, _REPO.rollouts[KEY], files(["a"]), None, NOW)


def shown(plan: Plan) -> list[str]:
    return text([PlanResult(replace(_PREPARED, plan=plan), (), 0)]).splitlines()


def waves(count: int, *, stage_of_last: int = 1) -> tuple[Wave, ...]:
    made = [Wave(f"wave-{n}", 1, (f"device-{n:05d}",), 0) for n in range(1, count)]
    return (*made, Wave(f"wave-{count}", stage_of_last, ("last",), 0))


def test_of_many_waves_the_first_and_the_last_are_shown() -> None:
    plan = replace(_PREPARED.plan, waves=waves(1000, stage_of_last=2))
    lines = shown(plan)
    assert len(lines) < 70
    assert "  ... 979 more waves with 979 devices (--format json lists all)" in lines
    at = lines.index("  -- wave-1000 waits for approval of stage 2 --")
    assert lines[at + 1].startswith("  wave-1000 (stage 2): 1 device")
    assert lines[-1].startswith("1,000 devices in 1000 waves")


def test_a_wave_that_waits_for_approval_is_shown_wherever_it_is() -> None:
    middle = tuple(replace(wave, stage=1 if at < 500 else 2) for at, wave in enumerate(waves(1000)))
    lines = shown(replace(_PREPARED.plan, waves=middle))
    assert "  -- wave-501 waits for approval of stage 2 --" in lines
    assert "  ... 480 more waves with 480 devices (--format json lists all)" in lines
    assert "  ... 498 more waves with 498 devices (--format json lists all)" in lines


def test_a_few_waves_are_all_shown() -> None:
    lines = shown(replace(_PREPARED.plan, waves=waves(20)))
    assert sum(line.startswith("  wave-") for line in lines) == 20
    assert not any("more wave" in line for line in lines)


def test_a_plan_says_who_goes_back() -> None:
    """What somebody approves with it stands in the plan."""
    words = {
        "{}": "a failed gate takes every device back, within 2m",
        "{scope: wave}": "a failed gate takes back every wave that has not passed, within 2m",
        "{scope: wave, automatic: false}": "a failed gate stops the rollout; going back is yours to order",
        "{allowed: false, automatic: false}": "a failed gate stops the rollout; going back needs its own approval",
    }
    for rollback, told in words.items():
        sources = files(["a"], ["strategy: {type: Direct}", f"rollback: {rollback}"])
        repo = repo_of(sources)
        assert f"  then:  {told}" in shown(prepare(repo, repo.rollouts[KEY], sources, None, NOW).plan)
