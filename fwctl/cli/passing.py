"""The work behind `reconcile`: read the commit, run passes, tell what they did."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fwctl.cli.context import Context, say, talk
from fwctl.cli.fleet_id import committed_id
from fwctl.cli.watching import watcher
from fwctl.errors import FwctlError, UsageError
from fwctl.fleet.loop import run
from fwctl.reconcile.daemon import watch
from fwctl.reconcile.reports import PassReport
from fwctl.reconcile.run import reconcile_once
from fwctl.reconcile.setting import open_ledger
from fwctl.render.passes import RENDERERS
from fwctl.state import ledger_path

if TYPE_CHECKING:
    from fwctl.gitrepo import CommitId, Files

HOLDER = "fwctl reconcile"


@dataclass
class Passes:
    """Passes over whatever commit `ref` names at the time."""

    settings: Context
    ref: str
    max_duration: timedelta
    work_tree: bool
    new_ledger: bool

    def once(self, format_: str) -> PassReport:
        """Run one pass and write what it did."""
        report = run(self._one(lambda: False))
        say(RENDERERS[format_](report))
        return report

    def forever(self, interval: str, format_: str) -> None:
        """Run passes until a signal; write only what has changed since the last one.

        Raises:
            UsageError: `interval` is not a time such as 30s.
        """
        from fwctl.manifests.scalars import parse_duration

        try:
            seconds = parse_duration(interval)
        except ValueError as error:
            raise UsageError(
                f"not a time: {interval[:40]!r}", code="E_USAGE", remedy="For example --interval 30s, or 5m."
            ) from error
        teller = _Teller(format_)
        talk(f"Reconciling every {interval} or sooner; SIGTERM or Ctrl-C ends it after what runs has come to rest.")
        try:
            run(watch(self._one, interval=timedelta(seconds=seconds), tell=teller))
        except asyncio.CancelledError as error:
            raise KeyboardInterrupt from error  # the second signal
        talk("Ended; nothing is left half-done.")

    async def _one(self, stopping: Callable[[], bool]) -> PassReport:
        # Git may take its time (a fetch): signals are still heard meanwhile.
        commit, files = await asyncio.to_thread(self.settings.fetched, self.ref)
        if self.work_tree:
            files = self.settings.edited()
        setting = self.settings.setting(self._repo_id(commit, files))
        with open_ledger(setting.state_dir, new=self.new_ledger) as ledger, watcher(sys.stderr) as watching:
            return await reconcile_once(
                files,
                commit=commit,
                setting=setting,
                ledger=ledger,
                holder=HOLDER,
                max_duration=self.max_duration,
                watcher=watching,
                repo=None if self.work_tree else self.settings.repo,
                stopping=stopping,
            )

    def _repo_id(self, commit: CommitId, files: Files) -> str:
        """Return whose ledger to open. A new one is only made for manifests that validate."""
        plain = None if self.work_tree else committed_id(self.settings, commit)
        if plain is not None and not (self.new_ledger and not ledger_path(self.settings.state_dir(plain)).exists()):
            return plain
        from fwctl.reconcile.commit import load_repo

        return load_repo(files).fleet.spec.repo_id


class _Teller:
    """Says what a pass did if that is not what the last one did: an event a loop would be noise."""

    def __init__(self, format_: str) -> None:
        self._format = format_
        self._last: object = None

    def __call__(self, result: PassReport | FwctlError) -> None:
        if isinstance(result, FwctlError):
            if self._last != str(result):
                talk(f"error[{result.code}]: {result.message}\nhelp: {result.remedy}")
            self._last = str(result)
            return
        state = [(one.key, one.state, one.reason, sorted(one.counts.items())) for one in result.rollouts]
        if state != self._last:
            say(RENDERERS[self._format](result))
            sys.stdout.flush()
        self._last = state
