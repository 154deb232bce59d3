"""`fwctl status`, and bare `fwctl`: where things stand and what to do."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import AnyRollout, TextOrJson
from fwctl.errors import UsageError

if TYPE_CHECKING:
    from fwctl.cli.standing import Status


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    context: typer.Context,
    rollout: AnyRollout = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show it live until it is over.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is over.")] = False,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Longest wait, such as 10m.")] = "",
    format_: TextOrJson = "text",
) -> None:
    """Show where each rollout stands, why, and what to do next.

    With --watch or --wait: exits 0 when complete, 1 when stopped, held, aborted or rolled back, 5 after --timeout.
    """
    from fwctl.cli.provenance import signature_line
    from fwctl.cli.standing import read_status
    from fwctl.render.status import RENDERERS

    settings: Context = context.obj
    if timeout and not (watch or wait):
        raise UsageError("there is nothing to wait for", code="E_USAGE", place="--timeout", remedy="Add --wait.")
    if not (watch or wait):
        result = read_status(settings, rollout)
        say(RENDERERS[format_](result))
        if told := signature_line(settings, result.commit):
            talk(told)
        next_is(*result.next_commands)
        return
    result = _follow(settings, rollout, timeout, show=watch, lines_are_answer=format_ == "text")
    say(RENDERERS[format_](result))
    next_is(*result.next_commands)
    from fwctl.cli.following import exit_code

    if code := exit_code(result):
        raise typer.Exit(code)


def _follow(settings: Context, name: str, timeout: str, *, show: bool, lines_are_answer: bool) -> Status:
    """Read on until it is over: bars on a terminal, a line per change elsewhere, silent if only waiting."""
    from fwctl.cli.bars import live
    from fwctl.cli.following import Follower, changes, seconds

    longest = timedelta(seconds=seconds(timeout)) if timeout else None
    last: Status | None = None
    looks = Follower(settings, name).until_over(longest)
    if show and sys.stdout.isatty():
        with live(sys.stdout) as screen:
            for last in looks:
                screen(last)
    else:
        speak = say if lines_are_answer else talk
        before: Status | None = None
        for last in looks:
            for line in changes(before, last) if show else ():
                speak(line)
            sys.stdout.flush()
            before = last
        if show:
            speak("")
    if last is None:
        raise TypeError("a follower looks at least once")
    return last


def where_am_i(context: typer.Context) -> None:
    """Bare `fwctl`: the status in a fleet repository, the way in elsewhere."""
    from fwctl.errors import FwctlError

    try:
        settings: Context = context.obj
        inside = "fleet.yaml" in settings.edited()
    except FwctlError:
        inside = False
    if inside:
        status(context)
    else:
        say("This is no fleet repository.")
        next_is("fwctl init        make one here", "fwctl demo        watch a rollout on this machine", "fwctl --help")
