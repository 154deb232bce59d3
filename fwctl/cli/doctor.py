"""`fwctl doctor`: is everything here that fwctl needs?"""

from __future__ import annotations

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextOrJson


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(context: typer.Context, format_: TextOrJson = "text") -> None:
    """Check machine, repository, trust, ledger and storage."""
    from fwctl.cli.examining import examine
    from fwctl.render.doctor import RENDERERS

    settings: Context = context.obj
    checks = examine(settings)
    say(RENDERERS[format_](checks))
    if any(check.word == "fail" for check in checks):
        next_is("fwctl doctor")
        raise typer.Exit(1)
    next_is("fwctl status")
