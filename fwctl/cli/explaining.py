"""The work behind `explain`: walk the models along a path; look a code up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fwctl.cli.explained import Explained, FieldHelp, explain_code, findings_by_subject
from fwctl.codes import every_code
from fwctl.errors import InputError
from fwctl.manifests.fields import did_you_mean, fields_of, models_in
from fwctl.manifests.models import KINDS, plain
from fwctl.manifests.models.base import Model
from fwctl.manifests.scalars import WORDS


def is_kind_or_code(topic: str) -> bool:
    """Say whether the topic is one that manifests or findings know, so that no repository is needed for it."""
    head = topic.partition(".")[0].lower()
    return topic[:2].upper() in ("E_", "W_", "I_") or head in {kind.lower() for kind in KINDS}


def explain_topic(topic: str) -> Explained:
    """Return what is known about `KIND`, `KIND.field.field` or a code; without a topic, what there is to ask for.

    Raises:
        InputError: `E_NO_TOPIC`, with the closest name there is.
    """
    if not topic:
        kinds = {kind: _doc(model) for kind, model in KINDS.items()}
        return Explained("", "", choices=kinds | findings_by_subject())
    known = explain_code(topic)
    if known is not None:
        return known
    if topic[:2].upper() in ("E_", "W_", "I_"):
        raise _unknown(topic, "code", every_code())
    head, *path = topic.replace("[]", "").split(".")
    kind = find_kind(head)
    return _walk(f"{kind.lower()}", KINDS[kind], path)


def find_kind(name: str) -> str:
    """Return the kind as it is written, for any case.

    Raises:
        InputError: `E_NO_TOPIC`.
    """
    for kind in KINDS:
        if kind.lower() == name.lower():
            return kind
    raise _unknown(name, "kind", list(KINDS))


def _walk(topic: str, root: type[Model], path: list[str]) -> Explained:
    models: tuple[type[Model], ...] = (root,)
    infos: list[tuple[type[Model], FieldInfo]] = []
    for part in path:
        infos = [(model, fields_of(model)[part]) for model in models if part in fields_of(model)]
        if not infos:
            known = [name for model in models for name in fields_of(model)]
            raise _unknown(part, f"field in {topic}", known)
        models = tuple(dict.fromkeys(m for _, info in infos for m in models_in(info.annotation)))
        topic = f"{topic}.{part}"
    helps = _helps(models)
    if not infos:
        return Explained(topic, _doc(root), fields=helps)
    facts = _facts([_help(path[-1], model, info) for model, info in infos])
    about = infos[0][1].description or ""
    detail = _doc(models[0]) if len(models) == 1 else ""
    return Explained(topic, "\n".join(dict.fromkeys(filter(None, (about, detail)))), facts, helps)


def _facts(helps: list[FieldHelp]) -> tuple[tuple[str, str], ...]:
    found: dict[tuple[str, str], list[str]] = {}
    for one in helps:
        shown = [("takes", one.takes), ("default", "none: it must be given" if one.required else one.default)]
        for fact in shown:
            found.setdefault(fact, []).append(one.within)
    many = len(helps) > 1
    return tuple(
        (label, f"{value} (in {', '.join(within)})" if many and len(within) < len(helps) else value)
        for (label, value), within in found.items()
        if value
    )


def _helps(models: tuple[type[Model], ...]) -> tuple[FieldHelp, ...]:
    several = len(models) > 1
    return tuple(
        _help(name, model, info, within=model.__name__ if several else "")
        for model in models
        for name, info in fields_of(model).items()
    )


def _help(name: str, model: type[Model], info: FieldInfo, within: str | None = None) -> FieldHelp:
    schema = model.model_json_schema(mode="validation")
    body = schema["properties"][name]
    takes = _takes(body, schema.get("$defs", {}))
    default = "" if info.is_required() else _default(info, body.get("default"))
    shown = model.__name__ if within is None else within
    return FieldHelp(name, takes, info.is_required(), default, info.description or "", shown)


def _default(info: FieldInfo, written: object) -> str:
    """Return the default as one writes it in YAML: `5m`, not 300."""
    if isinstance(written, str):
        return written or "nothing"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "nothing"
    if isinstance(value, Model):
        kind = getattr(value, "type", "")
        return f"type {kind}" if kind else "as its fields say"
    if not value and not isinstance(value, bool | int):
        return "nothing"
    return json.dumps(plain(value), ensure_ascii=False)


def _takes(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Return what a JSON Schema accepts, in a few words."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        target = defs.get(name, {})
        return "a mapping" if target.get("type") == "object" else _takes(target, defs)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            parts = [_takes(part, defs) for part in schema[union] if part.get("type") != "null"]
            return " or ".join(dict.fromkeys(parts))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"a list; each is {_takes(schema.get('items', {}), defs)}"
    if schema.get("pattern") in WORDS:
        what, example = WORDS[schema["pattern"]]
        counted = "a number or " if isinstance(schema.get("type"), list) else ""
        return f"{counted}{what}, such as {example}"
    words = {
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "object": "a mapping",
    }
    text = words.get(str(schema.get("type", "")), "a value")
    return text + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    parts = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    values = [(schema[key], word) for key, word in parts if key in schema]
    # 2**40 and the like are limits of the format, not what anybody reads for
    told = [f"{word} {value:,}" for value, word in values if abs(value) < 10**7]
    return ", " + ", ".join(told) if told else ""


def _doc(model: type[Model]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _unknown(name: str, what: str, known: list[str]) -> InputError:
    hint = did_you_mean(name, known)
    return InputError(
        f"there is no {what} called {name[:60]!r}",
        code="E_NO_TOPIC",
        remedy=hint or (f"One of: {', '.join(known[:20])}" if len(known) <= 20 else "See: fwctl explain"),
    )
