"""Pydantic's errors in the words of a manifest's author: what is wrong, where, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fwctl.manifests.diagnostic import Diagnostic, Loc, dotted, quoted
from fwctl.manifests.fields import did_you_mean, fields_of, models_at
from fwctl.manifests.models import Model
from fwctl.manifests.scalars import WORDS
from fwctl.manifests.sources import Source

_EXPECTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@dataclass(frozen=True, slots=True)
class _Words:
    message: str
    remedy: str = ""
    code: str = "E_SCHEMA"
    key: bool = False


@dataclass(frozen=True, slots=True)
class _Context:
    error: ErrorDetails
    loc: Loc
    value: Any
    root: type[Model]
    source: Source

    @property
    def ctx(self) -> dict[str, Any]:
        return self.error.get("ctx", {})

    @property
    def name(self) -> str:
        return quoted(dotted(self.loc)) if self.loc else "the document"


def explain(
    error: ValidationError,
    value: Any,
    root: type[Model],
    source: Source,
    skip: frozenset[Loc],
    limit: int,
    within: Loc = (),
) -> list[Diagnostic]:
    """Turn a validation error into findings, at most `limit`; those at or under a place in `skip` are known already.

    `value` is the whole document, and `root` its model; `within` is the part of it that was validated.
    """
    found: list[Diagnostic] = []
    for detail in error.errors(include_url=False):
        loc = _real_loc((*within, *detail["loc"]), value)
        at_key = detail["loc"][-1:] == ("[key]",)
        if skip and any(loc[:n] in skip for n in range(1, len(loc) + 1)):
            continue
        if field := detail.get("ctx", {}).get("field"):
            loc = (*loc, *str(field).split("."))
        if detail["type"] == "union_tag_invalid":
            loc = (*loc, str(detail["ctx"]["discriminator"]).strip("'"))
        context = _Context(detail, loc, value, root, source)
        words = _WORDS_FOR.get(detail["type"], _other)(context)
        empty = detail["input"] is None and source.text(loc) != "null"
        place = source.place(loc, key=words.key or at_key or empty)
        found.append(source.diagnostic(place, code=words.code, message=words.message, remedy=words.remedy, loc=loc))
        if len(found) >= limit:
            break
    return found


def _real_loc(loc: Loc, value: Any) -> Loc:
    """Drop what pydantic puts into a location beside field names and indexes: union tags, `[key]`."""
    parts: list[str | int] = []
    for part in loc[:-1] if loc[-1:] == ("[key]",) else loc:
        if isinstance(value, dict):
            if part not in value and part in (value.get("type"), value.get("operator")):
                continue
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            value = None
        parts.append(part)
    return tuple(parts)


def _missing(at: _Context) -> _Words:
    *parent, name = at.loc
    where = quoted(dotted(parent)) if parent else "the document"
    descriptions = [
        info.description
        for model in models_at(at.root, tuple(parent), at.value)
        if (info := fields_of(model).get(str(name)))
    ]
    about = f" {descriptions[0]}" if descriptions else ""
    return _Words(f"{where} lacks the field {quoted(name)}", f"Add `{name}:`.{about}", key=True)


def _unknown(at: _Context) -> _Words:
    *parent, name = at.loc
    known = {key for model in models_at(at.root, tuple(parent), at.value) for key in fields_of(model)}
    hint = did_you_mean(str(name), known)
    where = f" in {quoted(dotted(parent))}" if parent else ""
    remedy = hint or (f"Known fields: {', '.join(sorted(known))}." if known else "Remove it.")
    return _Words(f"unknown field {quoted(name)}{where}", remedy, key=True)


def _found(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the truth value {quoted(str(value).lower())}"
        case int() | float():
            return f"the number {quoted(value)}"
        case str():
            return f"the text {quoted(value)}"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _type(at: _Context) -> _Words:
    expected, value = _EXPECTED[at.error["type"]], at.error["input"]
    message = f"{at.name} must be {expected}, but is {_found(value)}"
    if at.error["type"] == "string_type" and isinstance(value, bool | int | float):
        return _Words(message, f'Quote it: "{at.source.text(at.loc)}".', "E_TYPE")
    if isinstance(value, str) and re.fullmatch(r"-?[0-9.]+|true|false", value):
        return _Words(message, "Remove the quotes, or write a plain number.")
    return _Words(message, f"Write {expected}.")


def _pattern(at: _Context) -> _Words:
    pattern = str(at.ctx.get("pattern") or at.ctx.get("what"))
    what, example = WORDS.get(pattern, (f"text like {pattern}", ""))
    value = at.error["input"]
    shown = quoted(value) if isinstance(value, str | int | float) else _found(value)
    return _Words(f"{at.name}: {shown} is not {what}", f"Write it like {example}." if example else "")


def _literal(at: _Context) -> _Words:
    expected = str(at.ctx.get("expected", "")).replace("'", "`")
    value = at.error["input"]
    hint = did_you_mean(value, re.findall(r"`([^`]*)`", expected)) if isinstance(value, str) else ""
    return _Words(f"{at.name} must be {expected}, but is {_found(value)}", hint or f"Write {expected}.")


def _tag(at: _Context) -> _Words:
    tag = str(at.ctx.get("discriminator", "type")).strip("'")
    if at.error["type"] == "union_tag_not_found":
        return _Words(f"{at.name} does not say its {quoted(tag)}", f"Add `{tag}:`.", key=True)
    expected = str(at.ctx.get("expected_tags", "")).replace("'", "`")
    hint = did_you_mean(str(at.ctx.get("tag")), re.findall(r"`([^`]*)`", expected))
    given = quoted(str(at.ctx.get("tag")))
    message = f"{quoted(dotted(at.loc[:-1]))} has the unknown {tag} {given}"
    return _Words(message, hint or f"Known: {expected}.")


def _says(template: str) -> Callable[[_Context], _Words]:
    def words(at: _Context) -> _Words:
        limits = {key: quoted(limit) for key, limit in at.ctx.items()}
        return _Words(f"{at.name} {template.format(**limits)}, but is {_found(at.error['input'])}")

    return words


def _too_short(at: _Context) -> _Words:
    return _Words(f"{at.name} needs at least one entry", "Add an entry, or remove the field where it is optional.")


def _own(at: _Context) -> _Words:
    return _Words(f"{at.name}: {at.error['msg']}")


def _empty_selector(at: _Context) -> _Words:
    return _Words(f"{at.name}: {at.error['msg']}", "Add `matchLabels`; in a rollout say `all: true` for everything.")


def _other(at: _Context) -> _Words:
    text = at.error["msg"]
    return _Words(f"{at.name}: {text[:1].lower()}{text[1:]}")


_WORDS_FOR: Final[dict[str, Callable[[_Context], _Words]]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    **dict.fromkeys(_EXPECTED, _type),
    "string_pattern_mismatch": _pattern,
    "fwctl_text": _pattern,
    "literal_error": _literal,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _tag,
    "greater_than_equal": _says("must be at least {ge}"),
    "greater_than": _says("must be more than {gt}"),
    "less_than_equal": _says("must be at most {le}"),
    "less_than": _says("must be less than {lt}"),
    "too_short": _too_short,
    "fwctl_at": _own,
    "fwctl_needs": _own,
    "fwctl_amount": _own,
    "fwctl_empty_selector": _empty_selector,
}
