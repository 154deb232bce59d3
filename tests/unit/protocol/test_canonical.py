"""Strict JSON in, canonical JSON out: one text per value, one value per text."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-canonical.MAX_INT, canonical.MAX_INT) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


@given(VALUES)
def test_round_trip(value: Any) -> None:
    data = canonical.encode(value)
    assert canonical.decode(data, what="x") == value
    assert canonical.encode(canonical.decode(data, what="x")) == data
    assert canonical.decode(canonical.dump(value), what="x") == value


class _Word(str):
    __slots__ = ()


class _Number(IntEnum):
    TWO = 2


class _Pair(NamedTuple):
    a: int
    b: str


FOREIGN = (
    st.text(max_size=3)
    | st.floats()
    | st.binary(max_size=2)
    | st.sampled_from([_Word("a"), _Number.TWO, _Pair(1, "x"), object, OrderedDict(b=1, a=2), 1 << 70])
)
ANYTHING = st.recursive(
    SCALARS | FOREIGN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT | st.text(max_size=2) | st.integers() | st.none() | st.booleans(), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(ANYTHING)
def test_the_form_is_that_of_the_library_of_tuf(value: Any) -> None:
    assert _or_none(canonical.encode, value) == _or_none(_by_the_library, value)


def _by_the_library(value: Any) -> bytes:
    try:
        text = str(encode_canonical(value))
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
            raise Refusal("E_SCHEMA", "control characters cannot be signed")
        return text.encode()
    except (FormatError, AttributeError, TypeError, ValueError) as error:
        raise Refusal("E_SCHEMA", "this value has no canonical JSON form") from error


def _or_none(encode: Callable[[Any], bytes], value: Any) -> bytes | str:
    try:
        return encode(value)
    except Refusal as refusal:
        return str(refusal)


@given(VALUES)
def test_a_text_is_known_as_the_form_of_its_value(value: Any) -> None:
    form = canonical.encode(value)
    assert canonical.is_form_of(form, canonical.decode(form, what="x"))
    assert not canonical.is_form_of(b" " + form, value)


@pytest.mark.parametrize("inner", ["", "1", '"[[["', '{"a":{}}', '"\\u00e4"'])
@pytest.mark.parametrize("levels", range(28, 36))
def test_how_deep_is_too_deep(levels: int, inner: str) -> None:
    deepest = levels + {"": 0, '{"a":{}}': 2}.get(inner, 1)
    text = "[" * levels + inner + "]" * levels
    if deepest > canonical.MAX_DEPTH:
        with pytest.raises(Refusal, match=r"^E_LIMIT: "):
            canonical.decode(text.encode(), what="x")
    else:
        assert canonical.decode(text.encode(), what="x") == json.loads(text)


@given(st.dictionaries(TEXT, SCALARS, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    names = list(value)
    random.shuffle(names)
    assert canonical.digest_of({name: value[name] for name in names}) == canonical.digest_of(value)


@given(st.binary(max_size=200))
def test_junk_is_refused_or_strict_json(data: bytes) -> None:
    try:
        value = canonical.decode(data, what="junk")
    except Refusal:
        return
    assert json.loads(data) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":{"b":1,"b":2}}',
        "1.0",
        "-0.5",
        "1e2",
        "1e400",
        "NaN",
        "Infinity",
        "-Infinity",
        "9007199254740992",
        "-9007199254740992",
        "9" * 5000,
        "\u0661\u0662",
        '"\\ud800"',
        '{"\\udc00":1}',
        '"\n"',
        "\ufeff1",
        "",
        " ",
        "1 2",
        "[1,]",
        "{'a':1}",
        "01",
        "tru",
        "//",
    ],
)
def test_a38_what_two_readers_could_understand_differently(text: str) -> None:
    with pytest.raises(Refusal, match=r"^E_SCHEMA: "):
        canonical.decode(text.encode(), what="x")


def test_invalid_utf8() -> None:
    for data in (b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b"\xff\xfe1\x00"):
        with pytest.raises(Refusal, match=r"^E_SCHEMA: "):
            canonical.decode(data, what="x")


def test_limits_of_size_and_depth() -> None:
    assert canonical.decode(b'"1234"', what="x", max_bytes=6) == "1234"
    with pytest.raises(Refusal, match=r"^E_LIMIT: "):
        canonical.decode(b'"1234"', what="x", max_bytes=5)
    deep = canonical.MAX_DEPTH
    canonical.decode(b"[" * deep + b"]" * deep, what="x")
    for depth in (deep + 1, 500_000):
        with pytest.raises(Refusal, match=r"^E_LIMIT: "):
            canonical.decode(b"[" * depth + b"]" * depth, what="x")
        with pytest.raises(Refusal):
            canonical.decode(b'{"a":' * depth + b"1" + b"}" * depth, what="x", max_bytes=1 << 24)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        b"x",
        {1: 2},
        {"a": 1, 2: 3},
        object(),
        {"a": {1, 2}},
        "\n",
        "a\x7f",
        {"\x00": 1},
        "\ud800",
    ],
)
def test_what_has_no_canonical_form(value: object) -> None:
    with pytest.raises(Refusal, match=r"^E_SCHEMA: "):
        canonical.encode(value)


def test_an_integer_that_python_does_not_print() -> None:
    with pytest.raises(Refusal, match=r"^E_SCHEMA: "):
        canonical.encode({"a": 10**5000})


def test_a_cycle_has_no_canonical_form() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(Refusal, match=r"^E_SCHEMA: "):
        canonical.encode(cycle)


def test_control_characters_travel_but_are_not_signed() -> None:
    assert canonical.decode(canonical.dump("a\nb"), what="x") == "a\nb"


def test_known_bytes() -> None:
    value = {"b": [1, True, None], "a": 'q"\\é'}
    assert canonical.encode(value) == '{"a":"q\\"\\\\é","b":[1,true,null]}'.encode()
    assert canonical.digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
