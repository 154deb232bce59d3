"""Make bad bytes out of good ones: by chance (`mangle`), by structure (`structures`), one byte at a time (`flips`)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

MOST: Final = 1_200_000
"""bytes of one case: a little above the limit of the largest body that is decoded"""
_ODD: Final = (
    b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\x1b[2J", b"\r\n", b"\n",
    b"\t",
    b"\\ud800", b"\\u0000", b"\\", b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"&a", b"*a", b"<<: ", b"!!binary ",
    b"%", b"/../", b"=", b"-", b"#", b"\xe2\x80\xa8", b"\xe2\x80\xae",
)  # fmt: skip
_NUMBERS: Final = (b"-1", b"0", b"1e999", b"NaN", b"-0", b"1.0", b"9007199254740993", b"1" + b"0" * 400, b"9" * 5000)
_NUMBER: Final = re.compile(rb"[0-9]+")
_TEXT: Final = re.compile(rb'"[^"\n]{0,200}"')


def mangle(chance: Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    """Return `data` after one to three random changes; pieces of `samples` may come in."""
    for _ in range(chance.randint(1, 3)):
        change = chance.choice(_CHANGES)
        data = change(chance, data, samples)[:MOST]
    return data


def flips(data: bytes, masks: Sequence[int] = (1,)) -> Iterator[bytes]:
    """Return every variant of `data` in which one byte is another one."""
    for at in range(len(data)):
        for mask in masks:
            yield data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


@st.composite
def structures(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """A JSON sample in which values are junk, gone, doubled, moved, or of another sample."""
    values = [json.loads(sample) for sample in samples]
    value = draw(st.sampled_from(values))
    for _ in range(draw(st.integers(1, 2))):
        found = places(value)
        if not found:
            break
        place, what = draw(st.sampled_from(found)), draw(st.sampled_from(("junk", "drop", "extra", "move")))
        if what == "junk":
            value = put(value, place, draw(JUNK))
        elif what == "drop":
            value = put(value, place)
        elif what == "extra":
            value = put(value, (*place[:-1], draw(st.text(max_size=8))), draw(JUNK))
        else:
            other = draw(st.sampled_from(values))
            value = put(value, place, _at(other, draw(st.sampled_from(places(other) or [()]))))
    return json.dumps(value, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


JUNK: Final[st.SearchStrategy[Any]] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(("sha256:" + "0" * 64, "2026-11-23T12:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z")),
    st.lists(st.none(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(-1, 1), max_size=2),
)
_GONE: Final = object()


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] * bool(here) + [place for name, item in inner for place in places(item, (*here, name))]


def put(value: Any, place: tuple[Any, ...], new: Any = _GONE) -> Any:
    """Return a copy with another value at `place`, or without that place."""
    if not place:
        return None if new is _GONE else new
    copy, head = list(value) if isinstance(value, list) else dict(value), place[0]
    if isinstance(copy, list) and not isinstance(head, int):
        return [*copy, new]
    if len(place) > 1:
        copy[head] = put(value[head], place[1:], new)
    elif new is _GONE:
        del copy[head]
    else:
        copy[head] = new
    return copy


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        value = value[step]
    return value


def _flip(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return b"\x00"
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _cut(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[end:]


def _truncate(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: chance.randint(0, len(data))]


def _double(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:end] + data[start:end] * chance.choice((1, 1, 1, 2, 17, 1000)) + data[end:]


def _insert(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(_ODD) + data[at:]


def _splice(chance: Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    other = chance.choice(samples)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _number(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return _replaced(chance, data, _NUMBER, chance.choice(_NUMBERS))


def _text(chance: Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    found = _TEXT.findall(chance.choice(samples))
    return _replaced(chance, data, _TEXT, chance.choice(found or [b'""']))


def _nest(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"- ", b""), (b"{", b"")))
    depth, at = chance.choice((1, 31, 33, 200, 5000, 100_000)), chance.randint(0, len(data))
    return data[:at] + opening * depth + closing * depth + data[at:]


def _lines(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    chance.shuffle(lines)
    return b"\n".join(lines)


_Change = Callable[[Random, bytes, Sequence[bytes]], bytes]
_CHANGES: Final[tuple[_Change, ...]] = (
    _flip, _flip, _flip, _cut, _truncate, _double, _insert, _insert, _splice, _number, _text, _nest, _lines,
)  # fmt: skip


def _span(chance: Random, data: bytes) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((1, 2, 8, 64, 1000)))


def _replaced(chance: Random, data: bytes, form: re.Pattern[bytes], new: bytes) -> bytes:
    found = list(form.finditer(data[:100_000]))
    if not found:
        return data + new
    match = chance.choice(found)
    return data[: match.start()] + new + data[match.end() :]
