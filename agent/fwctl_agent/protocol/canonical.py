"""Strict JSON in, canonical JSON out, and the digest of bytes.

Canonical JSON is OLPC's, as `securesystemslib` writes it for TUF: sorted keys, no blanks, no floats. OLPC leaves
control characters unescaped, which no strict JSON reader takes back, so they are refused on both sides here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final, NoReturn, cast

from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical

from fwctl_agent.errors import Refusal

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_INT = (1 << 53) - 1
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def encode(value: object) -> bytes:
    """Return `value` as canonical JSON, UTF-8.

    Raises:
        Refusal: `E_SCHEMA` for floats, foreign types, control characters or lone surrogates.
    """
    text = _quick(value)
    if text is not None and _is_plain(value):
        return text
    try:
        slow = encode_canonical(value)  # type: ignore[arg-type]
        if slow is None or _CONTROL.search(slow):
            raise Refusal("E_SCHEMA", "control characters cannot be signed")
        return slow.encode()
    # ValueError: a lone surrogate, or an integer of more digits than Python prints
    except (FormatError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise Refusal("E_SCHEMA", "this value has no canonical JSON form") from error


def is_form_of(data: bytes, value: object) -> bool:
    """Say whether `data` is the canonical form of `value`, which `decode` has returned.

    Raises:
        Refusal: as `encode`.
    """
    return (_quick(value) or encode(value)) == data


def _quick(value: object) -> bytes | None:
    """Return the canonical form as Python's own JSON writer gives it, ten times faster; None if it could differ.

    They agree on values of the plain types without anything to escape: see `_is_plain` for the types.
    """
    try:
        text = _SORTED.encode(value)
        return None if "\\" in text or "\x7f" in text else text.encode()
    except (TypeError, ValueError, RecursionError):
        return None


def _is_plain(value: object) -> bool:
    """Say whether there is nothing in `value` but what JSON knows: no float, no key but text, no derived type."""
    level: list[Any] = [value]
    while level:
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                if not _TEXT.issuperset(map(type, item)):
                    return False
                item = item.values()
            elif kind is not list and kind is not tuple:
                if kind not in _ATOMS:
                    return False
                continue
            if not _ATOMS.issuperset(map(type, item)):
                below.extend(item)
        level = below
    return True


class Written:
    """A frozen value whose transport form is written once, however often it is stored or sent."""

    def to_wire(self) -> dict[str, Any]:
        """Return the form for `dump`."""
        raise NotImplementedError

    @cached_property
    def written(self) -> str:
        return written(self.to_wire())


def written(value: object) -> str:
    """As `dump`, as text."""
    return _COMPACT.encode(value)


def written_list(parts: Iterable[Written]) -> str:
    """Return the list of `parts` as `written` gives it."""
    return "[" + ",".join([part.written for part in parts]) + "]"


def dump(value: object) -> bytes:
    """Return `value` as compact JSON for transport: not signed, so control characters may stand in it, escaped."""
    return written(value).encode()


def decode(data: bytes, *, what: str, max_bytes: int = MAX_BYTES) -> Any:
    """Return the JSON value in `data`, refusing everything that two readers could understand differently.

    Duplicate keys, floats, NaN, integers beyond 2^53, invalid UTF-8, lone surrogates, more than `max_bytes` or
    `MAX_DEPTH` levels are refused.

    Raises:
        Refusal: `E_SCHEMA` or, for size and depth, `E_LIMIT`.
    """
    if len(data) > max_bytes:
        raise Refusal("E_LIMIT", f"{what} has more than {max_bytes} bytes")
    try:
        value = _STRICT.decode(data.decode())
        _check(value, data, what)
    except RecursionError as error:
        raise Refusal("E_LIMIT", f"{what} is nested too deeply") from error
    except (ValueError, UnicodeError) as error:
        raise Refusal("E_SCHEMA", f"{what} is not strict JSON: {error}") from error
    return value


def digest(data: bytes) -> str:
    """Return `sha256:<hex>` of raw bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of(value: object) -> str:
    """Return the digest of the canonical JSON of `value`."""
    return digest(encode(value))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_float(_text: str) -> NoReturn:
    raise ValueError("only whole numbers are allowed")


def _small_int(text: str) -> int:
    if len(text) > 17 or abs(number := int(text)) > MAX_INT:
        raise ValueError("a number is too large")
    return number


def _check(value: object, data: bytes, what: str) -> None:
    """Look for what is nested too deeply and, where the text can hold them, for lone surrogates."""
    if b"\\u" in data:
        _check_texts(value, what)
    elif data.count(b"{") + data.count(b"[") >= MAX_DEPTH:
        _check_depth(value, what)


def _check_texts(value: object, what: str) -> None:
    """Walk without recursion, so that depth costs no stack."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, str) and not item.isascii():
                item.encode()
        if not below:
            return
        level = below
    raise Refusal("E_LIMIT", f"{what} is nested deeper than {MAX_DEPTH} levels")


def _check_depth(value: object, what: str) -> None:
    """As above, for containers only. What stands in the innermost one is a level, too."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH - 1):
        level = [
            found
            for item in level
            for found in (item.values() if isinstance(item, dict) else cast("list[object]", item))
            if type(found) in _CONTAINERS
        ]
        if not level:
            return
    if any(level):
        raise Refusal("E_LIMIT", f"{what} is nested deeper than {MAX_DEPTH} levels")


_ATOMS: Final = frozenset({str, int, bool, type(None)})
_CONTAINERS: Final = frozenset({dict, list})
_TEXT: Final = frozenset({str})
_SORTED: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
_COMPACT: Final = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float, parse_int=_small_int
)
