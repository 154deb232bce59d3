"""`fwctl plan`: which devices, in which waves, with what is skipped and why; `--lock` fixes the membership."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import AnyRollout
from fwctl.errors import UsageError

if TYPE_CHECKING:
    from fwctl.reconcile.commit import Prepared


def register(app: typer.Typer) -> None:
    app.command()(plan)


def plan(
    context: typer.Context,
    rollout: AnyRollout = "",
    lock: Annotated[bool, typer.Option("--lock", help="Write the lock beside the manifest.")] = False,
    ref: Annotated[str, typer.Option(metavar="REF", help="A commit instead of the work tree.")] = "",
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Play the rollout on a modelled fleet, in virtual time.")
    ] = False,
    failure_rate: Annotated[float, typer.Option(metavar="SHARE", help="Devices on which the firmware fails.")] = 0.0,
    offline: Annotated[float, typer.Option(metavar="SHARE", help="Devices that do not answer at first.")] = 0.0,
    runs: Annotated[int | None, typer.Option(metavar="N", help="Simulated runs; by the fleet's size.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, other runs.")] = 1,
    at: Annotated[str, typer.Option(metavar="TIME", help="When the simulation begins (UTC); now by default.")] = "",
    assume: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What it takes for granted; repeat it.")
    ] = None,
    format_: Annotated[Literal["text", "json", "html"], typer.Option("--format", help="How to write it.")] = "text",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where a simulation is written to.")] = None,
) -> None:
    """Show which devices a rollout reaches, in which waves.

    Devices that would get nothing now are listed with the reason: a forecast from the ledger, not part of the plan.
    A simulation asks no device and writes nothing; the same seed and time give the same answer.
    """
    settings: Context = context.obj
    if simulate and not lock:
        from fwctl.cli.simulating import Asked, show

        return show(
            settings, rollout, Asked(failure_rate, offline, runs, seed, at, tuple(assume or ())), ref, format_, out
        )
    if simulate or failure_rate or offline or runs is not None or at or assume or out or format_ == "html":
        raise UsageError(
            "a simulation is asked for in part, or together with a lock",
            code="E_USAGE",
            place="plan",
            remedy="fwctl plan ROLLOUT --simulate [--failure-rate 0.03] [--offline 0.1] [--format html --out FILE]",
        )
    return _show(settings, rollout, ref, format_, lock=lock)


def _show(settings: Context, rollout: str, ref: str, format_: str, *, lock: bool) -> None:
    from fwctl.cli.planning import make_plans, write_locks
    from fwctl.cli.provenance import signature_line
    from fwctl.render.plan import RENDERERS

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
