"""The part of a pass that acts: read and verify the commit, set up keys, links and storage, run the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fwctl.errors import FwctlError, InputError, TrustRefused
from fwctl.fleet.certificates import Authorities, device_ca_digest
from fwctl.fleet.link import Links
from fwctl.gitrepo import CommitId, Repo
from fwctl.reconcile.authority import Freshness, Pen
from fwctl.reconcile.commit import CommitState, read_commit
from fwctl.reconcile.ending import of_machine
from fwctl.reconcile.images import STORAGE_CODES, Images
from fwctl.reconcile.joining import with_seats
from fwctl.reconcile.loop import Loop
from fwctl.reconcile.provenance import check_provenance
from fwctl.reconcile.reports import PassReport
from fwctl.reconcile.setting import AtOnce, Setting
from fwctl.reconcile.tools import Tools, Watcher
from fwctl.state import BatchWriter, Event, Lease, Ledger, SetMeta
from fwctl.storage import Storage, from_spec
from fwctl.storage.unusable import Unusable
from fwctl.trust.keystore import FRESHNESS, ORDER
from fwctl.trust.repository import check_machine
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import TrustVersions
from fwctl_agent.trust.policy import Policy

_TRUST = "trust_versions"


@dataclass(frozen=True)
class Acting:
    """What a pass needs beside the commit. The caller holds the lease and the open ledger."""

    setting: Setting
    ledger: Ledger
    lease: Lease
    watcher: Watcher
    now: datetime
    deadline: datetime

    def read(self, files: Mapping[str, bytes], commit: str, pinned: str, repo: Repo | None) -> CommitState:
        """Read and verify a commit; with `repo`, only if it descends from the last applied one.

        Raises:
            InputError, TrustRefused: it does not validate, its trust is refused, history was rewritten, or it is not
                signed as the policy demands.
        """
        state = read_commit(files, commit=commit, pinned=pinned, now=self.now, lowest=_lowest(self.ledger))
        last = self.ledger.meta("last_applied_commit")
        if repo is not None and last:
            repo.require_descent(CommitId(last), CommitId(commit))
        check_provenance(state.authority.policy, repo, CommitId(commit), CommitId(last) if last else None)
        return state

    async def run(
        self, state: CommitState, pinned: str, stopping: Callable[[], bool], at_once: AtOnce | None
    ) -> PassReport:
        """Run the loop over a commit.

        Raises:
            WorldError: ledger or storage failed. What was done is recorded.
        """
        now, versions = self.now, canonical.encode(state.authority.trusted.versions.to_wire()).decode()
        async with BatchWriter(self.lease) as writer:
            await writer.write(
                SetMeta(at=now, key="last_attempted_commit", value=state.commit),
                SetMeta(at=now, key=_TRUST, value=versions),
            )
            loop = self._loop(with_seats(state, self.ledger), pinned, writer)
            loop.stopping = stopping
            if at_once is not None:
                loop.only = at_once.rollout
                await writer.write(_asked(at_once, state.commit, now))
            try:
                return await loop.run()
            except* FwctlError as group:
                raise _first(group) from None

    def _loop(self, state: CommitState, pinned: str, writer: BatchWriter) -> Loop:
        keys, fleet = self.setting.keystore, state.repo.fleet.spec
        order, freshness = keys.signer(ORDER), keys.signer(FRESHNESS)
        check_machine(state.authority.trusted, order=order, freshness=freshness)
        _check_device_ca(state.authority.policy, Authorities(keys.pki))
        tools = Tools(
            state=state,
            ledger=self.ledger,
            writer=writer,
            links=Links(Authorities(keys.pki), fleet.repo_id, revoked=state.authority.policy.revoked, oldest=fleet.tls),
            images=_images(state, self.setting.state_dir),
            freshness=Freshness(state.authority, freshness, self.ledger, writer),
            pen=Pen(order, self.lease, state.authority),
            clock=self.setting.clock,
            watcher=self.watcher,
        )
        return Loop(state, self.ledger, self.lease, writer, tools, self.deadline, pinned, of_machine(keys))


def _check_device_ca(policy: Policy, here: Authorities) -> None:
    """Refuse to take an authority's word for who is a device, if the policy names others (none named: any).

    Raises:
        TrustRefused: `E_DEVICE_CA`.
        InputError: `E_PKI`.
    """
    if policy.device_cas and device_ca_digest(here) not in policy.device_cas:
        raise TrustRefused(
            "the device CA on this machine is not one that the policy names",
            code="E_DEVICE_CA",
            place=str(here.device_ca),
            remedy="Put the fleet's device CA certificate there; or, if it was replaced, have `deviceCas` of the "
            "policy changed: fwctl trust policy FILE.",
        )


def _images(state: CommitState, state_dir: Path) -> Images:
    spec = state.repo.fleet.spec
    storage: Storage
    try:
        storage = from_spec(spec.storage.model_dump(), base=state_dir, allow=state.authority.policy.storage)
    except FwctlError as error:
        if error.code not in STORAGE_CODES:
            raise
        storage = Unusable(error)  # what is taken back, confirmed or looked at needs none
    name = spec.storage.url if spec.storage.type == "https" else str(state_dir / spec.storage.path)
    return Images(storage, pull=spec.delivery == "pull", spool=state_dir, name=name)


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
