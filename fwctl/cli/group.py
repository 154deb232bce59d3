"""`fwctl group`: list, show."""

from __future__ import annotations

from typing import Annotated

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextOrJson

group = typer.Typer(no_args_is_help=True, help="Look at device groups.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="group")


@group.command("list")
def list_(context: typer.Context, format_: TextOrJson = "text") -> None:
    """List the groups with their sizes."""
    from fwctl.cli.looking import open_book
    from fwctl.render.catalogue import GROUP_LIST

    settings: Context = context.obj
    say(GROUP_LIST[format_](open_book(settings).groups()))
    next_is("fwctl group show NAME")


@group.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The group.", autocompletion=completing.groups)],
    format_: TextOrJson = "text",
) -> None:
    """Show one group and its members today."""
    from fwctl.cli.looking import open_book, unknown
    from fwctl.render.catalogue import GROUP_SHOW

    settings: Context = context.obj
    lines = {line.group.name: line for line in open_book(settings).groups()}
    if name not in lines:
        raise unknown(name, list(lines), what="group", code="E_NO_GROUP", place="groups/", see="fwctl group list")
    say(GROUP_SHOW[format_](lines[name]))
    next_is(f"fwctl device list --group {name}")
