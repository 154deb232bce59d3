"""A reply is the same however its bytes come, and whatever comes is read or refused."""

from __future__ import annotations

from itertools import pairwise

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from fwctl.fleet.http1 import MAX_HEAD, Reply

BODY = b'{"a":1}'
HEAD = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 7\r\n"
PLAIN = HEAD + b"\r\n" + BODY
EARLY = b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n"


def read(data: bytes, cuts: list[int]) -> Reply:
    reply, edges = Reply(), [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        if start < end and not reply.complete:
            reply.feed(data[start:end])
    return reply


@given(st.sampled_from([b"", EARLY, EARLY * 9]), st.lists(st.integers(0, 120), max_size=9))
def test_a_reply_is_the_same_however_it_is_cut(before: bytes, cuts: list[int]) -> None:
    reply = read(before + PLAIN, [cut for cut in cuts if cut < len(before + PLAIN)])
    assert (reply.status, reply.take(), reply.complete, reply.last) == (202, BODY, True, False)
    assert [name for name, _ in reply.headers] == [b"Content-Type", b"Content-Length"]


@given(st.binary(min_size=1, max_size=40))
@example(PLAIN)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
def test_what_follows_changes_nothing(more: bytes) -> None:
    reply = read(PLAIN + more, [])
    assert (reply.status, reply.take(), reply.complete) == (202, BODY, True)
    assert len(reply.headers) == 2
    assert reply.last or not more.strip(b"\r\n")


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda junk: HEAD + junk)))
def test_junk_is_read_or_refused(data: bytes) -> None:
    reply = Reply()
    try:
        reply.feed(data)
    except httpx.RemoteProtocolError:
        return
    assert 0 < reply.room <= MAX_HEAD


def test_the_device_says_when_it_will_close() -> None:
    assert read(HEAD + b"Connection: close\r\n\r\n" + BODY, []).last
    assert read(PLAIN.replace(b"1.1", b"1.0"), []).last
