"""JSON Schemas as the files in `schemas/` hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def schema_text(schema: Mapping[str, Any]) -> str:
    """Return the one text of a schema: stable, so that a change of the models shows as a small diff."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
