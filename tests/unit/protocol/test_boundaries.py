"""The edges of the wire's readers and writers, one by one: found by changing them and seeing no test fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import Fields, format_time, integer
from fwctl_agent.protocol.lock import MAX_STAGE, Leaf, Lock

ONE, TWO = ("sha256:" + digit * 64 for digit in "12")
LINE = f"device-1 1 {ONE}"


def code_of(action: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(Refusal) as found:
        action(*arguments, **options)
    return found.value.code


@pytest.mark.parametrize(
    "value", [[1, [1.5]], ["a", [{1: "b"}]], {"a": [1, [2, [3.5]]]}, [True, (1.0,)], ["", [{"a": {}}, 1e9]]]
)
def test_no_float_and_no_foreign_key_is_signed_wherever_it_stands(value: object) -> None:
    assert code_of(canonical.encode, value) == "E_SCHEMA"


@pytest.mark.parametrize("text", ["", "\\u0041"])
def test_depth_is_counted_with_and_without_escapes(text: str) -> None:
    inner = f'"{text}"'
    deep = canonical.MAX_DEPTH
    raw = ("[" * (deep + 9) + inner + "]" * (deep + 9)).encode()
    assert code_of(canonical.decode, raw, what="it") == "E_LIMIT"
    assert canonical.decode(b"[" * (deep - 1) + b"1" + b"]" * (deep - 1), what="it")


def test_written_parts_are_the_list_as_it_would_be_written_whole() -> None:
    class Part(canonical.Written):
        def __init__(self, value: dict[str, Any]) -> None:
            self.value = value

        def to_wire(self) -> dict[str, Any]:
            return self.value

    values: list[dict[str, Any]] = [{"a": 1}, {"b": "\u00e9\n"}]
    assert canonical.written_list(map(Part, values)) == canonical.written(values)
    assert canonical.written_list([]) == "[]"


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_times_are_utc_wherever_the_machine_stands() -> None:
    berlin = timezone(timedelta(hours=1))
    assert format_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=berlin)) == "2026-01-02T02:04:05Z"
    assert format_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None, canonical.MAX_INT + 1])
def test_a_list_of_whole_numbers_holds_nothing_else(value: object) -> None:
    assert code_of(integer, value) == "E_SCHEMA"
    assert integer(0) == 0
    assert integer(canonical.MAX_INT) == canonical.MAX_INT


@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None, canonical.MAX_INT + 1])
def test_a_whole_number_without_bounds_has_those_of_json(value: object) -> None:
    assert code_of(Fields({"a": value}, "it").integer, "a") == "E_SCHEMA"
    assert Fields({"a": canonical.MAX_INT}, "it").integer("a") == canonical.MAX_INT
    assert Fields({"a": 0}, "it").integer("a") == 0


def test_text_without_bounds_has_256_characters() -> None:
    assert Fields({"a": "x" * 256}, "it").text("a") == "x" * 256
    assert code_of(Fields({"a": "x" * 257}, "it").text, "a") == "E_SCHEMA"


@pytest.mark.parametrize("take", ["items", "mapping"])
def test_lists_and_objects_may_be_as_long_as_their_limit(take: str) -> None:
    values: list[Any] = [[1, 2], [1, 2, 3]] if take == "items" else [{"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}]
    good, bad = (getattr(Fields({"a": value}, "it"), take) for value in values)
    assert len(good("a", integer, limit=2)) == 2
    assert code_of(bad, "a", integer, limit=2) == "E_SCHEMA"


@pytest.mark.parametrize(
    "raw",
    [
        LINE[:-1].encode() + b"g\n",
        "dévice 1".encode(),
        f"{LINE}x".encode(),
        LINE.encode(),
        f"{LINE}\r\n".encode(),
        f"device-2 1 {ONE}\n{LINE}\n".encode(),
        f"{LINE}\n{LINE}\n".encode(),
        f"{LINE}\ndevice-1 2 {ONE}\n".encode(),
        f"{LINE},{ONE}\n".encode(),
        b"",
        b"\n",
    ],
)
def test_a_lock_that_is_not_exactly_one(raw: bytes) -> None:
    assert code_of(Lock.parse, raw) == "E_LOCK_INVALID"


def test_a_lock_of_nobody_has_no_tree() -> None:
    assert code_of(Lock([]).tree) == "E_LOCK_INVALID"


def test_a_lock_is_its_lines() -> None:
    leaves = [Leaf("a", 1, (ONE,)), Leaf("b", MAX_STAGE, (ONE, TWO)), Leaf("c", 2, (TWO,))]
    lock = Lock(leaves)
    assert lock.lines == tuple(map(str, leaves))
    assert tuple(lock.stages()) == (1, MAX_STAGE, 2)
    assert lock == Lock.of(reversed(leaves)) == Lock.parse(lock.raw)
    assert lock != lock.lines
    assert hash(lock) == hash(Lock.of(leaves))
    assert len({hash(lock), hash(Lock(leaves[:1])), hash(Lock(leaves[1:]))}) == 3
