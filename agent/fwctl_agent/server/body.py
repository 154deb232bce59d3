"""Read request bodies within bounds of size and time."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from fwctl_agent.errors import Refusal

IDLE_SECONDS: Final = 20.0
"""longest silence between two pieces of a body"""
GRACE_SECONDS: Final = 30.0
MIN_RATE: Final = 1024
"""bytes per second, on average, once the grace is over"""
DRAIN_BYTES: Final = 4 << 20
DRAIN_SECONDS: Final = 1.0
_RANGE: Final = re.compile(r"bytes ([0-9]{1,16})-([0-9]{1,16})/([0-9]{1,16})")


class Cut(Exception):
    """The body ended before its time: the peer went away, or was too slow."""


async def read_all(request: Request, limit: int) -> bytes:
    """Return the body.

    Raises:
        Refusal: `E_LIMIT` for more than `limit` bytes.
        Cut: the peer went away, or was too slow.
    """
    stated = request.headers.get("content-length", "0")
    if not stated.isascii() or not stated.isdigit() or len(stated) > 16 or int(stated) > limit:
        raise Refusal("E_LIMIT", f"a body of at most {limit} bytes is read here")
    body = bytearray()
    async for piece in pieces(request):
        body += piece
        if len(body) > limit:
            raise Refusal("E_LIMIT", f"a body of at most {limit} bytes is read here")
    return bytes(body)


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it comes.

    Raises:
        Cut: as above.
    """
    begun, seen = time.monotonic(), 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect) as error:
            raise Cut from error
        if piece:
            seen += len(piece)
            yield piece
        elapsed = time.monotonic() - begun
        if elapsed > GRACE_SECONDS and seen < elapsed * MIN_RATE:
            raise Cut


async def drain(request: Request) -> None:
    """Read and throw away what a refused peer still sends, up to a bound.

    The kernel resets a connection that is closed while bytes wait to be read, and the refusal is lost with it.
    """
    if "expect" in request.headers:
        return  # it waits to be told to send
    seen = 0
    # RuntimeError: everything has been read
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for piece in request.stream():
                seen += len(piece)
                if seen > DRAIN_BYTES:
                    return


def content_range(request: Request) -> tuple[int, int | None]:
    """Return (first byte, total or None) of a pushed image.

    Raises:
        Refusal: `E_RANGE` for anything but `bytes FIRST-LAST/TOTAL`.
    """
    header = request.headers.get("content-range")
    if header is None:
        return 0, None
    found = _RANGE.fullmatch(header)
    if not found or not int(found[1]) <= int(found[2]) < int(found[3]):
        raise Refusal("E_RANGE", "Content-Range must read: bytes FIRST-LAST/TOTAL")
    return int(found[1]), int(found[3])
