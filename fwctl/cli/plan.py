"""`fwctl plan`: which devices, in which waves, with what is skipped and why; `--lock` fixes the membership."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fwctl.cli.context import Context, next_is, say, talk


def register(app: typer.Typer) -> None:
    app.command()(plan)


def plan(
    context: typer.Context,
    rollout: Annotated[str, typer.Argument(help="ENV/NAME or NAME; all of them by default.", metavar="[ROLLOUT]")] = "",
    lock: Annotated[bool, typer.Option("--lock", help="Write the lock beside the manifest.")] = False,
    ref: Annotated[str, typer.Option(metavar="REF", help="A commit instead of the work tree.")] = "",
    format_: Annotated[Literal["text", "json"], typer.Option("--format", help="How to write it.")] = "text",
) -> None:
    """Show what a rollout would do: waves, devices, skips with reasons, digest."""
    from fwctl.cli.planning import make_plans, write_locks
    from fwctl.render.plan import RENDERERS

    settings: Context = context.obj
    results = make_plans(settings, rollout, ref=ref, lock=lock)
    say(RENDERERS[format_](results))
    if lock:
        for path in write_locks(settings, results):
            talk(f"Wrote {path}")
        names = " ".join(result.prepared.key for result in results)
        next_is("git add -A && git commit -m 'Plan the rollout'", *(f"fwctl approve {name}" for name in names.split()))
    elif any(result.prepared.lock is None for result in results):
        next_is(*(f"fwctl plan {result.prepared.key} --lock" for result in results if result.prepared.lock is None))
    else:
        next_is("fwctl status")
