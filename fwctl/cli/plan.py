"""`fwctl plan`: which devices, in which waves, with what is skipped and why; `--lock` fixes the membership."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import AnyRollout, TextOrJson

if TYPE_CHECKING:
    from fwctl.reconcile.commit import Prepared


def register(app: typer.Typer) -> None:
    app.command()(plan)


def plan(
    context: typer.Context,
    rollout: AnyRollout = "",
    lock: Annotated[bool, typer.Option("--lock", help="Write the lock beside the manifest.")] = False,
    ref: Annotated[str, typer.Option(metavar="REF", help="A commit instead of the work tree.")] = "",
    format_: TextOrJson = "text",
) -> None:
    """Show which devices a rollout reaches, in which waves.

    Devices that would get nothing now are listed with the reason: a forecast from the ledger, not part of the plan.
    """
    from fwctl.cli.planning import make_plans, write_locks
    from fwctl.cli.provenance import signature_line
    from fwctl.render.plan import RENDERERS

    settings: Context = context.obj
    results = make_plans(settings, rollout, ref=ref, lock=lock)
    say(RENDERERS[format_](results))
    if told := signature_line(settings, ref or "HEAD"):
        talk(told)
    if lock:
        for path in (written := write_locks(settings, results)):
            talk(f"Wrote {path}")
        if not written:
            talk("Nothing to write: what is locked is what would be locked now.")
        commit = ("git add -A && git commit -m 'Plan the rollout'",) if settings.repo.dirty() else ()
        waiting = [result.prepared for result in results if not result.prepared.approved_stage or commit]
        approvals = [f"fwctl approve {prepared.key}" for prepared in waiting]
        next_is(*commit, *(approvals or ["fwctl status"]))
        return
    next_is(*(_next(result.prepared) for result in results))


def _next(prepared: Prepared) -> str:
    if prepared.lock is None:
        return f"fwctl plan {prepared.key} --lock"
    if prepared.verdict is not None and not prepared.approved_stage:
        return f"fwctl approve {prepared.key}"
    return f"fwctl status {prepared.key}"
