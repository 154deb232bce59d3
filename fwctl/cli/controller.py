"""`fwctl controller`: the reconciler's own certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.control import Reason
from fwctl.cli.options import TextOrJson

if TYPE_CHECKING:
    from fwctl.cli.revoking import Revoked

group = typer.Typer(no_args_is_help=True, help="The certificate that agents let in.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="controller")


@dataclass(frozen=True)
class Replaced:
    """The controller's new certificate, and the key that it had before."""

    path: Path
    key: str
    end: datetime
    old: str
    old_end: datetime


@group.command()
def renew(context: typer.Context, format_: TextOrJson = "text") -> None:
    """Give the reconciler a new key and certificate.

    It needs the controller CA's key. Where the reconciler runs elsewhere, copy controller.cert.pem and
    controller.key.pem there. Devices accept the old certificate until it ends, or its key is revoked.
    """
    from fwctl.render.identity import REPLACED

    done = replace(context.obj)
    say(REPLACED[format_](done))
    next_is("fwctl reconcile --once", f"fwctl controller revoke {done.old} --reason WHY")


@group.command()
def revoke(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="sha256:..., as `controller renew` said it.")],
    reason: Reason,
    signer: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Who signs; you, if one person's keys are here.")
    ] = "",
    format_: TextOrJson = "text",
) -> None:
    """Revoke a key that a reconciler had: no device that has the new policy lets it in."""
    from fwctl.cli.nexts import shared
    from fwctl.render.identity import REVOKED

    done = revoke_key(context.obj, key, reason, signer)
    say(REVOKED[format_](done))
    if done.amended is not None and done.amended.open is not None:
        next_is(*shared(context.obj), *done.amended.open.commands)
    else:
        next_is(*shared(context.obj), "fwctl reconcile --once")


def replace(settings: Context) -> Replaced:
    """Make the new key and certificate. Raises as `renew_controller`."""
    from fwctl.cli.fleet_id import fleet_id
    from fwctl.fleet.certificates import Authorities, key_digest, load_certificate, renew_controller

    repo_id = fleet_id(settings)
    keystore = settings.keystore(repo_id)
    path = Authorities(keystore.pki).controller
    before = load_certificate(path).not_valid_after_utc
    old, certificate = renew_controller(keystore, repo_id, settings.now())
    key = certificate.public_key()
    return Replaced(path, key_digest(key), certificate.not_valid_after_utc, key_digest(old), before)  # type: ignore[arg-type]  # ours: P-256


def revoke_key(settings: Context, key: str, reason: str, signer: str) -> Revoked:
    """Propose that the policy revokes a key of the controller's.

    Raises:
        UsageError: `E_IN_USE`: it is the one that this machine's reconciler has; `E_USAGE`: no digest.
    """
    from fwctl.cli.amending import amend
    from fwctl.cli.controlling import one_line
    from fwctl.cli.fleet_id import fleet_id
    from fwctl.cli.revoking import Revoked, revoking
    from fwctl.errors import UsageError
    from fwctl.fleet.certificates import Authorities, key_digest, load_certificate
    from fwctl_agent.protocol.fields import DIGEST

    reason = one_line(reason)
    if not DIGEST.fullmatch(key):
        raise UsageError(
            f"not the digest of a key: {key[:80]!r}",
            code="E_USAGE",
            place="KEY",
            remedy="sha256: and 64 hex digits, as `fwctl controller renew` says it.",
        )
    path = Authorities(settings.keystore(fleet_id(settings)).pki).controller
    if path.exists() and key_digest(load_certificate(path).public_key()) == key:  # type: ignore[arg-type]  # ours: P-256
        raise UsageError(
            "this is the key that the reconciler has now: no device would let it in",
            code="E_IN_USE",
            place=str(path),
            remedy="Give it another one first: fwctl controller renew",
        )
    amended = amend(settings, revoking([key]), what=f"revoke a key of the controller: {reason}", signer=signer)
    return Revoked("the controller", (key,), None, amended)
