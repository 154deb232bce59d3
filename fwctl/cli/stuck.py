"""The work behind `explain ROLLOUT` and `explain DEVICE`: what does not move, by which rule, and what changes it.

It shows the one judgement of `decide`, `stand` and `stand_back`; it makes none of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fwctl.cli import evidence
from fwctl.cli.context import Context
from fwctl.cli.evidence import Probe
from fwctl.cli.judging import RolloutStatus, rollout_status
from fwctl.cli.nexts import cure, next_commands
from fwctl.cli.planning import find_rollouts
from fwctl.errors import InputError
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import load_repo
from fwctl.reconcile.waving import INTERRUPTED, why_stopped
from fwctl.rollouts.failures import CLASSES
from fwctl.rollouts.rails.rules import set_aside
from fwctl.rollouts.standing import Standing
from fwctl.state import EventRow

_WAYS: Mapping[str, str] = {
    "not-approved": "the approvals that are missing",
    "paused": "a person who resumes it",
    "held": "somebody who looks, then a new approval",
    "stopped": "a newer release, or a new `round`, newly approved; or taking it back",
    "aborted": "a newer release, or a new `round`, newly approved",
    "rolled-back": "a newer release, or a new `round`, newly approved; nothing else brings it forward again",
}
"""what moves a rollout that stands still"""
_MOVED = ("reached", "back", "untouched")
_RULES: Mapping[str, str] = {
    "not_stopped": "the rollout is stopped",
    "not_quarantined": "quarantine",
    "approved": "approval",
    "guard_rail": "a freeze of a guard rail",
    "in_window": "a window that opens",
    "wave_open": "waves go one after another",
}


@dataclass(frozen=True)
class Case:
    """Devices that stand still for one rule, and what will change it."""

    state: str
    rule: str
    devices: tuple[Standing, ...]
    probes: Mapping[str, tuple[Probe, ...]]
    """device -> the bad probe results that it signed"""
    change: str
    commands: tuple[str, ...]
    due: datetime | None


@dataclass(frozen=True)
class Stuck:
    """A rollout, or one device in one, with everything in it that does not move."""

    topic: str
    rollout: str
    state: str
    reason: str
    cause: EventRow | None
    """what stopped it or sent it back"""
    since: datetime | None
    cases: tuple[Case, ...]
    moving: int
    """devices that are where they should be"""
    commands: tuple[str, ...]
    next_due: datetime | None
    now: datetime
    device: str = ""
    here: str = ""
    """why one device that waits for nothing stands as it does"""
    set_aside: tuple[str, ...] = ()
    """rules of guard rails that do not hold for the rollout, with the reasons"""

    @property
    def change(self) -> str:
        """What moves the rollout itself on; empty while passes do."""
        return _WAYS.get(self.state, "")

    @property
    def still(self) -> bool:
        return bool(self.cases)


def names(settings: Context) -> tuple[str, ...]:
    """Return what can be explained besides kinds and codes; nothing outside a fleet repository."""
    try:
        repo = load_repo(settings.files())
    except InputError:
        return ()
    return (*repo.rollouts, *(one.name for one in repo.rollouts.values()), *repo.devices)


def explain_stuck(settings: Context, topic: str) -> tuple[Stuck, ...]:
    """Return what is known about a rollout, or about a device in each rollout that has it.

    Raises:
        InputError: `E_NO_ROLLOUT` or `E_NO_PLACE`: nothing to explain.
    """
    commit, files = settings.committed()
    state = settings.read(files, commit)
    repo, now = state.repo, settings.now()
    is_device = topic in repo.devices and not _is_rollout(repo, topic)
    found = []
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        wanted = repo.rollouts.values() if is_device else find_rollouts(repo, topic)
        for rollout in wanted:
            prepared = state.rollouts[rollout.key]
            if is_device and topic not in prepared.plan.members:
                continue
            status = rollout_status(prepared, ledger, now)
            # Who failed is part of the answer, although it is back by now.
            still = [one for one in status.standings if one.state not in _MOVED or one.klass is not None]
            still = [one for one in still if one.device == topic] if is_device else still
            mandate = prepared.mandate.id if prepared.mandate else ""
            failed = [one.device for one in still if one.klass is not None]
            said = evidence.failure_said(ledger, mandate, failed) if ledger and failed else {}
            probes = {device: one.bad or one.probes for device, one in said.items()}
            cause = why_stopped(ledger, rollout.key, mandate) if ledger and status.state in INTERRUPTED else None
            found.append(_stuck(topic, status, still, probes, now, cause, device=topic if is_device else ""))
    if not found:
        raise InputError(
            f"no rollout has the device {topic}",
            code="E_NO_PLACE",
            place=topic,
            remedy=f"See: fwctl device show {topic}",
        )
    return tuple(found)


def _is_rollout(repo: FleetRepo, topic: str) -> bool:
    return topic in repo.rollouts or any(one.name == topic for one in repo.rollouts.values())


def _stuck(
    topic: str,
    status: RolloutStatus,
    still: Sequence[Standing],
    probes: Mapping[str, tuple[Probe, ...]],
    now: datetime,
    cause: EventRow | None,
    *,
    device: str,
) -> Stuck:
    row = status.recorded
    groups: dict[tuple[str, str], list[Standing]] = {}
    for standing in still:
        groups.setdefault((standing.state, _rule(standing)), []).append(standing)
    cases = tuple(_case(status, state, rule, members, probes) for (state, rule), members in groups.items())
    return Stuck(
        topic=topic,
        rollout=status.key,
        state=status.state,
        reason=status.reason,
        cause=cause,
        since=row.updated_at if row else None,
        cases=cases,
        set_aside=set_aside(status.prepared.plan),
        moving=sum(
            one.state in _MOVED and one.klass is None for one in status.standings if not device or one.device == device
        ),
        commands=_commands(status, cases, device),
        next_due=min((case.due for case in cases if case.due), default=status.next_due),
        now=now,
        device=device,
        here=next((one.reason for one in status.standings if one.device == device), "") if not still else "",
    )


def _rule(standing: Standing) -> str:
    return standing.klass or _RULES.get(standing.rule, standing.rule)


def _commands(status: RolloutStatus, cases: Iterable[Case], device: str) -> tuple[str, ...]:
    """Return the commands of the cases; where they have none, those of the rollout's state."""
    own = [command for case in cases for command in case.commands]
    state = [one for one in status.next_commands if not one.startswith("fwctl explain")]
    return tuple(dict.fromkeys([*own, *(state if not device or not own else ())])) or (f"fwctl status {status.key}",)


def _case(
    status: RolloutStatus, state: str, rule: str, members: list[Standing], probes: Mapping[str, tuple[Probe, ...]]
) -> Case:
    due = min((one.due for one in members if one.due), default=None)
    change, commands = _change(status, state, members[0])
    if cured := cure(rule, [one.device for one in members]):
        change, commands = f"{cured[0]}; then it goes on by itself", (cured[1],)
    shown = {one.device: probes[one.device] for one in members if one.device in probes}
    return Case(state, rule, tuple(members), shown, change, commands, due)


def _change(status: RolloutStatus, state: str, first: Standing) -> tuple[str, tuple[str, ...]]:
    """Return what will change how these devices stand, and the command for it; by state and rule, from a table."""
    key, back = status.key, status.back is not None
    if state in _MOVED:
        return "its firmware, or whatever made its probes fail", (f"fwctl device history {first.device}",)
    if state == "failed" and back:
        return "nothing by itself: the device refuses to go back, somebody has to look at it", (
            f"fwctl device show {first.device}",
        )
    if state == "failed":
        then = CLASSES[first.klass].then if first.klass else "an operator must look"
        history = f"fwctl device history {first.device}"
        if first.klass == "health":
            return f"{then}: a newer release, or a new `round` of this one, newly approved", (history,)
        fresh = f"fwctl quarantine release {first.device} --reason WHY"
        return f"{then}; released from quarantine it gets a fresh chance", (history, fresh)
    if state == "straggler":
        return "it is looked for again, and catches up under the same gates", ("fwctl reconcile --once",)
    if state in ("retry", "pending"):
        what = "it goes back when it returns" if back else "the next attempt, when it is due"
        return what, ("fwctl reconcile --once",)
    if state == "in-flight":
        given_up = f"; one that stays silent keeps its place until: fwctl quarantine add {first.device} --reason WHY"
        return "the device's answer" + given_up, ("fwctl reconcile --once",)
    return _held(status, key, first)


def _held(status: RolloutStatus, key: str, first: Standing) -> tuple[str, tuple[str, ...]]:
    match first.rule:
        case "approved":
            return "an approval of the stage that these devices are in", (f"fwctl approve {key}",)
        case "not_quarantined":
            return "somebody who has looked at it", (f"fwctl quarantine release {first.device} --reason WHY",)
        case "guard_rail":
            return "the freeze ends; nobody has to do anything", (f"fwctl status {key}",)
        case "in_window":
            return "the window opens; nobody has to do anything", (f"fwctl windows {key}",)
        case "wave_open":
            track = next((line.wave.track for line in status.waves if first.device in line.wave.devices), "")
            ahead = [line for line in status.waves if line.state != "passed" and line.wave.track == track]
            here = ahead[0] if ahead else None
            waits = f" ({here.reason})" if here and here.reason else ""
            return f"the wave before it passes{waits}", _moves(status)
        case _:
            commands = next_commands(key, status.state)
            return "somebody who lets it go on, or a new approval", tuple(
                one for one in commands if not one.startswith("fwctl explain")
            ) or (f"fwctl rollout show {key}",)


def _moves(status: RolloutStatus) -> tuple[str, ...]:
    return (f"fwctl approve {status.key}",) if status.wants_approval else ("fwctl reconcile --once",)
