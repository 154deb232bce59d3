"""`fwctl explain`: what a field takes, what a code means, and why a rollout or a device does not move."""

from __future__ import annotations

from typing import Annotated

import typer

from fwctl.cli import completing
from fwctl.cli.context import Context, next_is, say
from fwctl.cli.options import TextOrJson


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    context: typer.Context,
    topic: Annotated[
        str,
        typer.Argument(
            metavar="ROLLOUT|DEVICE|KIND.FIELD|CODE",
            help="Such as dev/sensors, rollout.spec.gates or E_LOCK_STALE.",
            autocompletion=_topics,
        ),
    ] = "",
    format_: TextOrJson = "text",
) -> None:
    """Tell why something does not move; explain fields and codes."""
    from fwctl.cli.explained import explain_code
    from fwctl.render.explain import RENDERERS

    code = explain_code(topic)
    if code is not None:
        return say(RENDERERS[format_](code))

    from fwctl.cli.explaining import explain_topic, is_kind_or_code

    if topic and not is_kind_or_code(topic):
        from fwctl.cli.stuck import names

        if "/" in topic or topic in names(context.obj):
            return _stuck(context.obj, topic, format_)
    found = explain_topic(topic)
    say(RENDERERS[format_](found))
    if found.fields:
        next_is(f"fwctl explain {found.topic}.{found.fields[0].name}")
    elif not topic:
        next_is("fwctl explain ROLLOUT", "fwctl explain rollout.spec", "fwctl explain E_LOCK_STALE")
    return None


def _topics(context: typer.Context, incomplete: str) -> list[str]:
    from fwctl.cli.explained import codes

    return codes(incomplete) or completing.rollouts_or_devices(context, incomplete)


def _stuck(settings: Context, topic: str, format_: str) -> None:
    from fwctl.cli.stuck import explain_stuck
    from fwctl.render.stuck import RENDERERS

    found = explain_stuck(settings, topic)
    say(RENDERERS[format_](found))
    next_is(*dict.fromkeys(command for one in found for command in one.commands))
