"""`fwctl diff`: what changes between two commits, and for which devices."""

from __future__ import annotations

from typing import Annotated

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextJsonOrMarkdown


def register(app: typer.Typer) -> None:
    app.command()(diff)


def diff(
    context: typer.Context,
    base: Annotated[str, typer.Argument(metavar="BASE", help="The commit to start from.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The commit to end at; the work tree if left out.")] = "",
    format_: TextJsonOrMarkdown = "text",
) -> None:
    """Show what changes between two commits, and for which devices.

    Exits 0 when nothing changes, 1 when something does, above that on errors.
    """
    from fwctl.cli.comparing import compare
    from fwctl.render.diff import RENDERERS

    settings: Context = context.obj
    difference = compare(settings, base, head)
    say(RENDERERS[format_](difference))
    if difference.empty:
        return
    next_is("fwctl plan")
    raise typer.Exit(1)
