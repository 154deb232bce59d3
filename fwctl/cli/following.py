"""The work behind `status --watch` and `--wait`: read again and again, and never write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fwctl.cli.context import Context
from fwctl.cli.standing import Status, recorded_status
from fwctl.errors import UsageError, WorldError

if TYPE_CHECKING:
    from fwctl.reconcile.commit import CommitState
    from fwctl.reconcile.summary import Named, Summary

EVERY = 1.0
"""seconds between two looks"""
GOOD = ("complete",)
BAD = ("stopped", "held", "aborted", "rolled-back")
"""states that nothing leaves without a person"""


def seconds(text: str, *, place: str = "--timeout") -> int:
    """Return the seconds of `10m`.

    Raises:
        UsageError: it is no duration.
    """
    from pydantic_core import PydanticCustomError

    from fwctl.manifests.scalars import parse_duration

    try:
        return parse_duration(text)
    except PydanticCustomError:
        raise UsageError(
            f"{text[:40]!r} is no time",
            code="E_USAGE",
            place=place,
            remedy="A whole number and s, m, h or d, such as 10m.",
        ) from None


@dataclass
class Follower:
    """Reads what a pass sums up as often as it is asked; where that is not enough, a commit once and the ledger."""

    settings: Context
    name: str
    pause: Callable[[float], None] = time.sleep
    _state: CommitState | None = field(default=None, init=False)

    def look(self) -> Status:
        """Return where things stand now; a new commit is read when there is one."""
        if (recorded := recorded_status(self.settings, self.name)) is not None:
            return recorded
        from fwctl.cli.judging import status_of

        commit = self.settings.repo.resolve("HEAD")
        if self._state is None or self._state.commit != commit:
            commit, files = self.settings.committed()
            self._state = self.settings.read(files, commit)
        return status_of(self.settings, self._state, self.name)

    def until_over(self, timeout: timedelta | None) -> Iterator[Status]:
        """Yield the status again and again; the last one is over.

        Raises:
            WorldError: `E_TIMEOUT`, if it is not over in time.
        """
        began = time.monotonic()
        while True:
            status = self.look()
            yield status
            if over(status):
                return
            if timeout is not None and time.monotonic() - began >= timeout.total_seconds():
                raise _too_long(status, timeout)
            self.pause(EVERY)


def over(status: Status) -> bool:
    """Say whether nothing will move any more without a person."""
    return all(one.state in (*GOOD, *BAD) for one in status.rollouts)


def exit_code(status: Status) -> int:
    """Return 0 if everything is complete, else 1."""
    return int(any(one.state not in GOOD for one in status.rollouts))


def _too_long(status: Status, timeout: timedelta) -> WorldError:
    late = next(one for one in status.rollouts if one.state not in (*GOOD, *BAD))
    why = f": {late.reason}" if late.reason else ""
    return WorldError(
        f"{late.key} is still {late.state} after {timeout.total_seconds():g} s{why}",
        code="E_TIMEOUT",
        place=late.key,
        remedy=f"fwctl explain {late.key}",
    )


def changes(before: Status | None, after: Status) -> list[str]:
    """Return a line for everything that changed; the first time for every rollout and every wave that was opened."""
    old = {one.key: one for one in before.rollouts} if before else {}
    return [line for one in after.rollouts for line in _changes(old.get(one.key), one, after.now)]


def _changes(old: Summary | None, new: Summary, now: datetime) -> list[str]:
    from fwctl.render.status import standing_counts, wave_state
    from fwctl.render.words import visible

    lines = []
    if old is None or (old.state, old.reason) != (new.state, new.reason):
        lines.append(f"{new.state}: {new.reason}" if new.reason else new.state)
    earlier = {wave.name: wave for wave in old.waves} if old else {}
    for wave in new.waves:
        was = earlier.get(wave.name)
        if wave.state != "waiting" and (was is None or (was.state, was.counts) != (wave.state, wave.counts)):
            lines.append(f"{wave.name} {wave_state(wave)}: {standing_counts(wave.counts)}")
    failed = {one.device for one in _failed(old)} if old else set[str]()
    lines += [f"{one.device} failed: {one.reason}" for one in _failed(new) if one.device not in failed]
    return [f"{now:%H:%M:%S}Z {new.key}  {visible(line)}" for line in lines]


def _failed(summary: Summary) -> list[Named]:
    """Return the failed devices that the summary names: the first of each wave where they are many."""
    named = summary.devices or [one for wave in summary.waves for one in wave.attention]
    return [one for one in named if one.state == "failed"]
