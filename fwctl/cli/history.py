"""The work behind `events`."""

from __future__ import annotations

from dataclasses import dataclass

from fwctl.cli.context import Context
from fwctl.cli.fleet_id import fleet_id
from fwctl.state import BrokenLink, EventRow, Ledger, ledger_path


@dataclass(frozen=True)
class History:
    """Events, oldest first. `broken` is None also when the chain was not asked for."""

    events: tuple[EventRow, ...]
    earlier: bool
    """there are more before the first one shown"""
    verified: bool
    broken: BrokenLink | None


def read_events(settings: Context, about: str, *, since: int, limit: int, verify: bool) -> History:
    """Return the newest `limit` events after `since`, of a rollout or device if one is named; no others are read.

    Raises:
        InputError: `E_LEDGER_MISSING`, or nothing has that name.
    """
    repo_id = fleet_id(settings)
    with Ledger.open(ledger_path(settings.state_dir(repo_id)), readonly=True) as ledger:
        rollout, device = _subject(settings, ledger, about) if about else (None, None)
        newest = ledger.latest_events(limit=limit + 1, rollout=rollout, device=device)
        after = [event for event in newest if event.seq > since]
        broken = ledger.verify_chain() if verify else None
    return History(tuple(reversed(after[:limit])), len(after) > limit, verify, broken)


def _subject(settings: Context, ledger: Ledger, about: str) -> tuple[str | None, str | None]:
    """Return rollout or device. The ledger's names come first: what git dropped still has a past."""
    recorded = [row.key for row in ledger.rollouts()]
    if about in recorded:
        return about, None
    if ledger.devices([about]):
        return None, about
    from fwctl.cli.looking import unknown  # the manifests are read for names alone that the ledger does not know
    from fwctl.cli.planning import find_rollouts
    from fwctl.errors import InputError
    from fwctl.reconcile.commit import load_repo

    repo = load_repo(settings.files())
    if about in repo.devices:
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
