"""Where the keys, the ledger and the clock of a fleet are. Light to import: many commands need no more of this room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fwctl.state import Ledger, ledger_path

if TYPE_CHECKING:
    from fwctl.trust.keystore import KeyStore

LEASE_TTL = timedelta(minutes=10)


@dataclass(frozen=True)
class Setting:
    """Where a fleet's keys, state and clock are."""

    keystore: KeyStore
    state_dir: Path
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class AtOnce:
    """A person's word that does not wait for the next pass. It stops or takes back one rollout."""

    rollout: str
    actor: str
    reason: str
    word: str
    """what was decided: pause, abort, rollback"""


def open_ledger(state_dir: Path, *, new: bool) -> Ledger:
    """Open the fleet's ledger; a missing one is made only when told, so that a lost one is never overlooked."""
    path = ledger_path(state_dir)
    return Ledger.create(path) if new and not path.exists() else Ledger.open(path)
