"""One reconciler at a time: a file lock on this host, a row with a fencing epoch across hosts."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Self

from fwctl.errors import Busy, FwctlError
from fwctl.state import faults
from fwctl.state.changes import Change
from fwctl.state.events import Chain
from fwctl.state.ledger import Ledger
from fwctl.state.rows import LeaseRow
from fwctl.state.times import to_text


class Lease:
    """The right to write, proved by `epoch` in every transaction; use as a context manager to release it."""

    def __init__(self, ledger: Ledger, handle: int, epoch: int) -> None:
        self._ledger = ledger
        self._handle = handle
        self.epoch = epoch
        # an epoch that is adopted while another thread is about to write with the old one would look like a takeover
        self._one = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def renew(self, now: datetime, ttl: timedelta) -> None:
        """Move the end of the lease to `now + ttl`. Raises Busy E_FENCED when somebody took over."""
        with self._one, self._ledger.transaction(epoch=self.epoch) as conn:
            conn.execute("UPDATE lease SET renewed_at = ?, expires_at = ?", (to_text(now), to_text(now + ttl)))

    def apply_groups(self, groups: Sequence[Sequence[Change]]) -> list[Exception | None]:
        """As `Ledger.apply_groups`, under the epoch that this lease has when its turn to write comes."""
        with self._one:
            return self._ledger.apply_groups(groups, epoch=self.epoch)

    def adopt_epoch(self, seen: int, now: datetime) -> int:
        """Go beyond the highest epoch that a device proved (`seen`), once per lease, and return the new epoch.

        Nothing happens when ours is higher already. Raises Busy E_EPOCH_MOVED the second time: then somebody else
        is giving orders with our key, and the loop must stop (CONTRACTS, Epoch).
        """
        with self._one:
            if seen >= self.epoch:
                self._adopt(seen, now)
            return self.epoch

    def _adopt(self, seen: int, now: datetime) -> None:
        with self._ledger.transaction(epoch=self.epoch) as conn:
            if conn.execute("SELECT adopted FROM lease").fetchone()[0]:
                raise Busy(
                    f"a device has seen epoch {seen} while this reconciler holds {self.epoch}, again",
                    code="E_EPOCH_MOVED",
                    place=str(self._ledger.path),
                    remedy="Find the other reconciler of this fleet and stop one of them; then run this again.",
                )
            conn.execute("UPDATE lease SET epoch = ?, adopted = 1", (seen + 1,))
            data = {"from": self.epoch, "to": seen + 1}
            reason = "a device has seen a higher epoch"
            Chain(conn).append("lease.adopted", at=to_text(now), reason=reason, data=data)
        self.epoch = seen + 1

    def release(self) -> None:
        """Give the lease back; does nothing when it was given back or taken over."""
        handle, self._handle = self._handle, -1
        if handle == -1:
            return
        try:
            with self._ledger.transaction(epoch=self.epoch) as conn:
                conn.execute("UPDATE lease SET holder = '', pid = 0, expires_at = renewed_at")
        except FwctlError:
            pass  # fenced, or the disk failed: the file lock goes either way, and the next holder takes over
        finally:
            os.close(handle)


def acquire_lease(ledger: Ledger, *, holder: str, now: datetime, ttl: timedelta) -> Lease:
    """Become the one reconciler of this ledger until `now + ttl`, with an epoch above every earlier one.

    Whoever holds the file lock on this host takes over from a dead process of this host at once; a lease from
    another host must have expired. Raises Busy E_LOCKED naming who holds it.
    """
    with faults.sqlite_errors(ledger.path):
        path = ledger.path.with_name("reconcile.lock")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _held(ledger, ledger.lease()) from error
        return Lease(ledger, handle, _take(ledger, holder, now, ttl))
    except BaseException:
        os.close(handle)
        raise


def _take(ledger: Ledger, holder: str, now: datetime, ttl: timedelta) -> int:
    host, at = socket.gethostname(), to_text(now)
    with ledger.transaction(epoch=None) as conn:
        old = conn.execute("SELECT holder, host, pid, epoch, expires_at FROM lease").fetchone()
        if old[0] and old[1] != host and at < old[4]:
            raise _held(ledger, ledger.lease())
        epoch = int(old[3]) + 1
        conn.execute(
            "UPDATE lease SET holder = ?, host = ?, pid = ?, epoch = ?, adopted = 0, acquired_at = ?, renewed_at = ?,"
            " expires_at = ?",
            (holder, host, os.getpid(), epoch, at, at, to_text(now + ttl)),
        )
        if old[0]:
            data = {"holder": old[0], "host": old[1], "pid": old[2], "epoch": epoch}
            reason = f"the last holder did not release it ({old[0]} on {old[1]}, process {old[2]})"
            Chain(conn).append("lease.taken-over", at=at, reason=reason, actor=holder, data=data)
    return epoch


def _held(ledger: Ledger, row: LeaseRow) -> Busy:
    since = to_text(row.acquired_at) if row.acquired_at else "an unknown time"
    until = to_text(row.expires_at) if row.expires_at else "it ends"
    who = (
        f"{row.holder} on {row.host} (process {row.pid})" if row.holder else "a process that is just starting or ending"
    )
    return Busy(
        f"another reconciler is at work: {who} since {since}",
        code="E_LOCKED",
        place=str(ledger.path),
        remedy=f"Wait for it, or stop it; from another host its lease can be taken after {until}.",
    )
