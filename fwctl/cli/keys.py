"""`fwctl keys`: the private keys on this machine."""

from __future__ import annotations

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextOrJson

group = typer.Typer(no_args_is_help=True, help="Look at the keys on this machine.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="keys")


@group.command("list")
def list_(context: typer.Context, format_: TextOrJson = "text") -> None:
    """List your keys and what the policy knows them as."""
    from fwctl.cli.trusting import read_keys
    from fwctl.render.trust import KEYS

    settings: Context = context.obj
    say(KEYS[format_](read_keys(settings)))
    next_is("fwctl trust status")
