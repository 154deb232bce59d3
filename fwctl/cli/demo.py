"""`fwctl demo`: firmware from a git commit into the slots of real agents, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fwctl.cli.context import next_is, say


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="An empty folder; a temporary one by default.")
    ] = None,
) -> None:
    """Watch a whole rollout on this machine, in a minute.

    2 real agents and 20 simulated devices get firmware from a git commit. Loopback only.
    """
    from fwctl.cli.story import tell

    end = tell(folder)
    say(end.summary)
    next_is(*end.next_commands)
    if not end.ok:
        raise typer.Exit(1)
