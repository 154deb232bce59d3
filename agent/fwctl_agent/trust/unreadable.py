"""Say why metadata that python-tuf cannot read is refused: a threshold, a key, or no metadata at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.keys import SCHEMES


def unreadable(raw: object, name: str) -> Refusal:
    """Return the refusal of strictly decoded JSON that is not metadata.

    A reader of the file is told what is wrong with it; nothing of it is used.
    """
    for part in _objects(raw):
        threshold = part.get("threshold", 1)
        if type(threshold) is not int or threshold < 1:
            return Refusal("E_POLICY_INVALID", f"{name} has a threshold that is not a whole number from 1 on")
        scheme = part.get("scheme")
        if "keytype" in part and not (isinstance(scheme, str) and SCHEMES.get(scheme) == part["keytype"]):
            return Refusal("E_KEY_ALG", f"{name} has a key of a type or scheme that is not allowed")
    return Refusal("E_SCHEMA", f"{name} is not TUF metadata")


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """Return every object in `value`, whose depth strict decoding has bounded."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from _objects(part)
