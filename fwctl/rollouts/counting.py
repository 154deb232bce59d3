"""How many devices of each wave stand how, kept by adding and taking away; what holds a wave is applied to the sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from fwctl.rollouts.health.gates import Tally
from fwctl.rollouts.standing import FINAL, Hold, Kind, StandingState, Verdict


class Counts:
    """Sums over the devices of a rollout, by wave and in all."""

    def __init__(self) -> None:
        self._kinds: list[Counter[Kind]] = []
        self._holds: Sequence[Hold | None] = ()
        self._states: Counter[tuple[StandingState, bool]] = Counter()
        self._blamed: set[int] = set()

    def begin(self, waves: Iterable[Sequence[Verdict]], holds: Sequence[Hold | None]) -> None:
        """Count everybody."""
        self._kinds = [_kinds(verdicts) for verdicts in waves]
        self._blamed = {wave for wave, kinds in enumerate(self._kinds) if any(kind.against for kind in kinds)}
        self.hold(holds)

    def hold(self, holds: Sequence[Hold | None]) -> None:
        """Take in what holds the waves now."""
        self._holds = holds
        self._states = Counter()
        for hold, kinds in zip(holds, self._kinds, strict=True):
            for kind, number in kinds.items():
                self._states[kind.under(hold)] += number

    def move(self, wave: int, old: Kind, new: Kind) -> None:
        """Count a device of a wave as `new` that was counted as `old`."""
        if old == new:
            return
        kinds, hold = self._kinds[wave], self._holds[wave]
        kinds[old] -= 1
        kinds[new] += 1
        self._states[old.under(hold)] -= 1
        self._states[new.under(hold)] += 1
        if new.against:
            self._blamed.add(wave)
        elif old.against and not any(number for kind, number in kinds.items() if kind.against):
            self._blamed.discard(wave)

    @property
    def by_state(self) -> Counter[str]:
        """How many devices stand how."""
        found: Counter[str] = Counter()
        for (state, _), number in self._states.items():
            if number:
                found[state] += number
        return found

    @property
    def settled(self) -> bool:
        """Say whether nobody is left who could still get there without being looked for."""
        return not any(number for (state, out), number in self._states.items() if state not in FINAL and not out)

    @property
    def waiting(self) -> bool:
        """Say whether somebody has nothing under way and could still start."""
        return any(number and kind.free and not kind.out for kinds in self._kinds for kind, number in kinds.items())

    @property
    def blamed(self) -> list[int]:
        """The waves that have failures that count."""
        return sorted(self._blamed)

    def standing(self, wave: int) -> Counter[str]:
        """Return how many devices of a wave stand how."""
        found: Counter[str] = Counter()
        for kind, number in self._kinds[wave].items():
            if number:
                found[kind.under(self._holds[wave])[0]] += number
        return found

    def tally(self, wave: int, *, staged: bool = False) -> Tally:
        """Count the devices of a wave for its gate; with `staged`, who holds the firmware has got there."""
        there = ("reached", "staged") if staged else ("reached",)
        size = reached = counted = other = 0
        for kind, number in self._kinds[wave].items():
            state, out = kind.under(self._holds[wave])
            if out:
                continue
            size += number
            reached += number if state in there else 0
            counted += number if kind.against else 0
            other += number if state == "straggler" or (state == "failed" and not kind.against) else 0
        return Tally(size, reached, counted, other)


class Marks:
    """Which devices stand in the states that are told by name, so that a few of them are found without a walk."""

    STATES: tuple[StandingState, ...] = ("failed", "straggler", "retry", "in-flight")

    def __init__(self) -> None:
        self._seats: dict[tuple[StandingState, bool], set[int]] = {}

    def move(self, seat: int, old: Verdict, new: Verdict) -> None:
        """Take in that a device has another verdict."""
        before, after = (old.state, old.free), (new.state, new.free)
        if before == after:
            return
        if before[0] in self.STATES:
            self._seats.get(before, set()).discard(seat)
        if after[0] in self.STATES:
            self._seats.setdefault(after, set()).add(seat)

    def of(self, states: Iterable[StandingState], *, free: bool) -> set[int]:
        """Return who stands so, and has nothing under way (`free`) or something."""
        return set[int]().union(*(self._seats.get((state, free), ()) for state in states))


def _kinds(verdicts: Sequence[Verdict]) -> Counter[Kind]:
    """Count by kind. Most share a few verdicts, which are told apart by identity: hashing them would cost more."""
    known = {id(verdict): verdict for verdict in verdicts}
    found: Counter[Kind] = Counter()
    for one, number in Counter(map(id, verdicts)).items():
        found[known[one].kind] += number
    return found
