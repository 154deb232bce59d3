"""What all visits of one pass share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from fwctl.fleet.interface import DeviceLink, DeviceLinks
from fwctl.reconcile.authority import Clock, Freshness, Pen
from fwctl.reconcile.commit import CommitState
from fwctl.reconcile.gate import Lanes
from fwctl.reconcile.images import Images
from fwctl.state import BatchWriter, Change, Ledger


class Watcher(Protocol):
    """Who is told what happens, for the screen."""

    def opened(self, rollout: str, devices: int) -> None:
        """A rollout has so many devices to bring to its firmware in this pass."""
        ...

    def progressed(self, rollout: str, device: str, what: str, reason: str) -> None:
        """A device of a rollout has got to `what`."""
        ...


@dataclass(frozen=True)
class Tools:
    """The commit, the ledger, the way to devices, and what signs."""

    state: CommitState
    ledger: Ledger
    writer: BatchWriter
    links: DeviceLinks
    images: Images
    freshness: Freshness
    pen: Pen
    clock: Clock
    watcher: Watcher
    lanes: Lanes = field(default_factory=Lanes)
    news: set[str] = field(default_factory=set)
    """devices about which the ledger has learned something since the last decision"""

    @asynccontextmanager
    async def reached(self, device: str) -> AsyncIterator[DeviceLink]:
        """Dial a device of the commit, then take a place among those that are talked to and shake hands.

        Raises:
            LinkError: it cannot be reached, or is somebody else.
        """
        async with self.links.open(device, self.state.repo.devices[device].address) as link, AsyncExitStack() as place:
            async with self.lanes.dialling:
                await link.dial()
                # Within: a device gives up a connection on which nothing is said, so few may wait for a place.
                await place.enter_async_context(self.lanes.talking)
            with self.lanes.timed():
                await link.connect()
            yield link


class Recorder:
    """Writes what a visit learns of one device, and lets the next decision know that there is something to look at.

    What is only noted goes out with the next write, in the same transaction: nothing has followed from it yet.
    """

    def __init__(self, tools: Tools, device: str) -> None:
        self._tools = tools
        self._device = device
        self._noted: list[Change] = []

    def note(self, *changes: Change) -> None:
        """Keep changes for the next write."""
        self._noted += changes

    async def write(self, *changes: Change) -> None:
        """Commit what was noted and these changes, all or none; return when they are durable."""
        noted, self._noted = self._noted, []
        try:
            if noted or changes:
                await self._tools.writer.write(*noted, *changes)
        finally:
            self._tools.news.add(self._device)
