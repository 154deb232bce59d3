"""The work behind `device revoke` and `controller revoke`: keys into `policy.revoked`, a device out of the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fwctl.cli.context import Context
from fwctl.cli.fleet_id import fleet_id
from fwctl.errors import InputError, UsageError
from fwctl.files import read_input
from fwctl.fleet.certificates import Authorities, read_device_certificate
from fwctl.fleet.register import Register

if TYPE_CHECKING:
    from fwctl.cli.amending import Amended
    from fwctl.cli.quarantining import Decided
    from fwctl.trust.changes import Change
    from fwctl.trust.draft import Draft


@dataclass(frozen=True)
class Revoked:
    """What was done. `quarantine` is None where this machine has no ledger, or it was not asked for."""

    device: str
    keys: tuple[str, ...]
    quarantine: Decided | None
    amended: Amended | None


def revoking(keys: Iterable[str]) -> Change:
    """Return the change of trust that revokes certificates by the digests of their keys."""
    digests = set(keys)

    def change(draft: Draft) -> None:
        draft.policy["revoked"] = sorted({*draft.policy.get("revoked", ()), *digests})
        draft.checked()

    return change


def revoke_device(
    settings: Context, name: str, reason: str, *, old: bool, certificate: Path | None, signer: str
) -> Revoked:
    """Quarantine a device, and propose that the policy revokes its keys; with `old`, only those it had before.

    Raises:
        InputError: `E_NO_CERTIFICATE`: no key of it is known here; `E_NO_DEVICE`.
        Busy: `E_LOCKED` while a reconciler is at work; `E_PROPOSAL_OPEN`.
    """
    from fwctl.cli.amending import amend
    from fwctl.cli.controlling import one_line

    reason, repo_id = one_line(reason), fleet_id(settings)
    keys = _keys(settings, repo_id, name, old=old, certificate=certificate)
    # First what takes effect at once: the policy may wait for signatures.
    quarantine = None if old else _keep_out(settings, name, reason)
    which = "earlier keys" if old else "keys"
    amended = amend(settings, revoking(keys), what=f"revoke the {which} of device {name}: {reason}", signer=signer)
    return Revoked(name, keys, quarantine, amended)


def _keep_out(settings: Context, name: str, reason: str) -> Decided | None:
    from fwctl.cli.quarantining import keep_out

    with settings.ledger(fleet_id(settings)) as ledger:
        if ledger is None:
            return None
    return keep_out(settings, name, f"revoked: {reason}")


def _keys(settings: Context, repo_id: str, name: str, *, old: bool, certificate: Path | None) -> tuple[str, ...]:
    if old and certificate is not None:
        raise UsageError(
            "--old means the keys that this machine knows of", code="E_USAGE", remedy="Say --old, or --certificate."
        )
    if certificate is not None:
        found = read_device_certificate(read_input(certificate).decode("ascii", "replace"))
        if (found.device, found.repo_id) != (name, repo_id):
            raise InputError(
                f"it is the certificate of {found.device} in {found.repo_id}",
                code="E_CERTIFICATE",
                place=str(certificate),
                remedy=f"Name the certificate of {name}.",
            )
    register = Register(Authorities(settings.keystore(repo_id).pki).folder)
    book = register.read()
    known = book.superseded(name) if old else book.keys(name)
    keys = tuple(dict.fromkeys((*known, *((found.key,) if certificate is not None else ()))))
    if not keys:
        raise InputError(
            f"no {'earlier ' if old else ''}key of {name[:80]} is known on this machine",
            code="E_NO_CERTIFICATE",
            place=str(register.path),
            remedy="Run it where the device was enrolled, or name its certificate: --certificate FILE "
            "(identity/device.cert.pem on the device).",
        )
    return keys
