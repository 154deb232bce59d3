"""Every field of every kind: what `fwctl explain` tells, one table per level."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from docs.generator.text import cell


def manifests() -> str:
    """Return the reference of all manifests."""
    from fwctl.manifests.models import KINDS

    lines = ["# Manifests", ""]
    lines += [
        "Every field of every kind, as `fwctl explain KIND.field` tells it. An unknown field is an error. Editors read"
    ]
    lines += ["the same from the JSON Schemas that `fwctl schema` writes."]
    for kind in KINDS:
        lines += ["", f"## {kind}", *_level(kind.lower(), top=True)]
    return "\n".join(lines) + "\n"


def _level(topic: str, *, top: bool = False) -> Iterator[str]:
    from fwctl.cli.explaining import explain_topic

    found = explain_topic(topic)
    if not found.fields:
        return
    if not top:
        yield from ("", f"### `{topic}`")
    yield from ("", " ".join(cell(found.about).split()))
    for within, fields in groupby(found.fields, key=lambda one: one.within):
        yield from ("", *([f"In {within}:", ""] if within else []), "| field | takes | default | meaning |")
        yield "|---|---|---|---|"
        for one in fields:
            default = "required" if one.required else one.default
            yield f"| `{one.name}` | {cell(one.takes)} | {cell(default)} | {cell(one.about)} |"
    for name in dict.fromkeys(one.name for one in found.fields):
        yield from _level(f"{topic}.{name}")
