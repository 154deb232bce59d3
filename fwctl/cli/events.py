"""`fwctl events`: what the ledger recorded."""

from __future__ import annotations

from typing import Annotated

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import TextOrJson


def register(app: typer.Typer) -> None:
    app.command()(events)


def events(
    context: typer.Context,
    about: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="ROLLOUT|DEVICE",
            help="Only of this rollout or device.",
            autocompletion=completing.rollouts_or_devices,
        ),
    ] = "",
    since: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Only after this event.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of all events first.")] = False,
    format_: TextOrJson = "text",
) -> None:
    """List what happened, oldest first, from the ledger."""
    from fwctl.cli.history import read_events
    from fwctl.render.events import RENDERERS

    settings: Context = context.obj
    history = read_events(settings, about, since=since, limit=limit, verify=verify)
    say(RENDERERS[format_](history))
    if history.broken:
        talk(f"The chain is broken at event {history.broken.seq}: {history.broken.why}.")
        next_is("fwctl doctor")
        raise typer.Exit(1)
    if verify:
        talk("The chain of events holds.")
    if history.earlier:
        talk(f"Earlier events are not shown (--limit {2 * limit}).")
    if history.events:
        next_is(f"fwctl events --since {history.events[-1].seq}")
