"""`fwctl device renew`, `rotate`, `revoke`: the life of a device's certificate after its enrolment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, say
from fwctl.cli.control import Reason
from fwctl.cli.options import TextOrJson

Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="The devices.", autocompletion=completing.devices)
]
Device = Annotated[str, typer.Argument(metavar="NAME", help="The device.", autocompletion=completing.devices)]


def register(group: typer.Typer) -> None:
    group.command()(renew)
    group.command()(rotate)
    group.command()(revoke)


def renew(
    context: typer.Context,
    names: Names = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every device of the inventory.")] = False,
    expiring: Annotated[str, typer.Option(metavar="AGE", help="Those whose certificate ends in so long.")] = "",
    format_: TextOrJson = "text",
) -> None:
    """Give devices a new certificate for the key that they have.

    It is handed over on a connection that this key proves; for this alone the certificate may be past its end. It
    needs the device CA's key and the controller's certificate, so it runs where devices are enrolled.
    """
    from fwctl.cli.renewing import renew_all
    from fwctl.render.identity import RENEWED

    settings: Context = context.obj
    done = renew_all(settings, names or (), everyone=everyone, expiring=expiring)
    say(RENEWED[format_](done))
    next_is(*_after(done.failed, "renew"))
    if done.failed:
        raise typer.Exit(5)


def rotate(context: typer.Context, name: Device, format_: TextOrJson = "text") -> None:
    """Have a device make a new key, and give it a certificate for that.

    The old key proves the connection, so its certificate must still be valid. The device signs with the new key from
    then on, also what it has still to tell. If others may know the old key, revoke it: device revoke NAME --old.
    """
    from fwctl.cli.renewing import rotate_one
    from fwctl.render.identity import RENEWED

    settings: Context = context.obj
    done = rotate_one(settings, name)
    say(RENEWED[format_](done))
    if done.failed:
        next_is(*_after(done.failed, "rotate"))
        raise typer.Exit(5)
    next_is(f"fwctl device revoke {name} --old --reason WHY", f"fwctl device show {name}")


def revoke(
    context: typer.Context,
    name: Device,
    reason: Reason,
    old: Annotated[bool, typer.Option("--old", help="Only the keys that a rotation replaced.")] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its certificate, if it was issued elsewhere.")
    ] = None,
    signer: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Who signs; you, if one person's keys are here.")
    ] = "",
    format_: TextOrJson = "text",
) -> None:
    """Take a device's keys out of trust, for good.

    It goes into quarantine at once. Its keys go into the policy, which those sign who sign policies; from then on no
    reconciler talks to it. To use it again, enroll it with a new key.
    """
    from fwctl.cli.nexts import shared
    from fwctl.cli.revoking import revoke_device
    from fwctl.render.identity import REVOKED

    settings: Context = context.obj
    done = revoke_device(settings, name, reason, old=old, certificate=certificate, signer=signer)
    say(REVOKED[format_](done))
    if done.amended is not None and done.amended.open is not None:
        next_is(*shared(settings), *done.amended.open.commands)
    else:
        next_is(*shared(settings), "fwctl trust status", f"fwctl device show {name}")


def _after(failed: tuple[str, ...], verb: str) -> tuple[str, ...]:
    return (f"fwctl device {verb} {' '.join(failed[:10])}",) if failed else ("fwctl status",)
