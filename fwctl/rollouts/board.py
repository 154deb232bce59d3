"""The standings of one rollout, kept from round to round: an update costs what has changed, not the size of the fleet.

It decides nothing and contacts nobody. A device is judged again when it is named as changed, when its verdict ends by
itself, and when a visit of it begins or ends. What holds a whole wave (a stop, an approval, waves before it) is kept
apart from its devices, so that a wave opens without judging them. Devices are numbered by their place in the plan.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, ValuesView
from datetime import datetime
from itertools import accumulate, chain, pairwise

from fwctl.rollouts.counting import Counts, Marks
from fwctl.rollouts.going_back import NEVER_TOUCHED, judge_back, kept
from fwctl.rollouts.health.soaking import Soak
from fwctl.rollouts.holds import Context, Hold, StandingState, changes_at, hold_of
from fwctl.rollouts.limits.meter import LimitLine, Meter
from fwctl.rollouts.paths.stepping import NO_PATH
from fwctl.rollouts.plan import Plan, Wave
from fwctl.rollouts.queues import Timers
from fwctl.rollouts.rails.rules import FreezeOf
from fwctl.rollouts.standing import MAY_START, Standing, Verdict, judge
from fwctl.rollouts.turns import Turns
from fwctl.rollouts.view import DeviceView, RolloutView, WaveView
from fwctl_agent.protocol.statements import FailureClass

LASTING: tuple[FailureClass | None, ...] = ("install", "health", "unconfirmed", "silent-revert")
"""failures of the device itself: it is kept out of everything until somebody has looked at it"""


class Board(Mapping[str, Standing]):
    """Where the members of a plan stand; as a mapping, the standing of each who has not been dropped, made when asked.

    Valid until the next `update`.
    """

    rollout: RolloutView
    now: datetime

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._members = tuple(chain.from_iterable(wave.devices for wave in plan.all_waves))
        self._seats = {device: seat for seat, device in enumerate(self._members)}
        self._dropped = frozenset(self._seats[device] for device in plan.dropped if device in self._seats)
        self._starts = list(accumulate((len(wave.devices) for wave in plan.all_waves), initial=0))
        self._numbers = {wave.name: number for number, wave in enumerate(plan.all_waves)}
        self.counts = Counts()
        self._kept = frozenset[str]()
        self._begun = False

    # -- the mapping ---------------------------------------------------------------------------------------------------

    def __getitem__(self, device: str) -> Standing:
        seat = self._seats[device]
        if seat in self._dropped:
            raise KeyError(device)
        return self._told(seat, self.holds[self._wave(seat)])

    def __iter__(self) -> Iterator[str]:
        return (device for seat, device in enumerate(self._members) if seat not in self._dropped)

    def values(self) -> ValuesView[Standing]:
        return _Values(self)

    def each(self) -> Iterator[Standing]:
        """Make the standings of all, in the order of the plan."""
        for (start, end), hold in zip(pairwise(self._starts), self.holds, strict=True):
            for seat in range(start, end):
                if seat not in self._dropped:
                    yield self._told(seat, hold)

    def __len__(self) -> int:
        return len(self._members) - len(self._dropped)

    def __contains__(self, device: object) -> bool:
        seat = self._seats.get(device) if isinstance(device, str) else None
        return seat is not None and seat not in self._dropped

    # -- what a decision asks ------------------------------------------------------------------------------------------

    def number(self, wave: Wave) -> int:
        """Return the place of a wave in the plan."""
        return self._numbers[wave.name]

    @property
    def refused(self) -> DeviceView | None:
        """The first device that has refused what we sent."""
        return self.rollout.devices[self._members[min(self._refused)]] if self._refused else None

    def lasting(self) -> list[Standing]:
        """Return the standings of those who failed for good and are to be put in quarantine."""
        return [self._standing(seat) for seat in sorted(self._lasting)]

    @property
    def in_flight(self) -> int:
        """How many hold a place."""
        return self._turns.in_flight

    def dues(self) -> tuple[datetime | None, datetime | None]:
        """Return the next moment at which a device is due, and the next without stragglers."""
        return self._turns.dues(self.holds, self._may_start)

    def due(self, room: int) -> list[Standing]:
        """Return who is contacted now, in order: all in flight that are due, and `room` others at the most."""
        return [self._standing(seat) for seat in self._turns.due(room, self.holds, self._may_start, self._wave)]

    def limits(self) -> tuple[LimitLine, ...]:
        """Return what limits hold in the present round, with how many devices; none on the way back."""
        pending = self.counts.by_state["pending"]
        visiting = (seat for seat in self._known(self.rollout.visiting) if self.holds[self._wave(seat)] is None)
        pending -= sum(1 for seat in visiting if self._verdicts[seat].state == "pending")
        return self._turns.lines(self.holds, pending)

    def looks(self) -> list[str]:
        """Return who is looked at because its wave soaks."""
        return [self._members[seat] for soak in self.soaks.values() for seat in soak.looks(self.now)]

    def _told(self, seat: int, hold: Hold | None) -> Standing:
        """Return where a device stands, with the limit that holds it in this round."""
        standing = self._verdicts[seat].standing(self._members[seat], self.now, hold)
        candidate = (hold is None and self._may_start(seat)) or self._turns.is_bound(seat)
        held = self._turns.held(seat, self._wave(seat)) if candidate else None
        return held.on(standing) if held else standing

    def _may_start(self, seat: int) -> bool:
        verdict = self._verdicts[seat]
        return verdict.free and verdict.is_due(self.now) and not self._visiting(seat) and seat not in self._dropped

    # -- what a summary asks ------------------------------------------------------------------------------------------

    @property
    def until(self) -> datetime | None:
        """The next moment at which time alone makes another verdict on somebody, or holds a wave or lets it go."""
        ends = self._frame_ends if self.current or self.counts.waiting else None
        return min((moment for moment in (self._until.next(), ends) if moment is not None), default=None)

    def first(self, states: Sequence[StandingState], limit: int) -> list[list[Standing]]:
        """Return the first devices of each wave that stand so, `limit` at the most, without asking everybody.

        Only states in `Marks.STATES` are known by name.
        """
        seats = self._marks.of(states, free=False)
        # Whoever could start is held with the wave, except whom the hold spares.
        seats |= {seat for seat in self._marks.of(states, free=True) if self._stands_free(seat)}
        # Nobody but a person can help who has no legal path.
        seats |= self.lost if "failed" in states else set()
        found: list[list[Standing]] = [[] for _ in self.plan.all_waves]
        for seat in sorted(seats):
            if len(wave := found[self._wave(seat)]) < limit:
                wave.append(self._standing(seat))
        return found

    def _stands_free(self, seat: int) -> bool:
        hold = self.holds[self._wave(seat)]
        return hold is None or hold.spares(self._verdicts[seat].state)

    # -- keeping it up to date -----------------------------------------------------------------------------------------

    def update(self, rollout: RolloutView, changed: Collection[str] | None, now: datetime) -> None:
        """Take in what has changed since the last update: `changed` devices, and anything else in `rollout`.

        None: all devices may have changed. A clock that goes back costs as much.
        """
        before = self.rollout if self._begun else None
        rebuild = before is None or changed is None or now < self.now
        rebuild = rebuild or (before is not None and self._all_switched(before) != self._all_switched(rollout))
        rebuild = rebuild or (before is not None and (before.back_since is None) != (rollout.back_since is None))
        rebuild = rebuild or kept(rollout) != self._kept
        self.rollout, self.now = rollout, now
        if rebuild or before is None or changed is None:
            self._rebuild()
        else:
            moved = (before.visiting ^ rollout.visiting) | (before.down_elsewhere ^ rollout.down_elsewhere)
            if self._frame != _frame(rollout) or (self._frame_ends is not None and self._frame_ends <= now):
                self._reframe()
                self._turns.frame(rollout)
                self.counts.hold(self.holds)
                self._begin_soaks()
                moved |= rollout.visiting  # a look at who waits may become a start when its wave opens
            ended = self._until.due(now)
            self._touch({*self._known(changed), *self._known(moved), *ended})
        self._turns.tick(now, self._visiting)

    def _rebuild(self) -> None:
        self._begun = True
        self.back = self.rollout.back_since is not None
        self._kept = kept(self.rollout)
        self._verdicts: list[Verdict] = [NEVER_TOUCHED if self.back else MAY_START] * len(self._members)
        self._turns = Turns(
            self.plan.all_waves, self._starts, meter=None if self.back else Meter(self.plan, self._members)
        )
        self._until = Timers()
        self._marks = Marks()
        self._refused: set[int] = set()
        self._lasting: set[int] = set()
        self.lost: set[int] = set()
        """those to whose target no legal path leads"""
        self.soaks: dict[str, Soak] = {}
        self._reframe()
        self._turns.frame(self.rollout)
        self._judge_all()
        self._begin_soaks()

    def _judge_all(self) -> None:
        """Judge who is known. Most have nothing to wait for, or only their turn: for these the verdict is all."""
        now, seats, busy = self.now, self._seats, list[int]()
        since = self._turns.since(now)
        for name, device in self.rollout.devices.items():
            seat = seats.get(name)
            if seat is None:
                continue
            verdict = self._verdict(seat, device)
            if device.failure is None and verdict.is_quiet and seat not in self._dropped:
                self._verdicts[seat] = verdict
                begun = device.started_at
                if (begun is not None and begun > since) or device.unreachable_since is not None:
                    self._turns.know(seat, device, verdict, now, visiting=False)  # a visit is taken in below
            else:
                busy.append(seat)
        self.counts.begin(self._by_wave(), self.holds)
        self._touch({*busy, *self._known(self.rollout.visiting)})

    def _by_wave(self) -> Iterator[list[Verdict]]:
        for start, end in pairwise(self._starts):
            verdicts = self._verdicts[start:end]
            if self._dropped:
                verdicts = [verdict for seat, verdict in enumerate(verdicts, start) if seat not in self._dropped]
            yield verdicts

    def _reframe(self) -> None:
        """Take in what holds for whole waves."""
        self._frame = _frame(self.rollout)
        context = Context(self.plan, self.rollout, self.now)
        self._frame_ends = None if self.back else changes_at(context)
        self.current: tuple[Wave, ...] = tuple(context.at.values())
        self.holds: list[Hold | None] = [None if self.back else hold_of(context, wave) for wave in self.plan.all_waves]

    def _begin_soaks(self) -> None:
        self.soaks = {}
        for wave in () if self.back else self.current:
            view = self.rollout.waves.get(wave.name)
            if view is not None and view.soak_since is not None:
                self.soaks[wave.name] = Soak(wave, view, view.soak_since)
                for device in wave.devices:
                    self._note(self._seats[device], self.rollout.devices.get(device))

    def _touch(self, seats: Iterable[int]) -> None:
        devices = self.rollout.devices
        for seat in seats:
            device = devices.get(self._members[seat])
            _put(self._refused, seat, wanted=_has_refused(device))
            if seat not in self._dropped:
                self._judge(seat, device)

    def _judge(self, seat: int, device: DeviceView | None) -> None:
        wave = self._wave(seat)
        verdict = self._verdict(seat, device)
        old = self._verdicts[seat]
        if verdict is not old:
            self._verdicts[seat] = verdict
            self._until.set(seat, verdict.until)
            self.counts.move(wave, old.kind, verdict.kind)
            self._marks.move(seat, old, verdict)
        visiting = self._visiting(seat)
        failed = verdict.state == "failed" and verdict.klass in LASTING and not self.back
        _put(self.lost, seat, wanted=verdict.rule == NO_PATH)
        _put(self._lasting, seat, wanted=failed and device is not None and not _looked_after(device))
        self._turns.put(seat, wave, verdict, self.now, visiting=visiting)
        # who waits for its wave is looked at for the comparison with a control group, and starts nothing
        begun = self.plan.all_waves[wave].name in self.rollout.waves
        self._turns.know(seat, device, verdict, self.now, visiting=visiting and begun)
        self._note(seat, device)

    def _verdict(self, seat: int, device: DeviceView | None) -> Verdict:
        if not self.back:
            staged = device is not None and device.staged
            return judge(self.plan, device, self.now, switched=staged and self._switched(seat))
        name = self.plan.all_waves[self._wave(seat)].name if self._kept else ""
        return judge_back(self.plan, device, name if name in self._kept else "")

    def _note(self, seat: int, device: DeviceView | None) -> None:
        soak = self.soaks.get(self.plan.all_waves[self._wave(seat)].name) if self.soaks else None
        if soak is not None:
            runs = self._verdicts[seat].state == "reached" and seat not in self._dropped
            soak.note(seat, device if runs else None, visiting=self._visiting(seat))

    # -- small ---------------------------------------------------------------------------------------------------------

    def _wave(self, seat: int) -> int:
        return bisect_right(self._starts, seat) - 1

    def _visiting(self, seat: int) -> bool:
        return self._members[seat] in self.rollout.visiting

    def _switched(self, seat: int) -> bool:
        at = self.rollout.waves.get(self.plan.all_waves[self._wave(seat)].name)
        return at is not None and at.switched

    def _all_switched(self, rollout: RolloutView) -> list[str]:
        """Return the waves whose devices may switch to what they hold: everybody is judged anew when that changes."""
        holding = (wave.name for wave in self.plan.all_waves if wave.activation == "hold")
        return [name for name in holding if (at := rollout.waves.get(name)) is not None and at.switched]

    def _known(self, devices: Iterable[str]) -> Iterator[int]:
        return (self._seats[device] for device in devices if device in self._seats)

    def _standing(self, seat: int) -> Standing:
        return self[self._members[seat]]


class _Values(ValuesView[Standing]):
    """All standings without looking each one up by its name."""

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self._board = board

    def __iter__(self) -> Iterator[Standing]:
        return self._board.each()


Frame = tuple[int, str, str, Mapping[str, WaveView], frozenset[str], tuple[FreezeOf, ...]]


def _frame(rollout: RolloutView) -> Frame:
    """Return what holds for whole waves."""
    said = rollout.approved_stage, rollout.not_approved, rollout.stopped
    return *said, dict(rollout.waves), rollout.down_elsewhere, rollout.freezes


def _put(seats: set[int], seat: int, *, wanted: bool) -> None:
    if wanted:
        seats.add(seat)
    else:
        seats.discard(seat)


def _has_refused(device: DeviceView | None) -> bool:
    return device is not None and device.failure is not None and device.failure.klass == "refused"


def _looked_after(device: DeviceView) -> bool:
    """Say whether somebody has looked at it after it failed."""
    return bool(device.quarantined) or device.pardoned
