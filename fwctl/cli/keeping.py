"""The work behind `state`: measure the ledger; prune it under the lease."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from fwctl.cli.context import Context
from fwctl.cli.fleet_id import fleet_id
from fwctl.cli.init import slug
from fwctl.errors import UsageError
from fwctl.reconcile.setting import open_ledger
from fwctl.state import Ledger, LedgerSize, acquire_lease, ledger_path
from fwctl.state.prune import Amount, Rule, Told, prunable, prune, shrink

LEASE = timedelta(minutes=10)
"""renewed after every transaction, each of which takes seconds"""


@dataclass(frozen=True)
class Wish:
    """What a prune would remove."""

    rule: Rule
    older_than: str
    amount: Amount


@dataclass(frozen=True)
class Pruned:
    """What was removed, and the ledger after it."""

    amount: Amount
    before: LedgerSize
    after: LedgerSize


def look(settings: Context) -> LedgerSize:
    """Return the ledger's size.

    Raises:
        InputError: `E_LEDGER_MISSING`.
    """
    with Ledger.open(ledger_path(_folder(settings)), readonly=True) as ledger:
        return ledger.size()


def propose(settings: Context, older_than: str, keep: int) -> Wish:
    """Return what would go; changes nothing.

    Raises:
        UsageError: `E_USAGE`: no duration.
        InputError: `E_LEDGER_MISSING`.
    """
    from fwctl.manifests.scalars import parse_duration

    try:
        rule = Rule(before=settings.now() - timedelta(seconds=parse_duration(older_than)), keep=keep)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{older_than[:40]!r} is no duration",
            code="E_USAGE",
            place="--older-than",
            remedy="A whole number and s, m, h or d, such as 90d.",
        ) from error
    with Ledger.open(ledger_path(_folder(settings)), readonly=True) as ledger:
        return Wish(rule, older_than, prunable(ledger, rule))


def carry_out(settings: Context, wish: Wish) -> Pruned:
    """Prune, and give the space back where that is much.

    Raises:
        Busy: `E_LOCKED` while a reconciler is at work.
        WorldError: `E_DISK`; what was committed before stands, and the ledger holds.
    """
    now, actor = settings.now(), slug(settings.repo.user())
    told = Told(now, actor, f"older than {wish.older_than}")
    with (
        open_ledger(_folder(settings), new=False) as ledger,
        acquire_lease(ledger, holder="fwctl state prune", now=now, ttl=LEASE) as lease,
        _progress(sys.stderr, wish.amount.total) as tick,
    ):
        before = ledger.size()

        def done(part: Amount) -> None:
            lease.renew(settings.now(), LEASE)
            tick(part)

        amount = prune(ledger, lease, wish.rule, told, tick=done)
        shrink(ledger, lease)
        return Pruned(amount, before, ledger.size())


def _folder(settings: Context) -> Path:
    return settings.state_dir(fleet_id(settings))


@contextmanager
def _progress(stream: TextIO, total: int) -> Iterator[Callable[[Amount], None]]:
    """Show a bar on a terminal, nothing elsewhere."""
    if not stream.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("Pruning", total=total)
        yield lambda part: bar.advance(task, part.total)
