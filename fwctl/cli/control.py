"""`fwctl pause`, `resume`, `promote`, `abort`, `rollback`: a person's word about a rollout, with its reason, in git."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fwctl.cli.context import Context, next_is, say, talk
from fwctl.cli.options import Rollout, TextOrJson

if TYPE_CHECKING:
    from fwctl.cli.weighing import Wish

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, in one line; git and events keep it.")]
Now = Annotated[bool, typer.Option("--now", help="Also act at once; stops and takes back, never installs.")]
Confirm = Annotated[str, typer.Option("--confirm", metavar="NAME", help="The rollout's name, instead of typing it.")]
NoInput = Annotated[bool, typer.Option("--no-input", help="Never ask; fail instead.")]


def register(app: typer.Typer) -> None:
    for command in (pause, resume, promote, abort, rollback):
        app.command()(command)


def pause(
    context: typer.Context, rollout: Rollout, reason: Reason, at_once: Now = False, format_: TextOrJson = "text"
) -> None:
    """Start nothing more until it is resumed.

    Devices in flight finish what they began, and watch themselves. While it is paused no gate is judged.
    """
    from fwctl.cli.weighing import Wish

    _do(context.obj, Wish(verb="pause", rollout=rollout, reason=reason, at_once=at_once), format_)


def resume(context: typer.Context, rollout: Rollout, reason: Reason, format_: TextOrJson = "text") -> None:
    """Go on with a paused rollout.

    Only a pause ends so. What a gate, a refusal or an abort stopped goes on with a new approval only.
    """
    from fwctl.cli.weighing import Wish

    _do(context.obj, Wish(verb="resume", rollout=rollout, reason=reason), format_)


def promote(
    context: typer.Context,
    rollout: Rollout,
    reason: Reason,
    wave: Annotated[str, typer.Option(metavar="WAVE", help="Such as wave-1; the current one by default.")] = "",
    format_: TextOrJson = "text",
) -> None:
    """Let a wave pass without waiting for its gate and soak.

    Only within what is approved, and never a wave whose gate has failed. Its devices still settle, and if too many
    of them fail later the rollout stops.
    """
    from fwctl.cli.weighing import Wish

    _do(context.obj, Wish(verb="promote", rollout=rollout, reason=reason, wave=wave), format_)


def abort(
    context: typer.Context,
    rollout: Rollout,
    reason: Reason,
    revert: Annotated[
        bool, typer.Option("--revert/--keep", help="Take back the devices that have it, or leave them.")
    ] = False,
    at_once: Now = False,
    confirm: Confirm = "",
    no_input: NoInput = False,
    format_: TextOrJson = "text",
) -> None:
    """End a rollout for good: it goes on only with a new approval.

    Who is queued never gets the firmware under this approval. With --keep, devices in flight finish and all others
    stay on what they run; with --revert, devices in flight and done go back to what they ran before.
    """
    from fwctl.cli.weighing import Wish

    wish = Wish(verb="abort", rollout=rollout, reason=reason, revert=revert, at_once=at_once)
    _do(context.obj, wish, format_, confirm=confirm, ask=not no_input)


def rollback(
    context: typer.Context,
    rollout: Rollout,
    reason: Reason,
    at_once: Now = False,
    confirm: Confirm = "",
    no_input: NoInput = False,
    format_: TextOrJson = "text",
) -> None:
    """Take every device of a rollout back to what it ran before.

    The forward approval covers this one step. It ignores windows and budgets, obeys only rollback.maxConcurrent,
    and waits for devices that are away. It stays so until something new is approved.
    """
    from fwctl.cli.weighing import Wish

    wish = Wish(verb="rollback", rollout=rollout, reason=reason, at_once=at_once)
    _do(context.obj, wish, format_, confirm=confirm, ask=not no_input)


def _do(settings: Context, wish: Wish, format_: str, *, confirm: str = "", ask: bool = False) -> None:
    """Show what it means, ask if it is severe, write it, and say what comes next."""
    from fwctl.cli.controlling import carry_out, confirmed, propose
    from fwctl.cli.nexts import shared
    from fwctl.render.control import CONTROL, after, meaning

    proposal = propose(settings, wish)
    if not proposal.standing:
        talk(meaning(proposal))
    if proposal.severe and not confirmed(proposal, confirm, ask=ask):
        talk("Nothing was changed.")
        raise typer.Exit(1)
    done = carry_out(settings, proposal)
    say(CONTROL[format_](done))
    next_is(*(shared(settings) if done.commit else ()), *after(done))
    if not done.ok:
        raise typer.Exit(1)
