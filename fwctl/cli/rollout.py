"""`fwctl rollout`: create, list, show, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import Rollout, TextOrJson

group = typer.Typer(no_args_is_help=True, help="Write rollouts and look at them.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="rollout")


@group.command()
def create(
    context: typer.Context,
    firmware: Annotated[
        str,
        typer.Option(metavar="MODEL@VERSION", help="What the devices shall run.", autocompletion=completing.firmware),
    ],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The rollout's name; DEVICE-VERSION, GROUP-VERSION by default.")
    ] = "",
    env: Annotated[str, typer.Option(help="The environment; that of the devices by default.")] = "",
    devices: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="NAME", help="A device; repeat it.", autocompletion=completing.devices),
    ] = None,
    groups: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="NAME", help="A group; repeat it.", autocompletion=completing.groups),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every device of the model in the environment.")] = False,
    strategy: Annotated[
        Literal["Canary", "Rolling", "Direct", "Regional", "BlueGreen"] | None,
        typer.Option(help="How they get there. Canary by default; for one device Direct, which is all at once."),
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option("--region", metavar="REGION", help="A region for Regional; repeat it in the order they go."),
    ] = None,
    soak: Annotated[
        str, typer.Option(metavar="DURATION", help="How long a wave is watched, such as 15m; the strategy's default.")
    ] = "",
    replaces: Annotated[
        str, typer.Option(metavar="ROLLOUT", help="The rollout that this one takes devices over from.")
    ] = "",
) -> None:
    """Write the smallest rollout manifest: a few devices first."""
    from fwctl.cli.creating import Wish, create_rollout

    settings: Context = context.obj
    wish = Wish(
        firmware=firmware,
        name=name,
        env=env,
        devices=devices or (),
        groups=groups or (),
        everyone=everyone,
        strategy=strategy,
        regions=regions or (),
        soak=soak,
        replaces=replaces,
    )
    created = create_rollout(settings, wish)
    say(created.text.rstrip())
    say(f"\nWrote {created.path}: {created.targets} device{'s' if created.targets != 1 else ''}")
    next_is(f"fwctl plan {created.key} --lock")


@group.command("list")
def list_(context: typer.Context, format_: TextOrJson = "text") -> None:
    """List the rollouts and how far they are."""
    from fwctl.cli.looking import open_book
    from fwctl.render.catalogue import ROLLOUT_LIST

    settings: Context = context.obj
    say(ROLLOUT_LIST[format_](open_book(settings).rollouts()))
    next_is("fwctl rollout show ROLLOUT")


@group.command()
def show(context: typer.Context, rollout: Rollout, format_: TextOrJson = "text") -> None:
    """Show one rollout: what it wants, its waves, its approvals."""
    from fwctl.cli.looking import open_book
    from fwctl.cli.planning import find_rollouts
    from fwctl.render.catalogue import ROLLOUT_SHOW

    settings: Context = context.obj
    book = open_book(settings)
    key = find_rollouts(book.repo, rollout)[0].key
    say(ROLLOUT_SHOW[format_](book.rollouts(key)[0]))
    next_is(f"fwctl status {key}", f"fwctl events --for {key}")


@group.command()
def report(
    context: typer.Context,
    rollout: Rollout,
    format_: Annotated[
        Literal["text", "json", "html", "svg"], typer.Option("--format", help="How to write it.")
    ] = "text",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to; standard output by default.")] = None,
) -> None:
    """Tell how a rollout went: waves, failures, times back."""
    from fwctl.cli.reporting import make_report
    from fwctl.files import write_atomic
    from fwctl.render.report import RENDERERS

    settings: Context = context.obj
    made = make_report(settings, rollout)
    text = RENDERERS[format_](made)
    if out is None:
        say(text)
    else:
        write_atomic(out, text.encode() + b"\n")
        say(f"Wrote {out}")
    key = made.status.key
    next_is(f"fwctl explain {key}", f"fwctl events --for {key}")
