"""The work behind `trust lint`, and what `validate` says of the trust."""

from __future__ import annotations

import stat
from collections.abc import Mapping

from fwctl.cli.context import Context
from fwctl.errors import TrustRefused
from fwctl.manifests.diagnostic import Diagnostic
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import load_repo
from fwctl.trust import expiry
from fwctl.trust.authority import Authority
from fwctl.trust.keystore import KeyStore
from fwctl.trust.lint import Case, LocalKey, lint, refused


def find(settings: Context) -> tuple[Diagnostic, ...]:
    """Return all findings about the trust of the work tree, or of the newest commit where there is none.

    Raises:
        InputError: `E_NO_TRUST` where no root is pinned; the manifests cannot be read.
    """
    from fwctl.reconcile.ending import of_machine  # `validate` needs no ledger

    files = settings.files()
    repo = load_repo(files)
    repo_id = repo.fleet.spec.repo_id
    settings.pinned_root(repo_id, files)
    try:
        authority = settings.authority(repo_id, files)
    except TrustRefused as error:
        return (refused(error),)
    if authority is None:
        raise TypeError("a root is pinned, so there is an authority")
    keystore = settings.keystore(repo_id)
    ends = expiry.expiring((*expiry.metadata(authority), *of_machine(keystore)), settings.now())
    return lint(Case(authority, rollouts_of(repo), local_keys(keystore), ends))


def errors(repo: FleetRepo, authority: Authority) -> tuple[Diagnostic, ...]:
    """Return what is wrong with the trust whatever machine looks at it: what `validate` shows."""
    return tuple(one for one in lint(Case(authority, rollouts_of(repo))) if one.severity == "error")


def rollouts_of(repo: FleetRepo) -> Mapping[str, str]:
    """Return the path of each rollout's manifest, and the model that it is for."""
    return {rollout.path: rollout.model.spec.firmware.model for rollout in repo.rollouts.values()}


def local_keys(keystore: KeyStore) -> tuple[LocalKey, ...]:
    """Return the private keys of a fleet that lie on this machine. None of them is opened."""
    found = []
    for name in keystore.names():
        path = keystore.key_path(name)
        safe = not stat.S_IMODE(path.stat().st_mode) & 0o077
        found.append(LocalKey(name, str(path), safe, keystore.kind(name) != "file"))
    return tuple(found)
