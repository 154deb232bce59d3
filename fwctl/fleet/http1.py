"""HTTP/1.1 as bytes: the head of a request, and a reader of one reply. No connection, no clock.

llhttp (by httptools) reads what the device sends, strictly: none of its leniencies is on. What it does not bound is
bounded here: the size of a head with all informational replies before it, and the number of its fields.
"""

from __future__ import annotations

import re
from typing import Final

import httptools
import httpx

MAX_HEAD: Final = 1 << 16
"""bytes that status line, headers and informational replies may have together"""
MAX_FIELDS: Final = 100
_HEAD: Final = re.compile(rb"[A-Z]+ /[!-~]* HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~]*\r\n)+\r\n")
_VERSIONS: Final = ("1.1", "1.0")


def request_head(request: httpx.Request) -> bytes:
    """Return the request line, for the target that httpx's extension of that name gives, and the headers.

    Raises:
        httpx.LocalProtocolError: one of them cannot be written, or would be read as more than one.
    """
    fields = request.headers.raw
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.extensions.get("target", request.url.raw_path))]
    lines += [b"%s: %s" % field for field in fields]
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if head.count(b"\n") != len(fields) + 2 or not _HEAD.fullmatch(head):
        raise httpx.LocalProtocolError("the request cannot be written as HTTP", request=request)
    return head


class Reply:
    """Reads one reply from the bytes that come; bytes behind its end are noticed and never looked at."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_head = False
        self.complete = False
        self.last = False
        """the connection is of no more use: the device said so, or sent more than this reply"""
        self._body: list[bytes] = []
        self._read = 0
        self._parser = httptools.HttpResponseParser(self)

    @property
    def room(self) -> int:
        """Most bytes to feed next, so that a head is bounded however the bytes come."""
        return MAX_HEAD if self.has_head else MAX_HEAD - self._read

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            httpx.RemoteProtocolError: this is not HTTP, or its head is too long.
        """
        self._read += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete = self.last = True
        except httptools.HttpParserError as error:
            if not self.complete:
                raise httpx.RemoteProtocolError("the reply is not HTTP") from error
            self.last = True
        if not self.has_head and self._read >= MAX_HEAD:
            raise httpx.RemoteProtocolError("the head of the reply is too long")

    def take(self) -> bytes:
        """Return what has come of the body since the last time."""
        body, self._body = self._body, []
        return body[0] if len(body) == 1 else b"".join(body)

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        if self.complete:
            self.last = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:
            return
        self.headers.append((name, value))
        if len(self.headers) > MAX_FIELDS:
            raise ValueError("too many fields")

    def on_headers_complete(self) -> None:
        if self.has_head:
            return
        if self._parser.get_http_version() not in _VERSIONS:
            raise ValueError("another version of HTTP")
        self.status = self._parser.get_status_code()
        self.has_head = self.status >= 200 or self.status == 101
        if not self.has_head:
            self.headers = []

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.has_head and not self.complete:
            self.complete = True
            self.last = not self._parser.should_keep_alive()
