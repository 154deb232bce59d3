"""What one run leaves behind: how devices stood over time, what waves did when, which bytes went where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from fwctl.rollouts.plan import Plan
from fwctl.whatif.devices import Visited
from fwctl.whatif.results import Sample, WaveSpan

POINTS = 512
"""samples that are kept at the most: more than a picture shows"""
MINUTE = 60_000


@dataclass
class Track:
    """How devices stood over time. When it is full every other sample goes, and from then on fewer are taken."""

    samples: list[Sample] = field(default_factory=list)
    _last: Mapping[str, int] = field(default_factory=dict)
    _step: int = 1
    _next: int = 0

    def note(self, now: int, counts: Mapping[str, int]) -> None:
        """Note how devices stand now; `counts` must not change any more."""
        if counts == self._last:
            return
        self._last = counts
        if now < self._next:
            return
        self._take(now, counts)

    def end(self, now: int, counts: Mapping[str, int]) -> None:
        """Note how they stand in the end."""
        self._take(now, counts)

    def _take(self, now: int, counts: Mapping[str, int]) -> None:
        if self.samples and self.samples[-1].after == now / 1000:
            self.samples.pop()
        self.samples.append(Sample(now / 1000, dict(counts)))
        if len(self.samples) > POINTS:
            del self.samples[1::2]
            self._step = max(2 * self._step, now // POINTS)
        self._next = now + self._step


@dataclass
class Traffic:
    """Bytes by site: all of them, and by minute of the run."""

    plan: Plan
    total: Counter[str] = field(default_factory=Counter)
    _minutes: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    _sites: dict[str, str] = field(default_factory=dict)

    def download(self, device: str, visited: Visited) -> None:
        """Note what a device took in during a visit; it is spread evenly over the time that it took."""
        site, length = self._site(device), visited.length
        begin, end = visited.end - visited.download, visited.end
        self.total[site] += length
        minutes, left = self._minutes[site], length
        for minute in range(begin // MINUTE, end // MINUTE + 1):
            part = min(end, (minute + 1) * MINUTE) - max(begin, minute * MINUTE)
            share = min(left, length * part // max(1, end - begin))
            minutes[minute] += share
            left -= share
        minutes[end // MINUTE] += left

    def peaks(self) -> dict[str, int]:
        """Return the most bytes of one minute, by site."""
        return {site: max(minutes.values()) for site, minutes in sorted(self._minutes.items())}

    def _site(self, device: str) -> str:
        if device not in self._sites:
            profile = self.plan.profile(device)
            self._sites[device] = (profile.site if profile else None) or ""
        return self._sites[device]


@dataclass
class Waves:
    """When waves did what."""

    opened: dict[str, int] = field(default_factory=dict)
    soaked: dict[str, int] = field(default_factory=dict)
    judged: dict[str, tuple[int, str]] = field(default_factory=dict)

    def note(self, wave: str, state: str, now: int) -> None:
        """Note that a wave moved."""
        match state:
            case "open":
                self.opened[wave] = now
            case "soaking":
                self.soaked[wave] = now
            case "passed" | "failed":
                self.judged[wave] = now, state

    def spans(self, plan: Plan) -> tuple[WaveSpan, ...]:
        """Return all waves of the plan as they went."""
        return tuple(
            WaveSpan(
                wave.name,
                len(wave.devices),
                _seconds(self.opened.get(wave.name)),
                _seconds(self.soaked.get(wave.name)),
                _seconds(self.judged[wave.name][0] if wave.name in self.judged else None),
                self.judged[wave.name][1] if wave.name in self.judged else "",
            )
            for wave in plan.all_waves
        )


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / 1000
