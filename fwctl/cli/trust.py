"""`fwctl trust`: who may say what, and who has said it."""

from __future__ import annotations

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextJsonOrMarkdown

group = typer.Typer(no_args_is_help=True, help="Look at trust and approvals.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="trust")


@group.command()
def status(context: typer.Context, format_: TextJsonOrMarkdown = "text") -> None:
    """Show metadata, people, rules, and who must approve what."""
    from fwctl.cli.trusting import read_trust
    from fwctl.render.trust import TRUST

    settings: Context = context.obj
    result = read_trust(settings)
    say(TRUST[format_](result))
    next_is(*(result.commands or ("fwctl status",)))
