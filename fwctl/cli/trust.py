"""`fwctl trust`: who may say what, who has said it, and the change that is open."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import TextJsonOrMarkdown, TextOrJson

if TYPE_CHECKING:
    from fwctl.cli.amending import Amended

group = typer.Typer(no_args_is_help=True, help="Look at trust and approvals; change the trust.", rich_markup_mode=None)
Signer = Annotated[str, typer.Option("--as", metavar="NAME", help="Who signs; you, if one person's keys are here.")]


def register(app: typer.Typer) -> None:
    from fwctl.cli import trust_changes, trust_lint, trust_pin

    trust_changes.register(group)
    trust_lint.register(group)
    trust_pin.register(group)
    app.add_typer(group, name="trust")


@group.command()
def status(context: typer.Context, format_: TextJsonOrMarkdown = "text") -> None:
    """Show metadata, people, rules, approvals, and the open change."""
    from fwctl.cli.trusting import read_first, read_trust
    from fwctl.render.trust import FIRST, TRUST

    settings: Context = context.obj
    first = read_first(settings)
    if first is not None:
        say(FIRST[format_](first))
        next_is(*first.commands)
        return
    result = read_trust(settings)
    say(TRUST[format_](result))
    next_is(*(result.commands or ("fwctl status",)))


@group.command()
def sign(
    context: typer.Context,
    signer: Signer = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    format_: TextOrJson = "text",
) -> None:
    """Sign the open change of trust; who is last completes it.

    On a terminal it is shown first. Get the newest commits before, and push afterwards.
    """
    from fwctl.cli.amending import sign_open

    def show(told: tuple[str, ...]) -> None:
        if yes or not sys.stdin.isatty():
            return
        talk("\n".join(["This is what you sign:", *(f"  {line}" for line in told)]))
        if not typer.confirm("Sign it?", err=True):
            talk("Nothing was signed.")
            raise typer.Exit(1)

    settings: Context = context.obj
    tell(settings, sign_open(settings, signer, show), format_)


@group.command()
def drop(
    context: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in git.")],
    format_: TextOrJson = "text",
) -> None:
    """Take the open change of trust away; the trust stays as it is."""
    from fwctl.cli import amending

    settings: Context = context.obj
    tell(settings, amending.drop(settings, reason), format_)


def tell(settings: Context, done: Amended, format_: str) -> None:
    """Say what a command did to the trust, and what is next."""
    from fwctl.cli.nexts import shared
    from fwctl.render.amending import AMENDED, missing_of

    say(AMENDED[format_](done))
    if done.open:
        talk(f"Still missing: {missing_of(done.open)}")
        next_is(*shared(settings), *done.open.commands)
    else:
        next_is(*shared(settings), "fwctl trust status")
