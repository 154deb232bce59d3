"""The models' fields by their YAML names, for `did you mean` and for `explain`."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from fwctl.manifests.diagnostic import Loc
from fwctl.manifests.models.base import Model


def fields_of(model: type[Model]) -> dict[str, FieldInfo]:
    """Return a model's fields by their YAML names."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def models_in(annotation: Any) -> tuple[type[Model], ...]:
    """Return the models that a field's annotation holds: itself, list members, mapping values, union members."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return (annotation,)
    origin = get_origin(annotation)
    if origin is Annotated:
        return models_in(get_args(annotation)[0])
    if origin in (Union, types.UnionType, tuple, dict):
        return tuple(model for part in get_args(annotation) for model in models_in(part))
    return ()


def models_at(root: type[Model], loc: Loc, value: Any) -> tuple[type[Model], ...]:
    """Return the models that can stand at `loc`; `value` is the whole document, its tags choose in unions."""
    models: tuple[type[Model], ...] = (root,)
    within_fields = True
    for part in loc:
        if isinstance(part, str) and within_fields:
            infos = [info for model in models if (info := fields_of(model).get(part)) is not None]
            if not infos:
                return ()
            models = tuple(m for info in infos for m in models_in(info.annotation))
            within_fields = not any(get_origin(info.annotation) is dict for info in infos)
        else:
            within_fields = True
        value = _child(value, part)
        models = _tagged(models, value)
    return models


def _child(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (LookupError, TypeError):
        return None


def _tagged(models: tuple[type[Model], ...], value: Any) -> tuple[type[Model], ...]:
    if len(models) < 2 or not isinstance(value, dict):
        return models
    for tag in ("type", "operator"):
        chosen = tuple(
            m for m in models if tag in m.model_fields and value.get(tag) in get_args(m.model_fields[tag].annotation)
        )
        if chosen:
            return chosen
    return models


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean `x`?` where a known word is close, else nothing."""
    candidates = sorted(known)
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if not close:
        by_fold = {candidate.lower(): candidate for candidate in candidates}
        close = [by_fold[word.lower()]] if word.lower() in by_fold else []
    return f"Did you mean `{close[0]}`?" if close else ""
