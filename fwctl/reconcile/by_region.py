"""The waves of a Regional rollout by region, as `status` and `rollout report` show them. Nothing is judged anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from fwctl.reconcile.summary import WaveStateWord, WaveSummary


@dataclass(frozen=True)
class RegionSummary:
    """One region: its waves, and what they come to together."""

    name: str
    waves: tuple[WaveSummary, ...]

    @property
    def size(self) -> int:
        return sum(wave.size for wave in self.waves)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many devices stand where."""
        found: Counter[str] = Counter()
        for wave in self.waves:
            found.update(wave.counts)
        return found

    @property
    def state(self) -> WaveStateWord:
        """Failed with its first failed wave, passed with its last one; its last wave's soak is its own."""
        states = [wave.state for wave in self.waves]
        if "failed" in states:
            return "failed"
        if len(set(states)) == 1:
            return states[0]
        return states[-1] if states[-1] == "soaking" else "open"

    @property
    def window(self) -> str:
        """What there is to say of its window; empty where it has none, or is over."""
        return next((wave.window for wave in self.waves if wave.window), "")

    @property
    def opened(self) -> datetime | None:
        return min((wave.opened for wave in self.waves if wave.opened), default=None)

    @property
    def judged(self) -> datetime | None:
        """When its last wave was judged; None until then."""
        moments = [wave.judged for wave in self.waves]
        failed = [wave.judged for wave in self.waves if wave.state == "failed" and wave.judged]
        if failed:
            return min(failed)
        return max((moment for moment in moments if moment), default=None) if all(moments) else None

    @property
    def soak_until(self) -> datetime | None:
        """The end of its own soak, while it lasts."""
        return self.waves[-1].soak_until if self.state == "soaking" else None


def by_region(waves: Iterable[WaveSummary]) -> tuple[RegionSummary, ...]:
    """Return the regions in the order in which they go; none where the strategy knows of no regions."""
    grouped = groupby((wave for wave in waves if wave.region), key=lambda wave: wave.region)
    return tuple(RegionSummary(name, tuple(group)) for name, group in grouped)


def outside(waves: Iterable[WaveSummary]) -> Sequence[WaveSummary]:
    """Return the waves that are of no region: all of most strategies, and that of late joiners."""
    return [wave for wave in waves if not wave.region]
