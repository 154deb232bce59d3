"""What all manifests have in common: strict, closed, frozen, camelCase in YAML."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fwctl.manifests.scalars import Amount, Name

API_VERSION = "fwctl/v1"

ApiVersion = Literal["fwctl/v1"]


class Model(BaseModel):
    """Base of every model: an unknown field is an error, nothing is converted, nothing changes."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        serialize_by_alias=True,
        allow_inf_nan=False,
        use_attribute_docstrings=False,
        hide_input_in_errors=True,
    )

    LATER: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after approvals existed: where they say no more than their default, `plain` leaves them out, so
    that a new version of fwctl makes no approval worthless."""


class Metadata(Model):
    """Who this document is."""

    name: Name = Field(description="The name others refer to; the same as the file's name without `.yaml`.")
    description: str = Field("", max_length=1024, description="One line for people; nothing reads it.")


class OptionalMetadata(Model):
    """Who this document is, where nothing refers to it by name."""

    name: Name | None = Field(None, description="A name for people; nothing refers to it.")
    description: str = Field("", max_length=1024, description="One line for people; nothing reads it.")


def plain(value: object) -> Any:
    """Return a model as JSON values without floats, all defaults filled in.

    Fields have their YAML names; durations are seconds and sizes bytes (ints), other numbers with a fraction
    are decimal text, whole ones ints: the canonical JSON under digests knows no floats (CONTRACTS, Encodings).
    """
    if isinstance(value, Model):
        fields, later = type(value).model_fields, type(value).LATER
        given = {name: getattr(value, name) for name in fields}
        return {
            field.alias or name: plain(given[name])
            for name, field in fields.items()
            if name not in later or given[name] != field.get_default(call_default_factory=True)
        }
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else repr(value)
    if isinstance(value, Amount):
        return str(value) if value.unit == "percent" else value.value
    return value
