"""`fwctl reconcile --once`: make the devices run what the commit says."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated, Literal

import typer

from fwctl.cli.context import Context, next_is, say
from fwctl.errors import UsageError


def register(app: typer.Typer) -> None:
    app.command()(reconcile)


def reconcile(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One pass: until nothing is due.")] = False,
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
    Exits 0 when all went well or goes on, 1 when a rollout is stopped, held or not approved.
    """
    import asyncio

    from fwctl.cli.watching import watcher
    from fwctl.reconcile.run import open_ledger, reconcile_once
    from fwctl.render.passes import RENDERERS

    if not once:
        raise UsageError("say how to run", code="E_USAGE", remedy="fwctl reconcile --once (from cron, CI or by hand).")
    settings: Context = context.obj
    commit, files = settings.committed(ref)
    if work_tree:
        files = settings.edited()
    from fwctl.reconcile.commit import load_repo

    setting = settings.setting(load_repo(files))
    with open_ledger(setting.state_dir, new=new_ledger) as ledger, watcher(sys.stderr) as watch:
        report = asyncio.run(
            reconcile_once(
                files,
                commit=commit,
                setting=setting,
                ledger=ledger,
                holder="fwctl reconcile",
                max_duration=timedelta(seconds=max_duration),
                watcher=watch,
                repo=None if work_tree else settings.repo,
            )
        )
    say(RENDERERS[format_](report))
    next_is("fwctl status")
    if not report.ok:
        raise typer.Exit(1)
