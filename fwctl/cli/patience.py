"""Tell somebody at a terminal why a command takes long; pipes and logs get nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

AFTER = 2.0
"""seconds"""


@contextmanager
def patience(why: str) -> Iterator[None]:
    """Say why on stderr, once, if what runs within takes longer than a moment."""
    if not sys.stderr.isatty():
        yield
        return
    timer = Timer(AFTER, lambda: sys.stderr.write(f"{why}\n"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
