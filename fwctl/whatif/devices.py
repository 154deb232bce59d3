"""Modelled devices: what a visit finds, what it does there by `next_step`, and how long that takes.

They are told what real ones are told, and seen as the ledger sees real ones. Times are whole milliseconds since the
beginning of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import inf
from typing import Final, Literal

from fwctl.rollouts.actions import Defer, Install, Leave, Resume, TakeBack
from fwctl.rollouts.decide import next_step
from fwctl.rollouts.failures import backoff
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.view import DeviceView, Failure, OpenOrder, RolloutView
from fwctl.whatif.assumptions import CONNECT, TIMEOUT, Assumptions
from fwctl.whatif.traits import SOUND, Trait
from fwctl_agent.protocol.statements import Release

BEFORE: Final = "sha256:" + "0" * 64
"""what everybody runs when a run begins"""
ROUNDED: Final = 1000
"""the reconciler looks for a device that restarts a second later than it was told"""
Phase = Literal["trial", "failing", "reverting"]


@dataclass(frozen=True, slots=True)
class Visited:
    """What one visit comes to when it ends."""

    view: DeviceView
    end: int
    download: int = 0
    """milliseconds that a download took in it"""
    length: int = 0
    """bytes of the download"""


@dataclass
class Devices:
    """The fleet of one run."""

    plan: Plan
    assumed: Assumptions
    traits: Mapping[str, Trait]
    start: datetime
    views: dict[str, DeviceView] = field(default_factory=dict)
    exposed: set[str] = field(default_factory=set)
    """on which the firmware ran, however shortly"""
    _phases: dict[str, tuple[Phase, int]] = field(default_factory=dict)
    """where a device is in its order, and until when it restarts"""
    _ill: dict[str, int] = field(default_factory=dict)
    """when those fail that do so late"""

    def __post_init__(self) -> None:
        self._connect, self._timeout = int(CONNECT * 1000), int(TIMEOUT * 1000)
        self._restart, self._probes = self.assumed.restart * 1000, self.assumed.probes * 1000
        self._back = {device: trait.back * 1000 for device, trait in self.traits.items() if trait.back}
        self.may_return = {device for device, back in self._back.items() if back < inf}
        """who is away, and will come back"""

    def at(self, moment: int) -> datetime:
        """Return a moment of the run as a time."""
        return self.start + timedelta(milliseconds=moment)

    def visit(self, device: str, rollout: RolloutView, now: int) -> Visited:
        """Visit a device; its view is as it is from now on, and the returned one as it will be at the end."""
        known = self.views.get(device)
        view = known or DeviceView(id=device, running=BEFORE, version=self.assumed.version, observed_at=self.at(now))
        phase, until = self._phases.get(device, (None, 0))
        back = self._back.get(device, 0)
        if now < until or now < back:
            return self._missed(view, now + (self._connect if now >= back else self._timeout))
        self.may_return.discard(device)
        seen = self._seen(view, now) if known is not None else view
        match step := next_step(self.plan, rollout, seen, self.at(now)):
            case Install():
                return self._install(seen, step, now)
            case Resume():
                return self._go_on(seen, phase, now)
            case TakeBack(install=install):
                return self._take_back(seen, install, phase, now)
            case Defer(due=due):
                since = view.deferred_since or self.at(now)
                return Visited(replace(seen, due_at=due, deferred_since=since), now + self._connect)
            case Leave(due=due):
                return Visited(seen if due is None else replace(seen, due_at=due), now + self._connect)
            case _:  # Activate
                return self._restarted(replace(seen, staged=False), now + self._connect)

    def _seen(self, view: DeviceView, now: int) -> DeviceView:
        moment = self.at(now)
        ill = self._ill.get(view.id)
        if ill is not None and now >= ill and not view.spent:
            # It went back by itself, and tells so now.
            failure = Failure(view.attempts, "health", "E_PROBE_FAILED", moment)
            view = replace(view, running=BEFORE, by_mandate=False, spent=True, failure=failure)
        return replace(view, observed_at=moment, unreachable_since=None, misses=0, due_at=None, deferred_since=None)

    def _missed(self, view: DeviceView, end: int) -> Visited:
        misses, moment = view.misses + 1, self.at(end)
        due = moment + backoff(self.plan.retry.backoff, device=view.id, failures=misses)
        since = view.unreachable_since or moment
        return Visited(replace(view, unreachable_since=since, misses=misses, due_at=due), end)

    def _install(self, seen: DeviceView, step: Install, now: int) -> Visited:
        number, moment, release = step.attempt, self.at(now), step.stop or self.plan.release
        order = OpenOrder(f"{seen.id}/{number}", number, "sent", moment, accepted=False)
        begun = replace(
            seen,
            order=order,
            install=order.id,
            ordered=release.digest,
            started_at=moment,
            attempts=number,
            failure=None,
            confirmed=False,
        )
        self.views[seen.id] = begun
        takes = max(1, round(1000 * release.length / self.assumed.bandwidth))
        end = now + self._connect + takes
        if step.stop is None and self.traits.get(seen.id, SOUND).flaw == "install":
            return Visited(self._failed(begun, "install", "E_COMMAND", end), end, takes, release.length)
        if self.plan.wave_of[seen.id].activation == "hold":
            held = replace(begun, order=replace(order, state="staged", accepted=True), staged=True)
            return Visited(held, end, takes, release.length)
        accepted = replace(begun, order=replace(order, state="running", accepted=True))
        return replace(self._restarted(accepted, end), download=takes, length=release.length)

    def _restarted(self, view: DeviceView, end: int) -> Visited:
        """Start the new firmware; where that takes no time, it is tried at once."""
        if view.ordered == self.plan.release.digest:
            self.exposed.add(view.id)
        if not self._restart:
            return self._on_trial(view, end)
        return Visited(self._restarts(view, "trial", end), end)

    def _restarts(self, view: DeviceView, phase: Phase, end: int) -> DeviceView:
        until = end + self._restart
        self._phases[view.id] = phase, until
        due = self.at(until + ROUNDED)
        return replace(view, back_due_at=due) if phase == "reverting" else replace(view, due_at=due)

    def _go_on(self, seen: DeviceView, phase: Phase | None, now: int) -> Visited:
        if phase == "failing":
            end = now + self._connect
            self._phases.pop(seen.id, None)
            return Visited(self._failed(seen, "health", "E_PROBE_FAILED", end), end)
        return self._on_trial(seen, now + self._connect)

    def _on_trial(self, view: DeviceView, now: int) -> Visited:
        """Run the probes, and confirm what passes them."""
        trait, end = self.traits.get(view.id, SOUND), now + self._probes
        self._phases.pop(view.id, None)
        stop = next((stop for stop in self.plan.stops if stop.digest == view.ordered), None)
        if stop is not None:
            return Visited(self._passed(view, stop, end), end)
        if trait.flaw == "health":
            if self._restart:
                return Visited(self._restarts(view, "failing", end), end)
            return Visited(self._failed(view, "health", "E_PROBE_FAILED", end), end)
        if trait.flaw == "late":
            self._ill[view.id] = end + round(trait.moment * (self.plan.spec.watch or 0) * 1000)
        return Visited(self._passed(view, self.plan.release, end), end)

    def _passed(self, view: DeviceView, release: Release, end: int) -> DeviceView:
        """Return a device that has confirmed a release."""
        return replace(
            view,
            order=None,
            running=release.digest,
            version=release.version,
            by_mandate=True,
            confirmed=True,
            passed=(*view.passed, release.digest),
            passed_attempt=view.attempts,
            observed_at=self.at(end),
        )

    def _failed(self, view: DeviceView, klass: Literal["install", "health"], code: str, end: int) -> DeviceView:
        failure = Failure(view.attempts, klass, code, self.at(end))
        return replace(view, order=None, failure=failure, spent=klass == "health", observed_at=self.at(end))

    def _take_back(self, seen: DeviceView, install: str, phase: Phase | None, now: int) -> Visited:
        end = now + self._connect
        if self._restart and phase != "reverting" and (seen.by_mandate or phase is not None):
            back = OpenOrder(f"{install}/back", seen.attempts, "running", self.at(now), accepted=True, verb="revert")
            return Visited(self._restarts(replace(seen, back=back), "reverting", end), end)
        self._phases.pop(seen.id, None)
        switched = phase is not None or seen.by_mandate
        over = replace(seen, order=None, back=None, back_due_at=None, running=BEFORE, by_mandate=False)
        return Visited(replace(over, spent=over.spent or switched, taken_back=True, observed_at=self.at(end)), end)
