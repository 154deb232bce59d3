"""Which event loop carries the links: uvloop where it is installed, else asyncio's own. The links behave alike on both.

A process that speaks to thousands of devices spends a part of its time in the loop itself (ADR-0008 has figures).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")


_COLLECT: Final = (20_000, 50, 50)
"""thresholds of the collector of cycles: with Python's own it took a twelfth of a pass, to find next to nothing"""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end, as `asyncio.run` does."""
    gc.set_threshold(*_COLLECT)
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # only who speaks to devices pays for it
    except ImportError:  # there is none for some platforms
        return None
    return uvloop.new_event_loop
