"""`fwctl audit`: evidence about a rollout, for people who trust neither this machine nor its ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextOrJson

group = typer.Typer(
    no_args_is_help=True, help="Show others what was approved and what devices did.", rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="audit")


@group.command()
def export(
    context: typer.Context,
    rollout: Annotated[
        str,
        typer.Option(metavar="ROLLOUT", help="What it is about.", autocompletion=completing.rollouts),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder to write it into.")],
    format_: TextOrJson = "text",
) -> None:
    """Write down everything that a rollout rests on, as it ran last."""
    from fwctl.cli.auditing import export_evidence
    from fwctl.render.audit import EXPORTED

    settings: Context = context.obj
    made = export_evidence(settings, rollout, out)
    say(EXPORTED[format_](made))
    next_is(f"fwctl audit verify {out} --root ROOT.json")


@group.command()
def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `audit export` wrote.")],
    root: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The fleet's first root, had from its owners; the pinned one by default."),
    ] = None,
    format_: TextOrJson = "text",
) -> None:
    """Judge such a folder offline, with the root of trust alone.

    Exits with 1 if something does not hold.
    """
    from fwctl.cli.auditing import verify_evidence
    from fwctl.render.audit import JUDGED

    judged = verify_evidence(context.obj, folder, root)
    say(JUDGED[format_](judged))
    if not judged.holds:
        raise typer.Exit(1)
