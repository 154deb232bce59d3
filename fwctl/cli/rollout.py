"""`fwctl rollout`: create, list, show."""

from __future__ import annotations

from typing import Annotated

import typer

from fwctl.cli.context import Context, next_is, say

group = typer.Typer(no_args_is_help=True, help="Write rollouts and look at them.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="rollout")


@group.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The rollout's name.")],
    firmware: Annotated[str, typer.Option(metavar="MODEL@VERSION", help="What the devices shall run.")],
    env: Annotated[str, typer.Option(help="The environment.")] = "dev",
    devices: Annotated[list[str] | None, typer.Option("--device", help="A device; repeat it.")] = None,
    groups: Annotated[list[str] | None, typer.Option("--group", help="A group; repeat it.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every device of the model in the environment.")] = False,
) -> None:
    """Write a rollout manifest with the Direct strategy."""
    from fwctl.cli.creating import create_rollout

    settings: Context = context.obj
    created = create_rollout(
        settings, name, firmware, env=env, devices=devices or (), groups=groups or (), everyone=everyone
    )
    say(created.text.rstrip())
    say(f"Wrote {created.path}: {created.targets} devices")
    next_is(f"fwctl plan {env}/{name} --lock")
