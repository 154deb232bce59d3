"""The soak of one wave: which of its devices are looked at when, and whether all have been seen after its end."""

from __future__ import annotations

from datetime import datetime, timedelta

from fwctl.rollouts.plan import Wave
from fwctl.rollouts.queues import Timers
from fwctl.rollouts.view import DeviceView, WaveView

LOOKS_PER_SOAK = 4
"""how often the devices of a soaking wave are looked at, so that what goes wrong is not found at the end only"""
LEAST_LOOK = timedelta(seconds=5)


class Soak:
    """One soak. `note` is told of every device of the wave, and again of each that changes."""

    def __init__(self, wave: Wave, view: WaveView, since: datetime) -> None:
        self.wave, self.since = wave, since
        self.end = since + timedelta(seconds=wave.soak)
        self._every = max(LEAST_LOOK, timedelta(seconds=wave.soak) / LOOKS_PER_SOAK)
        self._first = min(since + self._every, self.end)
        self._looking = view.state == "soaking"
        self._timers = Timers()
        self._ready: set[int] = set()
        self._unseen: set[int] = set()

    def note(self, seat: int, device: DeviceView | None, *, visiting: bool) -> None:
        """Note a device that runs the firmware; None for one that does not."""
        self._ready.discard(seat)
        self._timers.set(seat, None if visiting or device is None else self._look_at(device))
        unseen = device is not None and (device.observed_at is None or device.observed_at < self.end)
        if unseen and device is not None and device.unreachable_since is None:  # nobody waits for a silent one
            self._unseen.add(seat)
        else:
            self._unseen.discard(seat)

    def looks(self, now: datetime) -> list[int]:
        """Return who is to be looked at: some while it lasts, and everybody once after its end."""
        if not self._looking:
            return []
        self._ready.update(self._timers.due(now))
        return sorted(self._ready)

    @property
    def seen(self) -> bool:
        """Say whether everybody who runs the firmware and answers has been looked at since the end."""
        return not self._unseen

    def _look_at(self, device: DeviceView) -> datetime | None:
        seen = device.observed_at
        last = max(seen, self.since) if seen else self.since
        if last >= self.end:
            return None
        moment = self._first if last == self.since else min(last + self._every, self.end)
        return max(moment, device.due_at) if device.due_at else moment
