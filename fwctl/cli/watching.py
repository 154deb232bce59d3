"""Show a running pass: a bar on a terminal, a line per settled device elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from fwctl.reconcile.tools import Watcher

_EVERY = 10.0
"""seconds between two counts"""
_ALOUD = 20
"""devices that are told one by one of each kind of end; the rest is counted"""
_SETTLED = ("confirmed", "reverted", "refused", "unreachable", "failed")
_MANY = 10


class Lines:
    """For pipes and logs: the first of what went wrong, a line each; everything as counts now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ends: dict[str, dict[str, str]] = {}
        """rollout -> device -> how it stands: a device that is visited ten times is one device"""
        self._told = _Told()
        self._last = time.monotonic()

    def opened(self, rollout: str, devices: int) -> None:
        """Say nothing: the report at the end tells the numbers."""

    def progressed(self, rollout: str, device: str, what: str, reason: str) -> None:
        """Write what a person would want to find in a log."""
        if not what.startswith(_SETTLED):
            return
        kind = what.partition(" ")[0]
        self._ends.setdefault(rollout, {})[device] = kind
        line = f"{rollout} {device} {what}: {reason}"
        if kind != "confirmed" and self._told.anew(f"{rollout} {kind}", line, most=_ALOUD):
            self._stream.write(f"{line}\n")
        if time.monotonic() - self._last >= _EVERY:
            self._last = time.monotonic()
            for key, ends in self._ends.items():
                counts = Counter(ends.values())
                self._stream.write(f"{key}: {', '.join(f'{n:,} {word}' for word, n in counts.items())} so far\n")


class _Told:
    """What has been said, so that nothing is said twice."""

    def __init__(self) -> None:
        self._lines: dict[str, set[str]] = {}

    def anew(self, kind: str, line: str, *, most: int) -> bool:
        """Tell whether a line is new, and one of the first of its kind; remember it."""
        lines = self._lines.setdefault(kind, set())
        if line in lines or len(lines) >= most:
            return False
        lines.add(line)
        return True


@contextmanager
def watcher(stream: TextIO) -> Iterator[Watcher]:
    """Return what tells the person about progress while the pass runs."""
    if not stream.isatty():
        yield Lines(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        yield _Bars(progress)


def tracked(items: Sequence[str], what: str) -> Iterator[str]:
    """Pass items on; on a terminal, under a bar when there are many."""
    if not sys.stderr.isatty() or len(items) < _MANY:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=what, console=Console(file=sys.stderr), transient=True)


class _Bars:
    """One bar per rollout: of the devices that had something to do when the pass began, how many have got there."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._settled: dict[str, set[str]] = {}

    def opened(self, rollout: str, devices: int) -> None:
        """Add a bar."""
        if rollout not in self._tasks:
            self._tasks[rollout] = self._progress.add_task(rollout, total=devices or None)
            self._settled[rollout] = set()

    def progressed(self, rollout: str, device: str, what: str, reason: str) -> None:
        """Move the bar; say aloud what is not as it should be."""
        self.opened(rollout, 0)  # what an earlier plan left behind has no bar yet
        settled = self._settled[rollout]
        if what == "confirmed":
            settled.add(device)
        elif what.startswith(_SETTLED):
            self._progress.console.print(f"{device} {what}: {reason}", markup=False, highlight=False)
        self._progress.update(
            self._tasks[rollout],
            completed=len(settled),
            description=f"{rollout}  {len(settled)} confirmed, {device} {what}",
        )
