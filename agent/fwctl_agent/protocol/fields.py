"""Read the fields of one wire object, each exactly once, nothing left over."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.canonical import MAX_INT

T = TypeVar("T")

ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
HEX64: Final = re.compile(r"[0-9a-f]{64}")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
VERSION: Final = re.compile(
    r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,3}(?:-[0-9A-Za-z.-]{1,32})?(?:\+[0-9A-Za-z.-]{1,32})?"
)
TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
WORD: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def format_time(moment: datetime) -> str:
    """Return `moment` (aware) as UTC, whole seconds, `2026-01-02T03:04:05Z`."""
    # not strftime: it writes the year 1 as "1"
    moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def parse_time(text: str) -> datetime:
    """Return the aware UTC moment.

    Raises:
        ValueError: not exactly `YYYY-MM-DDTHH:MM:SSZ`.
    """
    if not TIME.fullmatch(text):
        raise ValueError(f"not a UTC time in whole seconds: {text[:40]!r}")
    # the form is known: reading the digits is ten times faster than strptime
    year, month, day, hour, minute, second = (int(text[at : at + 2]) for at in (2, 5, 8, 11, 14, 17))
    return datetime(100 * int(text[:2]) + year, month, day, hour, minute, second, tzinfo=UTC)


class Fields:
    """A cursor over one JSON object. Every reader raises `Refusal("E_SCHEMA")` naming the field."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise Refusal("E_SCHEMA", f"{what} must be an object")
        self._left: dict[str, Any] = dict(value)
        self._what = what

    def refuse(self, name: str, why: str) -> Refusal:
        return Refusal("E_SCHEMA", f"{self._what}.{name} {why}")

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> Any:
        if name not in self._left:
            raise self.refuse(name, "is missing")
        return self._left.pop(name)

    def has(self, name: str) -> bool:
        """Say whether there is such a field that nobody has taken."""
        return name in self._left

    def text(self, name: str, pattern: re.Pattern[str] | None = None, *, limit: int = 256) -> str:
        value = self.take(name)
        if not isinstance(value, str) or len(value) > limit:
            raise self.refuse(name, f"must be text of at most {limit} characters")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.refuse(name, "has the wrong form")
        return value

    def maybe_text(self, name: str, pattern: re.Pattern[str] | None = None) -> str | None:
        if name in self._left and self._left[name] is None:
            return self._left.pop(name)  # type: ignore[no-any-return]
        return self.text(name, pattern)

    def digest(self, name: str) -> str:
        return self.text(name, DIGEST)

    def maybe_digest(self, name: str) -> str | None:
        return self.maybe_text(name, DIGEST)

    def integer(self, name: str, low: int = 0, high: int = MAX_INT) -> int:
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(name, f"must be a whole number from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        value = self.take(name)
        if type(value) is not bool:
            raise self.refuse(name, "must be true or false")
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in allowed:
            raise self.refuse(name, "must be one of " + ", ".join(allowed))
        return value

    def time(self, name: str) -> datetime:
        try:
            return parse_time(self.text(name))
        except ValueError as error:
            raise self.refuse(name, "must be a UTC time such as 2026-01-02T03:04:05Z") from error

    def maybe_time(self, name: str) -> datetime | None:
        if name in self._left and self._left[name] is None:
            return self._left.pop(name)  # type: ignore[no-any-return]
        return self.time(name)

    def items(self, name: str, read: Callable[[object], T], *, limit: int) -> tuple[T, ...]:
        value = self.take(name)
        if not isinstance(value, list) or len(value) > limit:
            raise self.refuse(name, f"must be a list of at most {limit} items")
        return tuple(read(item) for item in value)

    def digests(self, name: str, *, limit: int) -> tuple[str, ...]:
        return self.items(name, matching(DIGEST, f"{self._what}.{name}"), limit=limit)

    def mapping(self, name: str, read: Callable[[object], T], *, limit: int) -> dict[str, T]:
        value = self.take(name)
        if not isinstance(value, dict) or len(value) > limit:
            raise self.refuse(name, f"must be an object of at most {limit} entries")
        return {key: read(item) for key, item in value.items()}

    def done(self) -> None:
        if self._left:
            raise self.refuse(repr(min(self._left)[:64]), "is unknown")


def matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    """Return a reader of one string that must match `pattern` entirely."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise Refusal("E_SCHEMA", f"{what} has an entry of the wrong form")
        return value

    return read


def signed(value: object) -> int:
    """Read one whole number, which may be below 0."""
    if type(value) is not int or abs(value) > MAX_INT:
        raise Refusal("E_SCHEMA", "a list has an entry that is not a whole number")
    return value


def integer(value: object) -> int:
    """Read one whole number from 0."""
    if type(value) is not int or not 0 <= value <= MAX_INT:
        raise Refusal("E_SCHEMA", "a list has an entry that is not a whole number")
    return value
