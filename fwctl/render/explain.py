"""Fields and codes explained, as text and JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from fwctl.render.words import columns, document

if TYPE_CHECKING:
    from fwctl.cli.explained import Explained, FieldHelp

_WIDTH = 79


def text(found: Explained) -> str:
    """Return the explanation for people, in 79 columns."""
    if found.choices:
        return "\n".join(columns([(name, about) for name, about in found.choices.items()]))
    lines = [found.topic, *(_wrapped(line, "  ") for line in found.about.splitlines())]
    for label, value in found.facts:
        lines.append(_wrapped(f"{label:<8} {value}", "  ", hang=9))
    for within, fields in groupby(found.fields, key=lambda one: one.within):
        lines += ["", f"Fields of {within}:" if within else "Fields:"]
        lines += [_field(one) for one in fields]
    return "\n".join(lines)


def as_json(found: Explained) -> str:
    """Return the explanation for programs."""
    return document(
        {
            "topic": found.topic,
            "about": found.about,
            "facts": dict(found.facts),
            "fields": [
                {
                    "name": one.name,
                    "takes": one.takes,
                    "required": one.required,
                    "default": one.default,
                    "about": one.about,
                    "within": one.within,
                }
                for one in found.fields
            ],
            "choices": dict(found.choices),
        }
    )


RENDERERS: Mapping[str, Callable[[Explained], str]] = {"text": text, "json": as_json}


def _field(one: FieldHelp) -> str:
    rest = "required" if one.required else f"default {one.default}"
    return "\n".join([_wrapped(f"{one.name}: {one.takes}; {rest}", "  ", hang=2), _wrapped(one.about, "      ")])


def _wrapped(line: str, indent: str, *, hang: int = 0) -> str:
    return textwrap.fill(
        line,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + " " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
