"""`fwctl quarantine`: list, add, release."""

from __future__ import annotations

from typing import Annotated

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, say
from fwctl.cli.control import Reason
from fwctl.cli.options import TextOrJson

Device = Annotated[str, typer.Argument(metavar="DEVICE", help="The device.", autocompletion=completing.devices)]

group = typer.Typer(
    no_args_is_help=True, help="Keep devices out of everything, and let them in.", rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="quarantine")


@group.command("list")
def list_(context: typer.Context, format_: TextOrJson = "text") -> None:
    """List the devices in quarantine: since when, by whom, why."""
    from fwctl.cli.quarantining import rows
    from fwctl.render.control import QUARANTINE

    settings: Context = context.obj
    found = rows(settings)
    say(QUARANTINE[format_](found, settings.now()))
    if found:
        next_is(f"fwctl device show {found[0].device}", f"fwctl quarantine release {found[0].device} --reason WHY")
    else:
        next_is("fwctl status")


@group.command()
def add(context: typer.Context, device: Device, reason: Reason, format_: TextOrJson = "text") -> None:
    """Keep a device out of every rollout until it is released.

    It starts nothing new and counts in no gate. What is under way on it is finished; if it has gone silent, its place
    is given to others. A rollback still takes it back.
    """
    from fwctl.cli.quarantining import keep_out
    from fwctl.render.control import DECIDED

    settings: Context = context.obj
    say(DECIDED[format_](keep_out(settings, device, reason)))
    next_is(f"fwctl device show {device}", f"fwctl quarantine release {device} --reason WHY")


@group.command()
def release(context: typer.Context, device: Device, reason: Reason, format_: TextOrJson = "text") -> None:
    """Let a device take part again, with all its attempts anew.

    What it failed at before counts no more. Firmware that it took back by itself stays refused by the device until
    a new round is approved.
    """
    from fwctl.cli.quarantining import let_in
    from fwctl.render.control import DECIDED

    settings: Context = context.obj
    say(DECIDED[format_](let_in(settings, device, reason)))
    next_is("fwctl reconcile --once", f"fwctl device show {device}")
