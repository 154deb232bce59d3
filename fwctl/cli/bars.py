"""Live bars on a terminal: one per wave. Data is never markup, and nothing stays behind but the last status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from fwctl.render.status import standing_counts, wave_state
from fwctl.render.words import STATE_ICONS, WAVE_ICONS, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Group, RenderableType

    from fwctl.cli.standing import Status
    from fwctl.reconcile.summary import Summary

_COLOURS = {"waiting": "dim", "open": "cyan", "soaking": "yellow", "passed": "green", "failed": "red"}
_DONE = ("reached", "back", "untouched")


@contextmanager
def live(stream: TextIO) -> Iterator[Callable[[Status], None]]:
    """Return a function that shows a status in place of the one before."""
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(file=stream), transient=True, auto_refresh=False) as screen:
        yield lambda status: screen.update(_screen(status), refresh=True)


def _screen(status: Status) -> Group:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for one in status.rollouts:
        head = f"{one.key}  {one.model} {one.version}  {STATE_ICONS[one.state]} {one.state}"
        parts += [Text(head, style="bold", overflow="fold"), _bars(one)]
        if one.reason:
            parts.append(Text(f"  {visible(one.reason)}", style="dim", overflow="fold"))
    return Group(*parts)


def _bars(one: Summary) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    back = one.back is not None
    for line in one.waves:
        colour = "magenta" if back and line.state != "waiting" else _COLOURS[line.state]
        done = sum(line.counts.get(state, 0) for state in (_DONE if back else _DONE[:1]))
        size = sum(line.counts.values())
        table.add_row(
            Text(f"  {line.name}", style=colour),
            ProgressBar(total=max(1, size), completed=done, width=24, complete_style=colour, finished_style=colour),
            Text(f"{done}/{size}", justify="right"),
            Text(f"{WAVE_ICONS[line.state]} {wave_state(line)}", style=colour),
            Text(standing_counts(line.counts), overflow="fold"),
        )
    return table
