"""Set up one pass: ledger, lease, keys, links, storage; then run the loop and give everything back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fwctl.errors import FwctlError, InputError
from fwctl.fleet.certificates import Authorities
from fwctl.fleet.link import Links
from fwctl.gitrepo import CommitId, Repo
from fwctl.reconcile.authority import Freshness, Pen
from fwctl.reconcile.commit import CommitState, read_commit
from fwctl.reconcile.images import Images
from fwctl.reconcile.loop import LEASE_TTL, Loop
from fwctl.reconcile.reports import PassReport, RolloutReport
from fwctl.reconcile.resting import resting
from fwctl.reconcile.tools import Tools, Watcher
from fwctl.state import BatchWriter, Event, Lease, Ledger, SetMeta, acquire_lease, ledger_path
from fwctl.storage import Storage, from_spec
from fwctl.trust.keystore import FRESHNESS, ORDER, KeyStore
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import TrustVersions

_TRUST = "trust_versions"


@dataclass(frozen=True)
class Setting:
    """Where a fleet's keys, state and clock are."""

    keystore: KeyStore
    state_dir: Path
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class AtOnce:
    """A person's word that does not wait for the next pass. It stops or takes back one rollout."""

    rollout: str
    actor: str
    reason: str
    word: str
    """what was decided: pause, abort, rollback"""


def storage_of(state: CommitState, state_dir: Path) -> Storage:
    """Return the storage that the fleet names."""
    return from_spec(state.repo.fleet.spec.storage.model_dump(), base=state_dir)


def open_ledger(state_dir: Path, *, new: bool) -> Ledger:
    """Open the fleet's ledger; a missing one is made only when told, so that a lost one is never overlooked."""
    path = ledger_path(state_dir)
    return Ledger.create(path) if new and not path.exists() else Ledger.open(path)


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
        state = read_commit(files, commit=commit, pinned=pinned, now=now, lowest=_lowest(ledger))
        last = ledger.meta("last_applied_commit")
        if repo is not None and last:
            repo.require_descent(CommitId(last), CommitId(commit))
        async with BatchWriter(ledger, lease) as writer:
            await writer.write(
                SetMeta(at=now, key="last_attempted_commit", value=commit),
                SetMeta(
                    at=now, key=_TRUST, value=canonical.encode(state.authority.trusted.versions.to_wire()).decode()
                ),
            )
            loop = _loop(state, setting, ledger, lease, writer, now + max_duration, watcher)
            loop.stopping = stopping
            if at_once is not None:
                loop.only = at_once.rollout
                await writer.write(_asked(at_once, commit, now))
            try:
                return await loop.run()
            except* FwctlError as group:
                raise _first(group) from None


def _loop(
    state: CommitState,
    setting: Setting,
    ledger: Ledger,
    lease: Lease,
    writer: BatchWriter,
    deadline: datetime,
    watcher: Watcher,
) -> Loop:
    keys = setting.keystore
    tools = Tools(
        state=state,
        ledger=ledger,
        writer=writer,
        links=Links(Authorities(keys.pki), state.repo.fleet.spec.repo_id),
        images=Images(storage_of(state, setting.state_dir)),
        freshness=Freshness(state.authority, keys.signer(FRESHNESS), ledger, writer),
        pen=Pen(keys.signer(ORDER), lease, state.authority),
        clock=setting.clock,
        watcher=watcher,
    )
    return Loop(state, ledger, lease, writer, tools, deadline, keys.pinned_root())


def _asked(word: AtOnce, commit: str, now: datetime) -> Event:
    return Event(
        at=now,
        kind="control.now",
        reason=word.reason,
        actor=word.actor,
        rollout=word.rollout,
        data={"verb": word.word, "commit": commit},
    )


def _lowest(ledger: Ledger) -> TrustVersions | None:
    """Return the versions of the last applied trust, below which no commit may fall."""
    text = ledger.meta(_TRUST)
    if text is None:
        return None
    return TrustVersions.from_wire(canonical.decode(text.encode(), what="ledger trust versions"))


def _first(group: BaseExceptionGroup[FwctlError]) -> FwctlError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise InputError("nothing went wrong", code="E_BUG", remedy="Report this.")
