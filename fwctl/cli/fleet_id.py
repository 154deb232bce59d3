"""Which fleet a repository is, without reading its manifests: `spec.repoId` of one small file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fwctl.cli.context import Context

if TYPE_CHECKING:
    from fwctl.gitrepo import CommitId

ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""an id as the manifests have it, said again so that no model has to be built for it"""


def fleet_id(settings: Context) -> str:
    """Return the id of the fleet that is worked on: the work tree's, or the newest commit's where there is none.

    Raises:
        ManifestErrors: there is no plain `fleet.yaml` with an id, and this is what is wrong with it.
    """
    if settings.repo.worktree is None:
        found = committed_id(settings, settings.repo.resolve("HEAD"))
    else:
        path = settings.repo.worktree / "fleet.yaml"
        found = _id_of(path.read_bytes()) if path.is_file() and not path.is_symlink() else None
    if found is not None:
        return found
    from fwctl.reconcile.commit import load_repo

    return load_repo(settings.files()).fleet.spec.repo_id


def committed_id(settings: Context, commit: CommitId) -> str | None:
    """Return the fleet's id in a commit; None where `fleet.yaml` is not the plain file that it should be."""
    data = settings.repo.file(commit, "fleet.yaml")
    return _id_of(data) if data else None


def _id_of(data: bytes) -> str | None:
    import yaml

    try:
        found = yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]["repoId"]  # noqa: S506  both are safe loaders
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found, str) and ID.fullmatch(found) else None
