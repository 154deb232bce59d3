"""One pass: take the lease; where nothing has changed say so again, else act on the commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from fwctl.reconcile.reports import PassReport, RolloutReport
from fwctl.reconcile.resting import resting
from fwctl.reconcile.setting import LEASE_TTL, AtOnce, Setting
from fwctl.state import Ledger, acquire_lease

if TYPE_CHECKING:
    from fwctl.gitrepo import Repo
    from fwctl.reconcile.tools import Watcher


async def reconcile_once(
    files: Mapping[str, bytes],
    *,
    commit: str,
    setting: Setting,
    ledger: Ledger,
    holder: str,
    max_duration: timedelta,
    watcher: Watcher,
    repo: Repo | None = None,
    stopping: Callable[[], bool] = lambda: False,
    at_once: AtOnce | None = None,
) -> PassReport:
    """Run one pass over the commit with these files; with `repo`, only if it descends from the last applied one.

    With `at_once` the pass is about one rollout, and only stops it or takes it back; that it ran is recorded.

    Once `stopping` says so, nothing new is begun, and the pass ends when what runs has come to rest.

    Raises:
        Busy: another reconciler holds the lease.
        InputError, TrustRefused: the commit does not validate, or its trust is refused. Nothing was sent.
        WorldError: ledger or storage failed. What was done is recorded.
    """
    with acquire_lease(ledger, holder=holder, now=setting.clock(), ttl=LEASE_TTL) as lease:
        now, pinned = setting.clock(), setting.keystore.pinned_root()
        if repo is not None and at_once is None:
            still = resting(ledger, commit, pinned=pinned, now=now, deadline=now + max_duration)
            if still is not None:
                return PassReport(commit, lease.epoch, 0, tuple(map(RolloutReport.of, still)), now, setting.clock())
        from fwctl.reconcile.acting import Acting  # most of fwctl: a pass at rest needs none of it

        acting = Acting(setting, ledger, lease, watcher, now, now + max_duration)
        state = acting.read(files, commit, pinned, repo)
        return await acting.run(state, pinned, stopping, at_once)
