"""The quick HTTP protocol: an answer leaves as one piece."""

from __future__ import annotations

import asyncio

from fwctl_agent.server.quick import Joined


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))


def test_head_and_body_leave_as_one_piece() -> None:
    wire = Wire()
    joined = Joined(wire)
    joined.write(b"HTTP/1.1 200 OK\r\n\r\n")
    joined.write(b"{}")
    assert wire.pieces == [b"HTTP/1.1 200 OK\r\n\r\n{}"]


def test_a_head_with_an_empty_body_leaves_too() -> None:
    wire = Wire()
    joined = Joined(wire)
    joined.write(b"HTTP/1.1 200 OK\r\n\r\n")
    joined.write(b"")
    assert wire.pieces == [b"HTTP/1.1 200 OK\r\n\r\n"]


def test_the_word_to_go_on_leaves_at_once() -> None:
    wire = Wire()
    joined = Joined(wire)
    joined.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert wire.pieces == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    joined.write(b"HTTP/1.1 200 OK\r\n\r\n")
    joined.write(b"{}")
    assert len(wire.pieces) == 2
