"""The work behind `status`: what a pass has summed up, where that is as good as asking anew; else it is made now.

Reading a summary costs the same for any fleet: one commit id, one manifest, a few rows. Nothing else is imported here.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fwctl.cli.context import Context
from fwctl.cli.fleet_id import committed_id
from fwctl.cli.nexts import next_for
from fwctl.errors import FwctlError
from fwctl.reconcile.resting import recorded
from fwctl.reconcile.summary import Summary
from fwctl.trust.expiry import Expiring, Thing, expiring, wanted

if TYPE_CHECKING:
    from fwctl.gitrepo import CommitId
    from fwctl.state import LeaseRow, Ledger

OLDEST = timedelta(seconds=30)
"""a running pass writes its summaries more often than this; an older one is not shown"""


@dataclass(frozen=True)
class Status:
    """The fleet at one commit."""

    repo_id: str
    commit: str
    last_applied: str | None
    devices: int
    rollouts: tuple[Summary, ...]
    dirty: tuple[str, ...]
    detailed: bool
    now: datetime
    as_of: datetime | None = None
    """None: this is how things stand now. Else a pass is running, and this is what it wrote last"""
    ends: tuple[Thing, ...] = ()
    """what ends by itself, as far as this was written down or read"""

    @property
    def expiry(self) -> tuple[Expiring, ...]:
        """What ends when; without the approvals of rollouts that are complete."""
        complete = {one.key for one in self.rollouts if one.state == "complete"}
        return expiring(wanted(self.ends, complete.__contains__), self.now)

    @property
    def next_commands(self) -> tuple[str, ...]:
        """What to type next, by the first rollout that needs something."""
        busy = [one for one in self.rollouts if one.state != "complete"]
        if busy or self.detailed:
            return next_commands((busy or self.rollouts)[0])
        return ("fwctl rollout create",) if not self.rollouts else ("fwctl device list",)


def next_commands(one: Summary) -> tuple[str, ...]:
    """Return what to type next about this rollout."""
    return next_for(one.key, one.state, locked=bool(one.mandate), wants_approval=one.wants_approval)


def read_status(settings: Context, name: str) -> Status:
    """Return where the rollouts of HEAD stand."""
    recorded = recorded_status(settings, name)
    if recorded is not None:
        return recorded
    from fwctl.cli.judging import status_of
    from fwctl.cli.patience import patience

    with patience("Working it out from git and the ledger. After a pass, `status` answers at once."):
        commit, files = settings.committed()
        return status_of(settings, settings.read(files, commit), name)


def recorded_status(settings: Context, name: str) -> Status | None:
    """Return what passes have summed up of HEAD; None where that may not be how things stand now.

    It is, while nothing else was committed or pinned, nothing was written into the ledger, and no time has run out;
    and while a pass is running, what it wrote last is told with its time.
    """
    commit = settings.repo.resolve("HEAD")
    repo_id = committed_id(settings, commit)
    if repo_id is None:
        return None
    with settings.ledger(repo_id) as ledger:
        return _recorded(settings, ledger, commit, repo_id, name) if ledger else None


def _recorded(settings: Context, ledger: Ledger, commit: CommitId, repo_id: str, name: str) -> Status | None:
    keystore = settings.keystore(repo_id)
    found = recorded(ledger, commit, pinned=keystore.pinned_root()) if keystore.exists else None
    if found is None or found.fleet.repo_id != repo_id:
        return None
    wanted = [key for key in found.fleet.rollouts if not name or name in (key, key.partition("/")[2])]
    summaries = tuple(one for one in map(found.summary, wanted) if one is not None)
    if len(summaries) != len(wanted) or (name and len(wanted) != 1):
        return None
    now = settings.now()
    as_of = None
    if not all(found.current(key, now) for key in wanted):
        as_of = min((found.rows[key].at for key in wanted), default=None)
        if as_of is None or now - as_of > OLDEST or not _at_work(ledger.lease(), now):
            return None
    applied, bare = ledger.meta("last_applied_commit"), bool(name)
    return Status(
        repo_id, commit, applied, found.fleet.devices, summaries, dirty(settings), bare, now, as_of, found.fleet.ends
    )


def _at_work(lease: LeaseRow, now: datetime) -> bool:
    """Say whether a pass is running: its lease has not ended, and on this machine its process is there."""
    if not lease.holder or lease.expires_at is None or now >= lease.expires_at:
        return False
    if lease.host != socket.gethostname():
        return True
    try:
        os.kill(lease.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def dirty(settings: Context) -> tuple[str, ...]:
    """Return the managed files that are not committed."""
    try:
        return settings.repo.dirty()
    except FwctlError:
        return ()
