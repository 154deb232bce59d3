"""`fwctl status`, and bare `fwctl`: where things stand and what to do."""

from __future__ import annotations

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import AnyRollout, TextOrJson


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    context: typer.Context,
    rollout: AnyRollout = "",
    format_: TextOrJson = "text",
) -> None:
    """Show where each rollout stands, why, and what to do next."""
    from fwctl.cli.standing import read_status
    from fwctl.render.status import RENDERERS

    settings: Context = context.obj
    result = read_status(settings, rollout)
    say(RENDERERS[format_](result))
    next_is(*result.next_commands)


def where_am_i(context: typer.Context) -> None:
    """Bare `fwctl`: the status in a fleet repository, the way in elsewhere."""
    from fwctl.errors import FwctlError

    try:
        settings: Context = context.obj
        inside = "fleet.yaml" in settings.edited()
    except FwctlError:
        inside = False
    if inside:
        status(context)
    else:
        say("This is no fleet repository.")
        next_is("fwctl init        make one here", "fwctl demo        watch a rollout on this machine", "fwctl --help")
