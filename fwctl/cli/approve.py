"""`fwctl approve`: sign exactly what the plan shows, and commit the signature."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import Rollout

if TYPE_CHECKING:
    from fwctl.cli.missing import Missing


def register(app: typer.Typer) -> None:
    app.command()(approve)


def approve(
    context: typer.Context,
    rollout: Rollout,
    signer: Annotated[str, typer.Option("--as", metavar="NAME", help="Whose key; yours if you have one.")] = "",
    days: Annotated[int, typer.Option(min=1, max=3650, help="For how long the approval holds.")] = 30,
    stage: Annotated[int, typer.Option(min=0, help="Up to which stage; 0 means all.")] = 0,
    meaning: Annotated[str, typer.Option(help="What the signature says.")] = "approved for release",
    renew: Annotated[
        bool, typer.Option("--renew", help="Sign again what you have approved, before or just after it ends.")
    ] = False,
    clock_is_right: Annotated[
        bool, typer.Option("--clock-is-right", help="Nothing was committed for a month, and the clock is right.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Show what is committed, sign it, commit the approval."""
    from fwctl.cli.approving import Request, check, sign_and_commit
    from fwctl.cli.provenance import signature_line
    from fwctl.errors import UsageError
    from fwctl.render.approval import standing, statement
    from fwctl.render.plan import text

    settings: Context = context.obj
    ready = check(settings, Request(rollout, signer, days, stage, meaning, renew, clock_is_right))
    if ready.standing is not None:
        say(standing(ready))
        _next(settings, ready.result.prepared.key, ready.missing)
        return
    say(text([ready.result]))
    say("\n" + statement(ready))
    if told := signature_line(settings, ready.commit):
        talk(told)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here", code="E_NO_INPUT", remedy="Look at the plan, then add --yes.")
        if not typer.confirm(f"Sign this as {ready.approval.signer}?", err=True):
            talk("Nothing was signed.")
            raise typer.Exit(1)
    done = sign_and_commit(settings, ready)
    say(f"\n{'Renewed' if ready.renews else 'Approved'} by {ready.approval.signer}, commit {done.commit[:12]}")
    say(f"wrote   {done.path}")
    if told := signature_line(settings):
        talk(told)
    _next(settings, ready.result.prepared.key, done.missing)


def _next(settings: Context, key: str, missing: Missing) -> None:
    """Say who is missing. Only people whose keys are here can go on here; the others need the commit first."""
    from fwctl.cli.nexts import shared

    if missing.why:
        talk(f"Still missing: {', and '.join(missing.people) or missing.why}")
    here = [f"fwctl approve {key} --as {name}" for name in missing.here[:1]]
    go_on = ["fwctl reconcile --once"] if missing.stage or not missing.why else []
    next_is(*shared(settings), *here, *(go_on or [f"fwctl status {key}"]))
