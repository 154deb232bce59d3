"""The sweep: every device is looked at within a period although nothing is due for it, and nothing is sent to it.

What is learned is what any visit learns first: what runs, what the device says of itself, outcomes that never reached
us. Work of rollouts comes first; the sweep takes the devices that nobody wants, a few at a time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from math import inf

from fwctl.errors import DeviceError
from fwctl.reconcile import records
from fwctl.reconcile.commit import CommitState
from fwctl.reconcile.observing import observe, unreachable
from fwctl.reconcile.reports import Swept
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.rollouts.looks import Contact, Rhythm, next_look, sweep_due
from fwctl.state import Change, DeviceRow, Ledger, OutcomeReceived
from fwctl_agent.protocol.messages import DeviceDocument

SWEEP = "(sweep)"
"""stands in place of a rollout where visits are kept by rollout; no rollout can be called so"""
AT_ONCE, BESIDE = 100, 10
"""looks under way at the same time: in a pass that does nothing else, beside visits of rollouts"""
REFRESH = 60.0
"""seconds after which a pass that is still running asks again who is due"""


def rhythm_of(state: CommitState) -> Rhythm:
    """Return how often the fleet wants its devices looked at."""
    spec = state.repo.fleet.spec
    return Rhythm(timedelta(seconds=spec.sweep.period), timedelta(seconds=spec.pass_interval))


class Sweeper:
    """Chooses and visits the devices of one pass that are due for a look."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._rhythm = rhythm_of(tools.state)
        self._began = tools.clock()
        self._begun = self._room = 0
        self._queue: deque[str] = deque()
        self._asked = -inf
        self._unseen: deque[str] | None = None
        self.under_way: set[str] = set()
        self.swept = Swept()

    def has_room(self, now: datetime, *, beside: bool) -> bool:
        """Say whether `take` may have a device; `beside`: visits of rollouts are under way, and come first."""
        self._room = (BESIDE if beside else AT_ONCE) - len(self.under_way)
        if self._room > 0 and not self._queue and time.monotonic() - self._asked >= REFRESH:
            self._asked = time.monotonic()
            self._queue.extend(self._due(now))
        return self._room > 0 and bool(self._queue)

    def take(self, busy: Callable[[str], bool]) -> Iterator[str]:
        """Yield the devices to `look` at now, but those that somebody else is `busy` with."""
        while self._queue and self._room > 0:
            device = self._queue.popleft()
            if not busy(device):
                self._room -= 1
                self._begun += 1
                self.under_way.add(device)
                yield device

    async def look(self, device: str) -> None:
        """Visit one device, and write down what it says. Failures of the device end up in the ledger, not here."""
        try:
            row = next(iter(self._tools.ledger.devices([device])), None)
            now = self._tools.clock()
            if row is None or self._rhythm.due(_contact(row)) <= now:  # else somebody was quicker
                await self._visit(device, row)
        finally:
            self.under_way.discard(device)

    async def _visit(self, device: str, row: DeviceRow | None) -> None:
        tools, recorder = self._tools, Recorder(self._tools, device)
        self._count(devices=1)
        try:
            async with tools.reached(device) as link:
                seen = await observe(tools, link)
                # When somebody wants to come back to it stays as it was.
                due = row.next_due if row is not None and row.next_due and row.next_due > seen.at else None
                await recorder.write(*seen.late, records.seen(seen.document, seen.at, due=due))
        except DeviceError as error:
            policy = tools.state.repo.fleet.spec.defaults.retry.backoff
            await recorder.write(unreachable(tools, device, error, policy))
            self._count(unreachable=1)
        else:
            self._count(drifted=row is not None and _drifted(row, seen.document, seen.late))

    def _count(self, *, devices: int = 0, unreachable: int = 0, drifted: int = 0) -> None:
        so_far = self.swept
        self.swept = Swept(so_far.devices + devices, so_far.unreachable + unreachable, so_far.drifted + drifted)

    def _due(self, now: datetime) -> list[str]:
        devices, rhythm = self._tools.state.repo.devices, self._rhythm
        room = rhythm.allowance(len(devices), now - self._began) - self._begun
        contacts = (one for one in _contacts(self._tools.ledger, rhythm, now) if one.device in devices)
        due = sweep_due(contacts, rhythm, now, most=max(0, room))
        if self._unseen is None:
            self._unseen = deque(sorted(unseen(self._tools.ledger, self._tools.state)))
        new = min(len(self._unseen), max(0, room - len(due)))
        return [*due, *(self._unseen.popleft() for _ in range(new))]


def next_sweep_due(ledger: Ledger, state: CommitState, now: datetime) -> datetime | None:
    """Return when a pass is to look at devices of a commit again: now, if one was never tried; None without devices.

    True until something is written into the ledger.
    """
    if unseen(ledger, state):
        return now
    devices, rhythm, ever = state.repo.devices, rhythm_of(state), datetime.max.replace(tzinfo=UTC)
    first = next_look((one for one in ledger.in_touch(ever) if one.device in devices), rhythm)
    moments = [rhythm.due(one) for one in ledger.away(ever) if one.device in devices]
    due = min([*moments, *([first] if first is not None else [])], default=None)
    return None if due is None else rhythm.together(due)


def unseen(ledger: Ledger, state: CommitState) -> set[str]:
    """Return the devices of a commit that nobody ever tried to reach."""
    return set(state.repo.devices).difference(ledger.known())


def _contacts(ledger: Ledger, rhythm: Rhythm, now: datetime) -> Iterator[Contact]:
    return chain(ledger.in_touch(now - rhythm.earliest), ledger.away(now - rhythm.soonest))


def _contact(row: DeviceRow) -> Contact:
    return Contact(row.id, row.tried_at, 0 if row.reachable else row.failure_count, row.next_due)


def _drifted(row: DeviceRow, document: DeviceDocument, late: Iterable[Change]) -> bool:
    """Say whether a device runs something new, no order is at work there, and no outcome of one tells of it."""
    image = document.running.image
    told = {change.running_image for change in late if isinstance(change, OutcomeReceived)}
    return bool(row.running_image) and image != row.running_image and image not in told and document.order is None
