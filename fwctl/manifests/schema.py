"""JSON Schema per kind, for editors: what the models accept, as one writes it in YAML."""

from __future__ import annotations

from typing import Any

from fwctl.manifests.models import KINDS

_ID = "https://fwctl.dev/schemas/v1"


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each kind by file name, the same for the same models."""
    return {f"{kind.lower()}.schema.json": _schema(kind) for kind in sorted(KINDS)}


def _schema(kind: str) -> dict[str, Any]:
    body = KINDS[kind].model_json_schema(mode="validation")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{_ID}/{kind.lower()}.schema.json"}
    return {**head, "title": kind, **{key: value for key, value in body.items() if key != "title"}}
