"""The work behind `audit`: the repository, ledger and keys that exporting needs; the root that judging needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from fwctl.audit.export import Exported, export
from fwctl.audit.folder import Folder
from fwctl.audit.result import Judged
from fwctl.audit.verify import Claims, verify
from fwctl.cli.context import Context
from fwctl.cli.planning import find_rollouts
from fwctl.errors import FwctlError, InputError
from fwctl.files import read_input
from fwctl.fleet.certificates import Authorities
from fwctl.reconcile.commit import CommitState, load_repo, read_commit


def export_evidence(settings: Context, rollout: str, out: Path) -> Exported:
    """Write the evidence about a rollout into the new folder `out`.

    Raises:
        InputError: `E_NO_ROLLOUT`, `E_NO_REPORT`, `E_EXISTS`, `E_AUDIT`; or no ledger or pinned root is here.
    """
    _, files = settings.committed()
    repo = load_repo(files)
    repo_id, key = repo.fleet.spec.repo_id, find_rollouts(repo, rollout)[0].key
    pinned = settings.pinned_root(repo_id, files)
    device_ca = read_input(
        Authorities(settings.keystore(repo_id).pki).device_ca, remedy="Run it where `fwctl reconcile` runs."
    )

    def read(ref: str, as_of: datetime) -> tuple[str, Mapping[str, bytes], CommitState, Path]:
        commit, found = settings.committed(ref)
        return commit, found, read_commit(found, commit=commit, pinned=pinned, now=as_of), settings.repo.git_dir

    with settings.ledger(repo_id) as ledger:
        if ledger is None:
            raise InputError(
                "this machine has no ledger of the fleet",
                code="E_NO_LEDGER",
                place=str(settings.state_dir(repo_id)),
                remedy="Run it where `fwctl reconcile` runs.",
            )
        made = export(ledger, key, read, device_ca=device_ca, out=out)
    return replace(made, newer=_newer(settings, key, made))


def _newer(settings: Context, key: str, made: Exported) -> str:
    """Return the mandate that is approved now, if it is not the one that ran; nothing where that cannot be told."""
    try:
        commit, files = settings.committed()
        prepared = settings.read(files, commit).rollouts[key]
    except FwctlError:
        return ""
    mandate = prepared.mandate.id if prepared.mandate and prepared.approved_stage else ""
    return "" if mandate == made.mandate else mandate


def verify_evidence(settings: Context, folder: Path, root: Path | None) -> Judged:
    """Judge a folder of evidence by a root in a file, or by the one that this user has pinned for its fleet.

    Raises:
        InputError: `E_AUDIT`, or no root to judge by.
    """
    if root is not None:
        data = read_input(root).decode("utf-8", "replace")
        return verify(folder, root=data)
    keystore = settings.keystore(Claims.read(Folder(folder)).repo_id)
    if not keystore.exists:
        raise InputError(
            "no root of trust to judge by",
            code="E_NO_TRUST",
            place=str(folder),
            remedy="Get the fleet's first root (trust/1.root.json) from its owners, not from this folder, and say "
            "--root FILE.",
        )
    return verify(folder, root=keystore.pinned_root())
