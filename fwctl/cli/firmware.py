"""`fwctl firmware`: register, sign, list and show images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fwctl.cli.context import Context, next_is, say

group = typer.Typer(no_args_is_help=True, help="Register firmware and look at it.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="firmware")


@group.command()
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The image.")],
    model: Annotated[str, typer.Option(help="The product that it is built for.")],
    version: Annotated[str, typer.Option(help="Its version.")],
    hardware: Annotated[list[str] | None, typer.Option(help="A board that it runs on; repeat it.")] = None,
    security_version: Annotated[int, typer.Option(min=0, help="What security floors are compared with.")] = 0,
    notes: Annotated[str, typer.Option(help="Release notes.")] = "",
    signer: Annotated[str, typer.Option("--as", metavar="NAME", help="Whose key signs it.")] = "",
) -> None:
    """Hash an image, store it, write its manifest, and sign the release."""
    from fwctl.cli.releasing import Image, add_firmware

    settings: Context = context.obj
    image = Image(model, version, tuple(hardware or ()), security_version, notes)
    added = add_firmware(settings, file, image, signer)
    say(f"{model} {version}: {added.length} bytes, {added.digest}")
    say(f"  release    {added.release}")
    say(f"  stored in  {added.storage}")
    for path in added.paths:
        say(f"  wrote      {path}")
    next_is(f"fwctl rollout create NAME --firmware {model}@{version} --all")
