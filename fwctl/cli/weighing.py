"""What a control verb would mean: for the rollout as it stands, and for each of its devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from fwctl.errors import TrustRefused, UsageError
from fwctl.reconcile.commit import Prepared
from fwctl.rollouts import switching
from fwctl.rollouts.decide import decide
from fwctl.rollouts.health.gates import Fail, Tally, judge
from fwctl.rollouts.plan import Wave
from fwctl.rollouts.standing import Standing
from fwctl.rollouts.view import RolloutView
from fwctl.rollouts.waves import current

Verb = Literal["pause", "resume", "promote", "abort", "rollback"]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for. `at_once` does not wait for the next pass; `wave` is for promote, `revert` for abort."""

    verb: Verb
    rollout: str
    reason: str
    revert: bool = False
    wave: str = ""
    at_once: bool = False


@dataclass(frozen=True)
class Effect:
    """What becomes of so many devices."""

    who: str
    devices: int | None
    """None where no ledger tells it"""
    what: str


@dataclass(frozen=True)
class Case:
    """One rollout as it stands."""

    wish: Wish
    prepared: Prepared
    view: RolloutView
    standings: Mapping[str, Standing]
    seen: bool
    now: datetime
    dropped: int = 0
    """devices that run the firmware and have no place in the plan any more"""

    @property
    def key(self) -> str:
        return self.prepared.key

    @property
    def state(self) -> str:
        return self.prepared.control.state if self.prepared.control else "running"

    @property
    def goes_back(self) -> bool:
        control = self.prepared.control
        return (control is not None and control.goes_back) or self.view.back_since is not None

    @property
    def stays_back(self) -> bool:
        """Say whether it goes back already as far as is wished: a person may take back what waves have kept."""
        control, wish = self.prepared.control, self.wish
        told = control is not None and control.goes_back
        more = self.view.back_keeps and (wish.verb == "rollback" or wish.revert)
        return told or (self.view.back_since is not None and not more)


def stands(case: Case) -> str:
    """Return why there is nothing to write; empty if there is."""
    control, wish = case.prepared.control, case.wish
    words = f" ({control.words})" if control else ""
    match wish.verb:
        case "pause" if case.state == "paused":
            return f"{case.key} is paused already{words}"
        case "resume" if case.state == "running" and not case.goes_back:
            held = f"; what holds it is something else: {case.view.stopped}" if case.view.stopped else ""
            return f"{case.key} is not paused{held}"
        case "abort" if case.state == "aborted" and not wish.revert:
            return f"{case.key} is aborted already{words}"
        case "abort" | "rollback" if case.stays_back:
            return f"{case.key} goes back already{words}"
        case "promote" if _wave(case) is None:
            return f"{case.key}: {wish.wave or 'every wave'} has passed already"
        case _:
            return ""


def wanted(case: Case, promoted: frozenset[str]) -> tuple[str, frozenset[str]]:
    """Return the state and the promoted waves to write.

    Raises:
        UsageError: `E_CONTROL`.
    """
    verb = case.wish.verb
    over = "has gone back or goes back" if case.goes_back else "is aborted" if case.state == "aborted" else ""
    if over and verb in ("pause", "resume", "promote"):
        raise _cannot(
            case,
            f"it {over}, and goes on only with a new approval",
            f"To try again: raise `round` in rollouts/{case.key}.yaml, then fwctl plan {case.key} --lock",
        )
    match verb:
        case "pause":
            return "paused", promoted
        case "resume":
            return "running", promoted
        case "promote":
            return "running", promoted | {_word(case) or _promotable(case).name}
        case "abort" if not case.wish.revert:
            return "aborted", frozenset()
        case _:
            if not case.prepared.plan.spec.rollback.allowed:
                why = "its approval forbids going back: devices would refuse it"
                raise _cannot(case, why, f"fwctl abort {case.key} --keep --reason WHY stops it where it is.")
            return ("aborted" if verb == "abort" else "rolled-back"), frozenset()


def _word(case: Case) -> str:
    """Return what is promoted, as it is written: where a wave holds what it stages, the switch or the end of retain."""
    word = case.wish.wave
    if not word and case.seen:
        word = switching.word_now(case.prepared.plan, case.view, case.now) or ""
    if word:
        _promotable(case)
    return word


def _wave(case: Case) -> Wave | None:
    """Return the wave that is meant; None if it has passed. Without a ledger nobody knows which one is current."""
    plan, name = case.prepared.plan, case.wish.wave
    if not name and case.seen:
        name = switching.word_now(plan, case.view, case.now) or ""
    if not name and not case.seen:
        raise _cannot(case, "this machine has no ledger, so it does not know the current wave", "Say --wave NAME.")
    waves = {wave.name: wave for wave in plan.all_waves}
    if name in switching.words(plan):
        return None if switching.is_over(name, plan, case.view, case.now) else waves[name.partition("/")[2]]
    if name and name not in waves:
        raise UsageError(
            f"{case.key} has no wave {name[:40]}",
            code="E_NO_WAVE",
            place="--wave",
            remedy=f"One of: {', '.join(list(waves)[:10])}",
        )
    if not name:
        return _only(case, current(plan, case.view))
    view = case.view.waves.get(name)
    return None if view is not None and view.state == "passed" else waves[name]


def _only(case: Case, waves: Sequence[Wave]) -> Wave | None:
    """Return the one current wave; where regions go side by side a person must say which."""
    if len(waves) > 1:
        names = ", ".join(wave.name for wave in waves)
        raise _cannot(case, f"{len(waves)} waves are at work: {names}", f"Say which: --wave {waves[0].name}")
    return waves[0] if waves else None


def _promotable(case: Case) -> Wave:
    wave, at = _wave(case), current(case.prepared.plan, case.view)
    if wave is None:
        raise TypeError("a wave that has passed is told before")
    if case.state == "paused":
        raise _cannot(case, "it is paused", f"Resume it first: fwctl resume {case.key} --reason WHY")
    if case.view.stopped:
        raise _cannot(case, f"it is {case.view.stopped}", f"See why: fwctl explain {case.key}")
    if case.seen and at and wave not in at:
        first = next((one for one in at if one.track == wave.track), at[0]).name
        raise _cannot(case, f"{wave.name} waits for {first}", f"Promote {first} first, if you mean it.")
    if wave.stage > case.prepared.approved_stage:
        raise TrustRefused(
            f"{wave.name} is not approved; a promotion shortens a wait and approves nothing",
            code="E_NOT_APPROVED",
            place=case.key,
            remedy=f"fwctl approve {case.key}",
        )
    members = [case.standings[device] for device in wave.devices if device in case.standings]
    if isinstance(verdict := judge(case.prepared.plan.spec.gates, Tally.of(members)), Fail):
        raise _cannot(
            case, f"the gate of {wave.name} failed ({verdict.reason}), and a failed gate is never promoted", _SEE_WHY
        )
    return wave


_SEE_WHY = "See what failed: fwctl status ROLLOUT"


def _cannot(case: Case, why: str, remedy: str) -> UsageError:
    return UsageError(
        f"{case.wish.verb} is not possible: {why}",
        code="E_CONTROL",
        place=case.key,
        remedy=remedy.replace("ROLLOUT", case.key),
    )


def effects_of(case: Case) -> Iterator[Effect]:
    """Say what becomes of whom, by where they stand now."""
    version = case.prepared.plan.release.version
    if case.wish.verb == "promote":
        yield from _promotion(case)
        return
    back = case.wish.verb == "rollback" or case.wish.revert
    counts = Counter(_backwards(case) if back else _forwards(case))
    counts["dropped out"] = case.dropped if back else 0
    waits = (
        "will wait until it is resumed"
        if case.wish.verb == "pause"
        else f"will never get {version} under this approval"
    )
    if case.wish.verb == "resume":
        waits = "may start when due"
    words: Sequence[tuple[str, str]] = (
        ("queued", waits),
        ("in flight", "will be cancelled, or taken back" if back else "will finish what was begun"),
        ("done", "will be taken back to what ran before" if back else f"will keep {version}"),
        ("dropped out", "will be taken back to what ran before"),
        ("away", "will be taken back on return"),
        ("failed", "will stay as is"),
        ("unchanged", f"ran {version} before this rollout, and will keep it"),
        ("back", "went back already"),
    )
    if not case.seen:
        yield from (Effect(who, None, what) for who, what in words[:3])
        return
    for who, what in words:
        if counts[who]:
            yield Effect(who, counts[who], what)


def _promotion(case: Case) -> Iterator[Effect]:
    plan, wave = case.prepared.plan, _promotable(case)
    waves = plan.tracks[wave.track]
    later = waves[waves.index(wave) + 1 :]
    what = switching.meaning(_word(case)) or f"gate and soak of {wave.name} are not waited for"
    yield Effect(wave.name, len(wave.devices), what)
    if later:
        may = "may start" if later[0].stage <= case.prepared.approved_stage else "waits for approval"
        yield Effect(later[0].name, len(later[0].devices), may)


def _forwards(case: Case) -> Iterator[str]:
    words = {"reached": "done", "in-flight": "in flight", "failed": "failed"}
    return (words.get(standing.state, "queued") for standing in case.standings.values())


def _backwards(case: Case) -> Iterator[str]:
    plan, view = case.prepared.plan, replace(case.view, back_since=case.now, back_keeps=False)
    for device, standing in decide(plan, view, case.now).standings.items():
        forward = case.standings[device].state if device in case.standings else "held"
        match standing.state:
            case "in-flight":
                yield "in flight" if forward == "in-flight" else "done"
            case "retry":
                yield "away"
            case "back":
                yield "back"
            case "untouched":
                yield {"reached": "unchanged", "failed": "failed"}.get(forward, "queued")
            case _:
                yield "failed"
