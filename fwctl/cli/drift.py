"""`fwctl drift`: what devices run that git does not say."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import TextOrJson


def register(app: typer.Typer) -> None:
    app.command()(drift)


def drift(
    context: typer.Context,
    most: Annotated[int, typer.Option("--max", min=0, metavar="N", help="So many devices are tolerated.")] = 0,
    format_: TextOrJson = "text",
) -> None:
    """Find devices that are not as git says.

    Devices that went back or run other firmware, vanished, were never seen, or are in no inventory. What an open
    rollout is about to change is no drift. Exits 0 when there is none, 1 when there is (with --max: more than that).
    """
    from fwctl.cli.drifting import find_drift
    from fwctl.render.drift import LOOK, RENDERERS, next_commands

    settings: Context = context.obj
    found = find_drift(settings)
    say(RENDERERS[format_](found, limit=LOOK if sys.stdout.isatty() else None))
    if found.stale:
        talk("Some devices were not looked at for more than two periods of the sweep: is the reconciler running?")
    next_is(*next_commands(found))
    if len(found.drifts) > most:
        raise typer.Exit(1)
