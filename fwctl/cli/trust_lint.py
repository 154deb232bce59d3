"""`fwctl trust lint`: what this trust allows and should not."""

from __future__ import annotations

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextOrJson


def register(group: typer.Typer) -> None:
    group.command(name="lint")(lint)


def lint(context: typer.Context, format_: TextOrJson = "text") -> None:
    """Find what is wrong with the trust.

    Keys, roles, rules, what ends soon. Exits 1 if anything is an error.
    """
    from fwctl.cli.linting import find
    from fwctl.render.diagnostics import as_json, full

    settings: Context = context.obj
    found = find(settings)
    say(full(found) if format_ == "text" else as_json(found))
    errors = [one for one in found if one.severity == "error"]
    next_is(*([f"fwctl explain {errors[0].code}", "fwctl trust lint"] if errors else ["fwctl trust status"]))
    if errors:
        raise typer.Exit(1)
