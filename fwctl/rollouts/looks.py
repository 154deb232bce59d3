"""When each device is looked at although nothing is due for it: spread over the period, never in a burst.

A device is looked at within a period after it was last contacted, a little earlier than that by a lot, which it draws
anew each time: a lot for ever would bring devices together again whose periods have a common multiple. So devices that
were contacted at once (an update of everything) drift apart from period to period. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from math import ceil
from typing import NamedTuple

SPREAD = 0.25
"""the last part of the period, within which the lots lie"""
LEAST = 100
"""looks that any pass may take: a small fleet needs no sparing"""
PASSES = 12
"""passes in a period that are enough to look at everybody, however seldom passes are"""
AHEAD = 2
"""times the greatest rate at which looks become due, so that what was missed is made up for"""


class Contact(NamedTuple):
    """When somebody last tried to reach a device, and what came of it."""

    device: str
    tried_at: datetime
    misses: int
    """tries in a row that did not reach it"""
    not_before: datetime | None
    """who works on it comes back then"""


@dataclass(frozen=True)
class Rhythm:
    """How often everybody is looked at, and how often there is a pass to do so."""

    period: timedelta
    interval: timedelta

    @property
    def earliest(self) -> timedelta:
        """The least time between two looks at a device that answers."""
        return self.period * (1 - SPREAD)

    @property
    def soonest(self) -> timedelta:
        """The least time until a device that did not answer is tried again."""
        return min(2 * self.interval, self.earliest)

    def due(self, contact: Contact) -> datetime:
        """Return when a device is looked at next; one that did not answer sooner, then ever more seldom."""
        wait = self.period * (1 - SPREAD * lot(contact.device, contact.tried_at))
        if contact.misses:
            wait = min(wait, self.soonest * 2 ** min(contact.misses - 1, 30))
        due = contact.tried_at + wait
        return due if contact.not_before is None else max(due, contact.not_before)

    def together(self, due: datetime) -> datetime:
        """Return the moment up to one pass interval later at which this look is taken together with others.

        Else the passes of a daemon, which may be seconds apart, would never rest in a large fleet.
        """
        late = timedelta(seconds=due.timestamp() % self.interval.total_seconds())
        return due - late + self.interval if late else due

    def most(self, devices: int) -> int:
        """Return how many looks one pass may begin with."""
        burst = AHEAD * devices * (self.interval / self.period) / SPREAD
        return max(LEAST, ceil(devices / PASSES), ceil(burst))

    def allowance(self, devices: int, elapsed: timedelta) -> int:
        """Return how many looks a pass may have begun after this time; a long pass may go on like many short ones."""
        return int(self.most(devices) * (1 + elapsed / self.interval))


def lot(device: str, tried_at: datetime) -> float:
    """Return a number from 0 to 1, the same for everybody who asks."""
    drawn = blake2b(f"{device} {tried_at.timestamp():.0f}".encode(), digest_size=4).digest()
    return int.from_bytes(drawn) / 0xFFFFFFFF


def sweep_due(contacts: Iterable[Contact], rhythm: Rhythm, now: datetime, *, most: int) -> list[str]:
    """Return the devices to look at now, the longest due first, at most so many."""
    due = sorted((moment, one.device) for one in contacts if (moment := rhythm.due(one)) <= now)
    return [device for _, device in due[:most]]


def next_look(contacts: Iterator[Contact], rhythm: Rhythm) -> datetime | None:
    """Return when the first of them is due; `contacts` that answered, in the order of their last contact.

    Reads no further than somebody could still come before the first one found.
    """
    first: datetime | None = None
    for one in contacts:
        if first is not None and one.tried_at + rhythm.earliest >= first:
            break
        due = rhythm.due(one)
        first = due if first is None else min(first, due)
    return first
