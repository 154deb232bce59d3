"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fwctl.cli import completing

Rollout = Annotated[
    str, typer.Argument(metavar="ROLLOUT", help="ENV/NAME or NAME.", autocompletion=completing.rollouts)
]
AnyRollout = Annotated[
    str,
    typer.Argument(metavar="ROLLOUT", help="ENV/NAME or NAME; all by default.", autocompletion=completing.rollouts),
]
TextOrJson = Annotated[Literal["text", "json"], typer.Option("--format", help="How to write it.")]
TextJsonOrMarkdown = Annotated[Literal["text", "json", "markdown"], typer.Option("--format", help="How to write it.")]
