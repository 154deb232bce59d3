"""What a plain YAML scalar is: the few forms that are accepted, and the surprises of YAML 1.1 that are not."""

from __future__ import annotations

import math
import re
from typing import Final

# Text that starts like none of these cannot surprise: the common case must cost one look.
_SUSPECT_START: Final = frozenset("0123456789+-.~=<yYnNtTfFoO")
_INT: Final = re.compile(r"0|-?[1-9][0-9]*")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
_EXPONENT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Final = frozenset({"yes", "no", "on", "off", "true", "false", "y", "n", "null", "~", "="})
_SURPRISES: Final = (
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-9]{1,2})+(?:\.[0-9_]*)?"), "a number to base 60"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9].*)?"), "a date"),
    (re.compile(r"[-+]?0[0-9_]+|[-+]?0o[0-7_]+"), "an octal number"),
    (re.compile(r"[-+]?0[xX][0-9a-fA-F_]+|[-+]?0[bB][01_]+"), "a number to base 16 or 2"),
    (re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?"), "a number with underscores"),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.?[0-9_]*)"), "a number"),
)
_MAX_DIGITS: Final = 18


class Surprise(ValueError):
    """The scalar would mean something else to another YAML reader, or is no number that can be kept.

    `code` is E_TYPE where quotes mend it, and E_SCHEMA where the number itself is impossible.
    """

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


def _quote(text: str, message: str) -> Surprise:
    return Surprise("E_TYPE", message, f'Quote it: "{text}".')


def _impossible(message: str) -> Surprise:
    return Surprise("E_SCHEMA", message, "Write a plain number in the range of the field.")


def resolve(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means.

    Accepted: text, `true`, `false`, `null` or nothing, whole numbers without leading zero and plain decimals.

    Raises:
        Surprise: when it looks like anything else that YAML 1.1 or 1.2 reads as something other than text.
    """
    if not text:
        return None
    if text[0] not in _SUSPECT_START:
        return text
    if text in ("true", "false"):
        return text == "true"
    if text == "null":
        return None
    if len(text) <= 5 and text.lower() in _WORDS:
        raise _word(text)
    return _number(text)


def _word(text: str) -> Surprise:
    if text.lower() in ("null", "~"):
        what, instead = "null", "write `null` if nothing is meant"
    elif text == "=":
        what, instead = "a special value", "or write another value"
    else:
        what, instead = "a truth value", "write `true` or `false` if a truth value is meant"
    message = f"is {what} to some YAML readers and text to others"
    return Surprise("E_TYPE", message, f'Quote it: "{text}"; {instead}.')


def _number(text: str) -> str | int | float:
    if _INT.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise _impossible(f"is a number of more than {_MAX_DIGITS} digits")
        return int(text)
    if _DECIMAL.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise _impossible(f"is a number of more than {_MAX_DIGITS} digits")
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        raise _impossible("is not a finite number")
    if len(text) > 100:
        return text
    if _EXPONENT.fullmatch(text):
        if not math.isfinite(float(text)):
            raise _impossible("is not a finite number")
        raise _quote(text, "is a number with an exponent to some YAML readers and text to others")
    for pattern, what in _SURPRISES:
        if pattern.fullmatch(text):
            raise _quote(text, f"is {what} to some YAML readers")
    return text
