"""`fwctl validate`: everything that is wrong with a work tree, a folder or a commit, at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from fwctl.cli.context import Context, next_is, say, talk


def register(app: typer.Typer) -> None:
    app.command()(validate)


def validate(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="A folder of manifests; the repository by default.")
    ] = None,
    ref: Annotated[str, typer.Option(metavar="REF", help="A commit instead of the work tree.")] = "",
    against: Annotated[
        str, typer.Option(metavar="REF", help="Say who signed each commit since then, as in a pull request.")
    ] = "",
    observed: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What devices run (`device list --format json`, or CSV): prove their paths."),
    ] = None,
    format_: Annotated[
        Literal["full", "concise", "json"], typer.Option("--format", help="How to write the findings.")
    ] = "full",
) -> None:
    """Check all manifests and show every finding with a remedy."""
    from fwctl.cli.validating import check
    from fwctl.render.diagnostics import FORMATS, full

    settings: Context = context.obj
    checked = check(settings, folder, ref, against, observed)
    color = format_ == "full" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if text := full(checked.diagnostics, color=True) if color else FORMATS[format_](checked.diagnostics):
        say(text)
    for line in checked.remarks:
        talk(line)
    if checked.exit_code == 0:
        next_is("fwctl plan")
    else:
        next_is(*(f"fwctl explain {code}" for code in checked.explained[:1]), "fwctl validate")
        raise typer.Exit(checked.exit_code)
