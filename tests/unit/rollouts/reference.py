"""`decide` in its plainest form, which judges everybody anew: what the board must agree with in every round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fwctl.rollouts.actions import Action, Finish, GoBack, MoveWave, Quarantine, Stop, Visit
from fwctl.rollouts.going_back import stand_back
from fwctl.rollouts.health.gates import Fail, Inconclusive, Pass, Tally, Undecided, judge, too_many
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.standing import FINAL, Standing, stand
from fwctl.rollouts.view import RolloutView
from fwctl.rollouts.waves import NOBODY_JOINS, WaveStep, current
from fwctl.rollouts.windows.calendar import Closed, shut
from tests.unit.rollouts.limits_reference import World, choose
from tests.unit.rollouts.switching_reference import retained, stage

PROMPT = ("in-flight", "retry", "pending", "staged")
LASTING = ("install", "health", "unconfirmed", "silent-revert")


@dataclass(frozen=True)
class Told:
    """What a decision says, in a form that compares."""

    actions: tuple[Action, ...]
    standings: Mapping[str, Standing]
    next_due: datetime | None
    wave_due: datetime | None
    holding: str
    counts: Mapping[str, int]
    soon: datetime | None


def reference(plan: Plan, rollout: RolloutView, now: datetime) -> Told:
    members = [device for wave in plan.all_waves for device in wave.devices if device not in plan.dropped]
    judged = stand if rollout.back_since is None else stand_back
    standings = {device: judged(plan, rollout, device, now) for device in members}
    actions, due, step = _decided(plan, rollout, standings, now)
    counts: Counter[str] = Counter(one.state for one in standings.values())
    prompt = [one.due for one in standings.values() if one.state in PROMPT or "holds it until" in one.reason]
    soon = _earliest([*prompt, step.due], now)
    return Told(tuple(actions), standings, due, step.due, step.holding, counts, soon)


def _decided(
    plan: Plan, rollout: RolloutView, standings: dict[str, Standing], now: datetime
) -> tuple[list[Action], datetime | None, WaveStep]:
    due = _earliest([one.due for one in standings.values()], now)
    if rollout.back_since is not None:
        back = _back(plan, rollout, standings, now)
        at_once = any(isinstance(action, GoBack) for action in back)
        return back, None if at_once else due, WaveStep()
    if (stop := _stopped(plan, rollout)) is not None:
        return [stop], None, WaveStep()
    step = WaveStep(holding=rollout.stopped) if rollout.stopped else _wave(plan, rollout, standings, now)
    quarantines = _quarantines(rollout, standings)
    if step.actions:
        return [*quarantines, *step.actions], None, WaveStep()
    actions = [*quarantines, *_visits(plan, rollout, standings, now)]
    if not actions and not rollout.stopped:
        actions += _finished(plan, rollout, standings, now)
    return actions, _earliest([*(one.due for one in standings.values()), step.due, step.later], now), step


def _visits(plan: Plan, rollout: RolloutView, standings: dict[str, Standing], now: datetime) -> list[Action]:
    flying = {device for device, standing in standings.items() if _in_flight(rollout, standing)}
    due = [one.device for one in standings.values() if one.due is not None and one.due <= now]
    known = [device for device in due if device in flying and device not in rollout.visiting]
    world = World(plan, rollout, now, frozenset(plan.dropped))
    started, held = choose(world, standings, flying, plan.limits.max_concurrent - len(flying))
    standings.update(held)
    chosen = [device for device in standings if device in {*known, *started}]
    busy = {*rollout.visiting, *chosen}
    looks = [device for device in _looks(plan, rollout, standings, now) if device not in busy]
    wave_of = plan.wave_of
    visits: list[Action] = [Visit(device, standings[device].reason) for device in chosen]
    return visits + [Visit(device, f"{wave_of[device].name} soaks: does it still run well?") for device in looks]


def _in_flight(rollout: RolloutView, standing: Standing) -> bool:
    device = rollout.devices.get(standing.device)
    if standing.state == "in-flight" or standing.device in rollout.visiting:
        return True
    if device is not None and device.waits_to_switch and not device.spent:
        return False  # it has a place again only when it is asked to switch
    return not standing.dropped_out and device is not None and device.order is not None and device.order.accepted


def _looks(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing], now: datetime) -> list[str]:
    waves = current(plan, rollout)
    return [device for wave in waves for device in _looks_of(rollout, standings, now, wave)]


def _looks_of(rollout: RolloutView, standings: Mapping[str, Standing], now: datetime, wave: Wave) -> list[str]:
    view = rollout.waves.get(wave.name)
    if view is None or view.state != "soaking" or view.soak_since is None:
        return []
    end = view.soak_since + timedelta(seconds=wave.soak)
    every = max(timedelta(seconds=5), timedelta(seconds=wave.soak) / 4)
    found = []
    for device in wave.devices:
        known = rollout.devices.get(device)
        if device not in standings or standings[device].state != "reached" or known is None:
            continue
        if known.due_at is not None and known.due_at > now:
            continue
        last = max(known.observed_at, view.soak_since) if known.observed_at else view.soak_since
        if (now >= end and last < end) or (now < end and now >= last + every):
            found.append(device)
    return found


def _quarantines(rollout: RolloutView, standings: Mapping[str, Standing]) -> list[Action]:
    found: list[Action] = []
    for one in standings.values():
        device = rollout.devices.get(one.device)
        settled = device is None or device.quarantined or device.pardoned
        if one.state == "failed" and one.klass in LASTING and not settled:
            found.append(Quarantine(one.device, one.reason))
    return found


def _stopped(plan: Plan, rollout: RolloutView) -> Stop | GoBack | None:
    control = rollout.control
    if control is not None and (control.state == "rolled-back" or (control.state == "aborted" and control.revert)):
        return GoBack("control", control.words)
    if rollout.stopped:
        return None
    if control is not None and control.state in ("paused", "aborted"):
        return Stop(control.state, control.words)
    for name in plan.wave_of:
        device = rollout.devices.get(name)
        if device is not None and device.failure and device.failure.klass == "refused":
            return Stop("refused", f"{name} refused: {device.failure.code}")
    return None


def _finished(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing], now: datetime) -> list[Action]:
    if not all(one.state in FINAL or one.dropped_out for one in standings.values()) or current(plan, rollout):
        return []
    if rollout.finished is None and retained(plan, rollout, now) is not None:
        return []
    counts: Counter[str] = Counter(one.state for one in standings.values())
    counts["lost"] = sum(one.rule == "no_path" for one in standings.values())
    counts["held"] -= counts["lost"]
    words = (
        ("straggler", "stragglers"),
        ("failed", "failed"),
        ("held", "in quarantine"),
        ("lost", "without a legal path"),
    )
    more = [f"{counts[state]} {word}" for state, word in words if counts[state]]
    finish = Finish("complete", ", ".join([f"{counts['reached']} of {len(standings)} reached", *more]))
    return [finish] if finish != rollout.finished else []


def _back(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing], now: datetime) -> list[Action]:
    if rollout.back_keeps and isinstance(word := _stopped(plan, rollout), GoBack):
        return [word]
    due = [one for one in standings.values() if one.due is not None and one.due <= now]
    due = [one for one in due if one.device not in rollout.visiting]
    room = max(0, plan.spec.rollback.max_concurrent - len(rollout.visiting))
    actions: list[Action] = [Visit(one.device, one.reason) for one in due[:room]]
    counts: Counter[str] = Counter(one.state for one in standings.values())
    if not actions and not counts["in-flight"] and not rollout.visiting:
        more = [f"{counts['retry']} still to return"] if counts["retry"] else []
        staying = Counter(one.reason.removeprefix("stays: ") for one in standings.values() if one.rule == "no_way_back")
        refuse = counts["failed"] - staying.total()
        more += [f"{refuse} refuse"] if refuse else []
        more += [f"{number} stay: {why}" for why, number in sorted(staying.items())]
        keeping = [wave for wave in plan.all_waves if rollout.back_keeps and _passed(rollout, wave)]
        words = ", ".join([f"{counts['back']} taken back", *more])
        finish = Finish("rolled-back", "; ".join([words, *_keep(plan, keeping, standings)]))
        actions += [finish] if finish != rollout.finished else []
    return actions


def _wave(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing], now: datetime) -> WaveStep:
    if rollout.finished is None and (late := _failed_later(plan, rollout, standings)):
        return WaveStep(late)
    if joined := _failed_joining(plan, rollout, standings):
        return WaveStep(joined)
    waves = current(plan, rollout)
    if not waves and rollout.finished is None and (until := retained(plan, rollout, now)) is not None:
        return WaveStep(
            holding=f"keeps the old slots until {until:%Y-%m-%d %H:%M:%SZ}; fwctl promote ends it", later=until
        )
    steps = [_in_time(plan, rollout, wave, now, _one_wave(plan, rollout, standings, now, wave)) for wave in waves]
    for step in steps:
        if any(isinstance(action, Stop | GoBack) for action in step.actions):
            return step
    return WaveStep(
        tuple(action for step in steps for action in step.actions),
        min((step.due for step in steps if step.due), default=None),
        "; ".join(dict.fromkeys(step.holding for step in steps if step.holding)),
    )


def _in_time(plan: Plan, rollout: RolloutView, wave: Wave, now: datetime, step: WaveStep) -> WaveStep:
    """Outside its window, and in a freeze, a wave neither opens nor switches; what is judged is judged all the same."""
    closed = (_frozen(rollout, now) or shut(plan, wave, now)) if wave.stage <= rollout.approved_stage else None
    opens = any(isinstance(action, MoveWave) and action.state in ("open", "switching") for action in step.actions)
    if closed is None or (step.actions and not opens):
        return step
    due = min((moment for moment in (step.due, closed.opens) if moment), default=None)
    return WaveStep(due=due, holding=step.holding or closed.reason)


def _frozen(rollout: RolloutView, now: datetime) -> Closed | None:
    here = [one for one in rollout.freezes if one.freeze.begins <= now < one.freeze.ends]
    longest = max(here, key=lambda one: one.freeze.ends, default=None)
    return Closed(longest.words, longest.freeze.ends) if longest else None


def _one_wave(
    plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing], now: datetime, wave: Wave
) -> WaveStep:
    unapproved = wave.stage > rollout.approved_stage
    waits = f"{wave.name} waits for approval: {rollout.not_approved}" if unapproved else ""
    view = rollout.waves.get(wave.name)
    if view is None and unapproved:
        return WaveStep(holding=waits)
    if view is None:
        return WaveStep((MoveWave(wave.name, "open", f"{len(wave.devices)} devices may start"),))
    if view.state == "failed":
        return WaveStep(_failed(plan, rollout, wave, "maxFailureRate", view.reason))
    here = [standings[name] for name in wave.devices if name in standings]
    if wave.activation == "hold" and view.state == "open":
        return stage(plan, rollout, wave, here, waits)
    nobody = here and all(one.dropped_out for one in here) and wave is not plan.tracks[wave.track][-1]
    why = f"all {len(here)} are in quarantine or without a legal path; nobody is left to look at"
    verdict = (
        Inconclusive("minReached", why)
        if nobody
        else judge(plan.spec.gates, Tally.of(standings[name] for name in wave.devices if name in standings))
    )
    control = rollout.control
    if control is not None and wave.name in control.promoted and not unapproved and not isinstance(verdict, Fail):
        return WaveStep((MoveWave(wave.name, "passed", f"promoted by {control.words}"),))
    match verdict:
        case Undecided():
            reached = f"{sum(one.state == 'reached' for one in here)} of {sum(not one.dropped_out for one in here)}"
            at_it = wave.activation == "hold" and view.state == "switching"
            return WaveStep(holding=waits or (f"{wave.name} switches: {reached} switched" if at_it else ""))
        case Fail(rule=rule, reason=reason):
            return WaveStep(_failed(plan, rollout, wave, rule, reason))
        case Inconclusive(rule=rule, reason=reason):
            return WaveStep(holding=waits or f"{wave.name}, {rule}: {reason}")
        case Pass(reason=reason):
            return _passing(rollout, wave, standings, reason, now)


def _passing(
    rollout: RolloutView, wave: Wave, standings: Mapping[str, Standing], reason: str, now: datetime
) -> WaveStep:
    since = rollout.waves[wave.name].soak_since
    if not wave.soak:
        return WaveStep((MoveWave(wave.name, "passed", reason),))
    if since is None:
        return WaveStep((MoveWave(wave.name, "soaking", f"{reason}; soak for {wave.soak} s"),))
    end = since + timedelta(seconds=wave.soak)
    if now < end:
        return WaveStep(due=end, holding=f"{wave.name} soaks until {end:%H:%M:%SZ}")
    for name in wave.devices:
        if name in standings and standings[name].state == "reached":
            device = rollout.devices[name]
            if device.unreachable_since is None and (device.observed_at is None or device.observed_at < end):
                return WaveStep()
    return WaveStep((MoveWave(wave.name, "passed", f"{reason}, healthy through the soak"),))


def _failed_later(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing]) -> tuple[Action, ...]:
    for wave in plan.waves:
        view = rollout.waves.get(wave.name)
        if view is not None and view.state == "passed":
            tally = Tally.of(standings[name] for name in wave.devices if name in standings)
            if too_many(plan.spec.gates, tally.counted, len(wave.devices)):
                why = f"{tally.counted} of {len(wave.devices)} failed in the end"
                stop = _stop(plan, rollout, wave, "maxFailureRate", why)
                late = isinstance(stop, GoBack) and plan.spec.rollback.scope == "wave"
                return (MoveWave(wave.name, "failed", why), stop) if late else (stop,)
    return ()


def _failed_joining(plan: Plan, rollout: RolloutView, standings: Mapping[str, Standing]) -> tuple[Action, ...]:
    for wave in plan.late:
        here = [standings[name] for name in wave.devices if name in standings]
        verdict = judge(plan.spec.gates, Tally.of(here))
        waiting = any(one.state not in FINAL and not one.dropped_out for one in here)
        if _passed(rollout, wave) and isinstance(verdict, Fail) and (rollout.finished is None or waiting):
            return (Stop(verdict.rule, f"{wave.name}: {verdict.reason}; {NOBODY_JOINS}"),)
    return ()


def _failed(plan: Plan, rollout: RolloutView, wave: Wave, rule: str, reason: str) -> tuple[Action, ...]:
    return MoveWave(wave.name, "failed", reason), _stop(plan, rollout, wave, rule, reason)


def _stop(plan: Plan, rollout: RolloutView, wave: Wave, rule: str, reason: str) -> Action:
    why = f"{wave.name}: {reason}"
    if not (plan.spec.rollback.automatic and plan.spec.rollback.allowed):
        return Stop(rule, why)
    if plan.spec.rollback.scope == "rollout":
        return Stop(rule, f"{why}; {NOBODY_JOINS}") if wave in plan.late else GoBack(rule, why)
    stay = [one.name for one in plan.all_waves if one.name != wave.name and _passed(rollout, one)]
    words = [f"{', '.join(stay)} {'stays' if len(stay) == 1 else 'stay'}"] if stay else []
    return GoBack(rule, "; ".join([why, *words]), keeps=True)


def _passed(rollout: RolloutView, wave: Wave) -> bool:
    view = rollout.waves.get(wave.name)
    return view is not None and view.state == "passed"


def _keep(plan: Plan, waves: Sequence[Wave], standings: Mapping[str, Standing]) -> list[str]:
    """Return which waves keep the firmware; these are never more than are told by name."""
    sizes = [(wave.name, sum(_runs(standings, device) for device in wave.devices)) for wave in waves]
    named = [f"{name} ({size} device{'s' * (size != 1)})" for name, size in sizes if size]
    keep = "keeps" if len(named) == 1 else "keep"
    return [f"{', '.join(named)} {keep} {plan.release.model}@{plan.release.version}"] if named else []


def _runs(standings: Mapping[str, Standing], device: str) -> bool:
    return device in standings and standings[device].state == "reached"


def _earliest(moments: list[datetime | None], now: datetime) -> datetime | None:
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
