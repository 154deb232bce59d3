"""How many visits go on at once: as many as this machine serves without keeping anybody waiting."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from statistics import median
from types import TracebackType
from typing import Final

START: Final = 100
LEAST: Final = 25
MOST: Final = 1000
TICK: Final = 0.25
"""seconds between two looks at the event loop"""
CALM: Final = 0.1
BUSY: Final = 0.5
"""seconds by which the event loop is late: below, there is room for more; above, visits hold each other up"""
IDLE: Final = 0.5
"""share of a core; who uses more is held up by computing, and more visits at once would not make it quicker"""
SAMPLE: Final = 5
"""handshakes that must have come about before their time says something"""
SLOWER: Final = 4
"""times the best median time: handshakes wait for each other"""
QUICK: Final = 0.1
"""seconds; a best time below it is as good as this"""


class Gate:
    """Lets a number of tasks in at once; the number may change while they are inside. First come, first served."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def crowded(self) -> bool:
        """Say whether somebody waits."""
        return any(not turn.done() for turn in self._waiting)

    async def __aenter__(self) -> None:
        if self.inside < self.limit and not self.crowded:
            self.inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # let in and cancelled at once
            turn.cancel()  # `_admit` passes over it
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def resize(self, limit: int) -> None:
        """Let more in, or fewer: who is inside stays."""
        self.limit = limit
        self._admit()

    def _leave(self) -> None:
        self.inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.inside < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.inside += 1
                turn.set_result(None)


class Lanes:
    """Two gates: a device that does not answer waits in `dialling` and takes nobody's place in `talking`.

    Both follow the machine. While tasks wait there, this process has time to spare and handshakes are about as quick as
    they ever were, they grow: slow links need many at once. When the event loop is late, or handshakes take a multiple
    of the best time seen, they shrink: more visits at once would only make each other time out.
    """

    def __init__(self, start: int = START) -> None:
        self.talking = Gate(start)
        self.dialling = Gate(start)
        self._hands: list[float] = []
        self._best = inf

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Shake hands inside; how long that takes is measured, unless it fails."""
        begun = time.monotonic()
        yield
        self._hands.append(time.monotonic() - begun)

    async def pace(self) -> None:
        """Adapt the width until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            begun, used = clock(), time.process_time()
            await asyncio.sleep(TICK)
            took = clock() - begun
            self.adapt(took - TICK, (time.process_time() - used) / took, self._hands)
            self._hands = []

    def adapt(self, late: float, busy: float, hands: Sequence[float]) -> None:
        """Take a measurement: the event loop was `late` by so many seconds, `busy` for a share of the time, and
        handshakes took these.
        """
        ratio = 1.0
        if len(hands) >= SAMPLE:
            middle = median(hands)
            self._best = min(self._best, middle)
            ratio = middle / max(self._best, QUICK)
        limit = self.talking.limit
        # Gently: what a step does is seen in the handshakes only after they are over.
        if late > BUSY or ratio > SLOWER:
            limit = max(LEAST, limit * 9 // 10)
        elif late < CALM and busy < IDLE and ratio < SLOWER / 2 and (self.talking.crowded or self.dialling.crowded):
            limit = min(MOST, limit + max(1, limit // 20))
        if limit != self.talking.limit:
            self.talking.resize(limit)
            self.dialling.resize(limit)
