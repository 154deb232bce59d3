"""What all visits of one pass share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fwctl.fleet.interface import DeviceLinks
from fwctl.reconcile.authority import Clock, Freshness, Pen
from fwctl.reconcile.commit import CommitState
from fwctl.state import BatchWriter, Ledger
from fwctl.storage import Storage


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
    storage: Storage
    freshness: Freshness
    pen: Pen
    clock: Clock
    watcher: Watcher
