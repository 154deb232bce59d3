"""`fwctl state`: how large the ledger is, and what of it may go."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import TextOrJson

group = typer.Typer(no_args_is_help=True, help="Look at the ledger's size, and keep it small.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="state")


@group.command()
def show(context: typer.Context, format_: TextOrJson = "text") -> None:
    """Show what the ledger holds and takes on disk."""
    from fwctl.cli.keeping import look
    from fwctl.render.state import SIZE

    settings: Context = context.obj
    say(SIZE[format_](look(settings), settings.now()))
    next_is("fwctl state prune --dry-run")


@group.command()
def prune(
    context: typer.Context,
    older_than: Annotated[str, typer.Option(metavar="DURATION", help="What ended longer ago: 90d, 12h.")] = "90d",
    keep: Annotated[
        int, typer.Option(min=1, metavar="N", help="Keep the newest N approvals of each rollout, whatever their age.")
    ] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    format_: TextOrJson = "text",
) -> None:
    """Remove old attempts and events that nothing will ask for again.

    Kept whatever its age: everything about the approval that a rollout stands under, what a device runs or has taken
    back, what is open, and devices that were not seen since. The chain of events still holds afterwards, and says
    what was removed, when and by whom. Refused while a reconciler is at work.
    """
    from fwctl.cli.keeping import carry_out, propose
    from fwctl.errors import UsageError
    from fwctl.render.state import PRUNE, meaning

    settings: Context = context.obj
    wish = propose(settings, older_than, keep)
    if dry_run or not wish.amount.total:
        say(PRUNE[format_](wish, None))
        next_is("fwctl state prune" if wish.amount.total else "fwctl state show")
        return
    talk(meaning(wish))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here", code="E_NO_INPUT", remedy="Try --dry-run, then add --yes.")
        if not typer.confirm("Remove them for good?", err=True):
            talk("Nothing was removed.")
            raise typer.Exit(1)
    say(PRUNE[format_](wish, carry_out(settings, wish)))
    next_is("fwctl events --verify", "fwctl state show")
