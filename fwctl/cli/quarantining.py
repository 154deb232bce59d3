"""The work behind `quarantine`: one change of the ledger under the lease, recorded as an event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fwctl.cli.context import Context
from fwctl.cli.fleet_id import fleet_id
from fwctl.cli.init import slug
from fwctl.reconcile.setting import open_ledger
from fwctl.state import Quarantined, QuarantineReleased, QuarantineRow, acquire_lease

LEASE = timedelta(minutes=1)


@dataclass(frozen=True)
class Decided:
    """What was recorded about a device; `changed` is False where it was so already."""

    device: str
    quarantined: bool
    changed: bool
    reason: str
    actor: str

    @property
    def words(self) -> str:
        """Say it in a sentence that the device begins."""
        if self.changed:
            return "is in quarantine" if self.quarantined else "may get firmware again"
        return f"is in quarantine already ({self.actor}: {self.reason})" if self.quarantined else "is not in quarantine"


def rows(settings: Context) -> tuple[QuarantineRow, ...]:
    """Return the devices in quarantine; none where this machine has no ledger."""
    with settings.ledger(fleet_id(settings)) as ledger:
        return ledger.quarantine() if ledger else ()


def keep_out(settings: Context, device: str, reason: str) -> Decided:
    """Put a device into quarantine.

    Raises:
        Busy: `E_LOCKED` while a reconciler is at work.
        InputError: no such device; no ledger.
    """
    return _change(settings, device, reason, wanted=True)


def let_in(settings: Context, device: str, reason: str) -> Decided:
    """Release a device from quarantine; also one that git does not have any more. Raises as `keep_out`."""
    return _change(settings, device, reason, wanted=False)


def _change(settings: Context, device: str, reason: str, *, wanted: bool) -> Decided:
    from fwctl.cli.controlling import one_line
    from fwctl.cli.picking import found
    from fwctl.reconcile.commit import load_repo

    reason, repo = one_line(reason), load_repo(settings.files())
    state_dir = settings.state_dir(repo.fleet.spec.repo_id)
    actor, verb = slug(settings.repo.user()), "add" if wanted else "release"
    with open_ledger(state_dir, new=False) as ledger:
        known = {row.device: row for row in ledger.quarantine()}
        if device not in known:
            found(repo.devices, device, what="device", code="E_NO_DEVICE", place="devices/", see="fwctl device list")
        row = known.get(device)
        if (row is not None) == wanted:
            return Decided(device, wanted, False, row.reason if row else "", row.actor if row else "")
        now = settings.now()
        with acquire_lease(ledger, holder=f"fwctl quarantine {verb}", now=now, ttl=LEASE) as lease:
            kind = Quarantined if wanted else QuarantineReleased
            ledger.apply([kind(at=now, device=device, reason=reason, actor=actor)], epoch=lease.epoch)
    return Decided(device, wanted, True, reason, actor)
