"""`reconcile --watch`: pass after pass, until a signal. A pass that fails is told and tried again; it never ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from fwctl.errors import FwctlError
from fwctl.reconcile.reports import PassReport


class Stopping:
    """The wish to end. The first signal drains: nothing new begins, what runs comes to rest. The second ends it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._task = asyncio.current_task()

    def __call__(self) -> bool:
        return self._event.is_set()

    async def sleep(self, seconds: float) -> None:
        """Sleep, or less if it is time to end."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout=max(0.0, seconds))
        except TimeoutError:
            return

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT within the block."""
        loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        if self._event.is_set() and self._task is not None:
            self._task.cancel()
        self._event.set()


async def watch(
    one_pass: Callable[[Callable[[], bool]], Awaitable[PassReport]],
    *,
    interval: timedelta,
    tell: Callable[[PassReport | FwctlError], None],
) -> None:
    """Run passes `interval` apart, or sooner when something is due, until a signal.

    `one_pass` gets a function that says whether it is time to end. Every result and every error is given to `tell`.
    """
    stopping = Stopping()
    with stopping.on_signals():
        while not stopping():
            wait = interval
            try:
                report = await one_pass(stopping)
            except FwctlError as error:
                tell(error)
            else:
                tell(report)
                if report.next_due is not None:
                    wait = min(interval, max(report.next_due - report.finished, timedelta(seconds=1)))
            await stopping.sleep(wait.total_seconds())
