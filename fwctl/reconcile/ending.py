"""Everything of a fleet that ends by itself: in its commit, on this machine, on its devices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from fwctl.fleet.certificates import Authorities
from fwctl.reconcile.commit import CommitState
from fwctl.state import Ledger
from fwctl.trust import expiry
from fwctl.trust.expiry import Thing

if TYPE_CHECKING:
    from fwctl.trust.keystore import KeyStore

RENEW_CONTROLLER: Final = "fwctl controller renew"
NEW_CA: Final = "fwctl explain W_ENDS_SOON"
"""a CA is replaced by a plan, not by a command"""


def of_commit(state: CommitState) -> Iterator[Thing]:
    """Yield what ends in a commit: its metadata, and the approvals that count."""
    yield from expiry.metadata(state.authority)
    for key, prepared in state.rollouts.items():
        yield from expiry.approvals(key, prepared.verdict)


def of_machine(keystore: KeyStore) -> tuple[Thing, ...]:
    """Return the certificates that lie here."""
    paths = Authorities(keystore.pki)
    named = {
        "controller certificate": (paths.controller, RENEW_CONTROLLER),
        "controller CA": (paths.controller_ca, NEW_CA),
        "device CA": (paths.device_ca, NEW_CA),
    }
    return tuple(expiry.certificates(named))


def of_devices(ledger: Ledger, now: datetime) -> tuple[Thing, ...]:
    """Return the certificates of devices that end first, as far as the ledger has seen them."""
    newest: dict[str, tuple[datetime, str]] = {}
    for mandate in {row.mandate for row in ledger.rollouts() if row.mandate}:
        for one in ledger.outcomes(mandate):
            known = newest.get(one.device)
            if one.certificate and (known is None or known[0] <= one.received_at):
                newest[one.device] = (one.received_at, one.certificate)
    return expiry.devices({device: pem for device, (_, pem) in newest.items()}, now)
