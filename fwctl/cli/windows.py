"""`fwctl windows`: when devices may start."""

from __future__ import annotations

from typing import Annotated

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import AnyRollout, TextOrJson


def register(app: typer.Typer) -> None:
    app.command()(windows)


def windows(
    context: typer.Context,
    rollout: AnyRollout = "",
    count: Annotated[int, typer.Option("--next", min=1, max=100, metavar="N", help="So many spans.")] = 5,
    zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Tell times in this zone; judge `device` windows there.")
    ] = "",
    format_: TextOrJson = "text",
) -> None:
    """Show when the devices of rollouts may start.

    What is under way goes on outside a window, and so does going back. A rollout without a window may start always.
    """
    from fwctl.cli.windowing import find_windows
    from fwctl.render.windows import RENDERERS, next_commands

    settings: Context = context.obj
    found = find_windows(settings, rollout, count=count, zone=zone)
    say(RENDERERS[format_](found))
    next_is(*next_commands(found))
