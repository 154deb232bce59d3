"""Where the ledger of a fleet lies on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fwctl.errors import InputError, WorldError

_REPO_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
LEDGER_NAME = "ledger.db"


def state_dir(repo_id: str, *, override: Path | None = None) -> Path:
    """Return the folder for one fleet's state, made with mode 0700 when it is missing.

    The base is `override` (`--state-dir`), else FWCTL_STATE_DIR, else the user's state folder; the fleet's id is
    a folder below it, so that two fleets never share a ledger. Raises InputError E_REPO_ID for an id that is no
    plain name, WorldError E_DISK when the folder cannot be made.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise InputError(
            f"this id of a fleet cannot name a folder: {repo_id[:80]!r}",
            code="E_REPO_ID",
            place="fleet.yaml",
            remedy="Use letters, digits, dots and dashes, at most 64.",
        )
    folder = (override or _default_base()) / repo_id
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise WorldError(
            f"the state folder cannot be made: {error.strerror}",
            code="E_DISK",
            place=str(folder),
            remedy="Check its permissions, or name another with --state-dir.",
        ) from error
    return folder


def ledger_path(folder: Path) -> Path:
    """Return the ledger's file in a state folder."""
    return folder / LEDGER_NAME


def _default_base() -> Path:
    named = os.environ.get("FWCTL_STATE_DIR")
    if named:
        return Path(named)
    from platformdirs import user_state_path

    return user_state_path("fwctl", appauthor=False)
