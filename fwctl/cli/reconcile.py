"""`fwctl reconcile --once`: make the devices run what the commit says."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

import typer

from fwctl.cli.context import Context, next_is
from fwctl.cli.nexts import after_pass
from fwctl.errors import UsageError


def register(app: typer.Typer) -> None:
    app.command()(reconcile)


def reconcile(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One pass: until nothing is due.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Pass after pass, until SIGTERM or Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option(metavar="TIME", help="Longest wait between passes, such as 30s.")] = "30s",
    ref: Annotated[str, typer.Option(metavar="REF", help="The commit to apply.")] = "HEAD",
    max_duration: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="Longest time of the pass.")] = 300,
    work_tree: Annotated[bool, typer.Option("--work-tree", help="Apply uncommitted files; for trying out.")] = False,
    new_ledger: Annotated[
        bool, typer.Option("--new-ledger", help="Begin an empty ledger; devices tell what they run.")
    ] = False,
    format_: Annotated[Literal["text", "json"], typer.Option("--format", help="How to write the result.")] = "text",
) -> None:
    """Push approved firmware to the devices that are due.

    One pass: what is approved at the commit is sent, confirmed and recorded; it can be killed at any instant.
    Exits 0 when all went well or goes on, 1 when a rollout is paused, held, stopped, aborted,
    going back or back, or not approved.
    """
    from fwctl.cli.passing import Passes

    if once == watch:
        raise UsageError(
            "say how to run",
            code="E_USAGE",
            remedy="fwctl reconcile --once (from cron, CI or by hand), or --watch (as a daemon).",
        )
    settings: Context = context.obj
    passes = Passes(settings, ref, timedelta(seconds=max_duration), work_tree=work_tree, new_ledger=new_ledger)
    if watch:
        return passes.forever(interval, format_)
    report = passes.once(format_)
    next_is(*after_pass(report))
    if not report.ok:
        raise typer.Exit(1)
    return None
