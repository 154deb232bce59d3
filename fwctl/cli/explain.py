"""`fwctl explain`: what a field takes and what a code means, from the models themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from fwctl.cli.context import next_is, say
from fwctl.cli.options import TextOrJson


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    topic: Annotated[
        str, typer.Argument(metavar="KIND.FIELD|CODE", help="Such as rollout.spec.gates or E_LOCK_STALE.")
    ] = "",
    format_: TextOrJson = "text",
) -> None:
    """Tell what a manifest field takes, or what a code means."""
    from fwctl.cli.explaining import explain_topic
    from fwctl.render.explain import RENDERERS

    found = explain_topic(topic)
    say(RENDERERS[format_](found))
    if found.fields:
        next_is(f"fwctl explain {found.topic}.{found.fields[0].name}")
    elif not topic:
        next_is("fwctl explain rollout.spec", "fwctl explain E_LOCK_STALE")
