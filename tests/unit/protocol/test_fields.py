"""One object, each field exactly once, of exactly its type."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.fields import (
    DIGEST,
    HEX64,
    ID,
    VERSION,
    WORD,
    Fields,
    format_time,
    integer,
    matching,
    parse_time,
)

DIGEST_OK = "sha256:" + "a" * 64
READERS: dict[str, tuple[Callable[[Fields], Any], list[Any], list[Any]]] = {
    "text": (lambda f: f.text("x"), ["", "a" * 256], ["a" * 257, 1, None, True, [], {}]),
    "id": (lambda f: f.text("x", ID), ["a", "a-b", "a" * 63], ["", "-a", "a-", "A", "a_b", "a" * 64, "a\n", "é"]),
    "maybe": (lambda f: f.maybe_text("x", ID), [None, "a"], ["", 0, False, "A"]),
    "digest": (
        lambda f: f.digest("x"),
        [DIGEST_OK],
        [DIGEST_OK + "\n", DIGEST_OK.upper(), DIGEST_OK[7:], DIGEST_OK[:-1], "sha512:" + "a" * 64, None],
    ),
    "maybe digest": (lambda f: f.maybe_digest("x"), [None, DIGEST_OK], ["", "a"]),
    "integer": (lambda f: f.integer("x", 1, 5), [1, 5], [0, 6, -1, True, False, "1", 1.0, None, [1]]),
    "flag": (lambda f: f.flag("x"), [True, False], [0, 1, "true", None]),
    "choice": (lambda f: f.choice("x", ("a", "b")), ["a"], ["c", "", None, 1]),
    "time": (
        lambda f: f.time("x"),
        ["2026-01-02T03:04:05Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
        [
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05+00:00",
            "2026-01-02T03:04:05.0Z",
            "2026-1-2T3:4:5Z",
            "2026-02-30T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T23:59:60Z",
            "٢٠٢٦-01-02T03:04:05Z",
            "2026-01-02T03:04:05Z\n",
            0,
            None,
        ],
    ),
    "maybe time": (lambda f: f.maybe_time("x"), [None, "2026-01-02T03:04:05Z"], ["", 0]),
    "items": (
        lambda f: f.items("x", matching(WORD, "x"), limit=2),
        [[], ["a", "b"]],
        [["a", "b", "c"], [1], "ab", None, {"a": 1}, ["a", None]],
    ),
    "digests": (lambda f: f.digests("x", limit=1), [[DIGEST_OK]], [[DIGEST_OK] * 2, ["a"]]),
    "mapping": (
        lambda f: f.mapping("x", matching(WORD, "x"), limit=1),
        [{}, {"a": "b"}],
        [{"a": "b", "c": "d"}, {"a": 1}, [], None, "x"],
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_readers_take_what_they_say_and_nothing_else(name: str) -> None:
    read, good, bad = READERS[name]
    for value in good:
        fields = Fields({"x": value}, "thing")
        read(fields)
        fields.done()
    for value in bad:
        with pytest.raises(Refusal, match=r"E_SCHEMA: thing.x|E_SCHEMA: x"):
            read(Fields({"x": value}, "thing"))
    with pytest.raises(Refusal, match=r"thing\.x is missing"):
        read(Fields({}, "thing"))


@pytest.mark.parametrize("value", [True, -1, "1", None, 2**53, []])
def test_whole_numbers_in_a_list(value: Any) -> None:
    assert Fields({"x": [0, 7]}, "thing").items("x", integer, limit=2) == (0, 7)
    with pytest.raises(Refusal, match=r"^E_SCHEMA: "):
        Fields({"x": [value]}, "thing").items("x", integer, limit=2)


def test_unknown_and_doubly_read_fields() -> None:
    fields = Fields({"x": 1, "canarry": 2, "\x1b[31m": 3}, "thing")
    fields.integer("x")
    with pytest.raises(Refusal, match="missing"):
        fields.integer("x")
    with pytest.raises(Refusal, match=r"thing\.'\\x1b\[31m' is unknown"):
        fields.done()


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_only_an_object_has_fields(value: object) -> None:
    with pytest.raises(Refusal, match="must be an object"):
        Fields(value, "thing")


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_round_trip(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)


def test_times_are_written_in_utc() -> None:
    assert format_time(datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))) == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("pattern", [ID, HEX64, DIGEST, VERSION, WORD])
def test_a38_no_pattern_takes_a_trailing_newline_or_foreign_digits(pattern: Any) -> None:
    good = {ID: "a1", HEX64: "1" * 64, DIGEST: DIGEST_OK, VERSION: "1.2", WORD: "a.B"}[pattern]
    assert pattern.fullmatch(good)
    for bad in (good + "\n", " " + good, good.replace("1", "١") + "١", good + "\0", ""):
        assert not pattern.fullmatch(bad)
