"""The work behind `events`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fwctl.cli.context import Context
from fwctl.cli.looking import unknown
from fwctl.cli.planning import find_rollouts
from fwctl.errors import InputError
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import load_repo
from fwctl.state import BrokenLink, EventRow, Ledger, ledger_path


@dataclass(frozen=True)
class History:
    """Events, oldest first. `broken` is None also when the chain was not asked for."""

    events: tuple[EventRow, ...]
    earlier: int
    """how many more there are before the first one shown"""
    verified: bool
    broken: BrokenLink | None


def read_events(settings: Context, about: str, *, since: int, limit: int, verify: bool) -> History:
    """Return the newest `limit` events after `since`, of a rollout or device if one is named.

    Raises:
        InputError: `E_LEDGER_MISSING`, or nothing has that name.
    """
    repo = load_repo(settings.files())
    with Ledger.open(ledger_path(settings.state_dir(repo.fleet.spec.repo_id)), readonly=True) as ledger:
        rollout, device = _subject(repo, ledger, about) if about else (None, None)
        newest: deque[EventRow] = deque(maxlen=limit)
        seen = 0
        for event in ledger.events(since, rollout=rollout, device=device):
            newest.append(event)
            seen += 1
        broken = ledger.verify_chain() if verify else None
    return History(tuple(newest), seen - len(newest), verify, broken)


def _subject(repo: FleetRepo, ledger: Ledger, about: str) -> tuple[str | None, str | None]:
    """Return rollout or device. The ledger's names count too: what git dropped still has a past."""
    recorded = [row.key for row in ledger.rollouts()]
    if about in recorded:
        return about, None
    if about in repo.devices or ledger.devices([about]):
        return None, about
    try:
        return find_rollouts(repo, about)[0].key, None
    except InputError:
        names = [*repo.rollouts, *recorded, *repo.devices]
        raise unknown(
            about,
            names,
            what="rollout or device",
            code="E_NO_SUBJECT",
            place="--for",
            see="fwctl rollout list; fwctl device list",
        ) from None
