"""`fwctl schema`: JSON Schema per kind, for editors and other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fwctl.cli.context import next_is, say, talk


def register(app: typer.Typer) -> None:
    app.command()(schema)


def schema(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="One kind, such as Rollout.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write KIND.schema.json files there.")] = None,
) -> None:
    """Print or write the JSON Schema of manifests."""
    from fwctl.cli.explaining import find_kind
    from fwctl.files import write_atomic
    from fwctl.manifests.models import KINDS
    from fwctl.manifests.schema import schemas
    from fwctl.render.schemas import schema_text

    chosen = (find_kind(kind),) if kind else tuple(sorted(KINDS))
    texts = {f"{one.lower()}.schema.json": schema_text(schemas()[f"{one.lower()}.schema.json"]) for one in chosen}
    if out is None and kind:
        say(next(iter(texts.values())))
    elif out is None:
        say("\n".join(chosen))
        next_is("fwctl schema KIND", "fwctl schema --out schemas", "fwctl explain KIND")
    else:
        for name, text in texts.items():
            if not (out / name).is_file() or (out / name).read_text("utf-8") != text:
                write_atomic(out / name, text.encode())
                talk(f"Wrote {out / name}")
        say(f"{len(texts)} schemas in {out} are up to date")
