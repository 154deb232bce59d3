"""Trust that was taken back: metadata of a lower version than what stood in the same history before.

Old metadata stays validly signed. Whoever may push can put it back, and the next change, made on top of it, would
bring back all that was revoked since, under a new signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tuf.api.metadata import Root, Targets

from fwctl.cli.context import Context
from fwctl.errors import FwctlError, TrustRefused
from fwctl.gitrepo import CommitId
from fwctl.gitrepo.history import contents
from fwctl.trust.authority import TRUST
from fwctl.trust.standing import standing_trust
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import TrustedMetadata, parse_metadata

_ROLES: Final = ("root", "targets", "policy")


def check_not_taken_back(settings: Context, commit: CommitId, current: TrustedMetadata, pinned: str) -> None:
    """Refuse a commit whose trust is older than one that it follows from.

    Only what verifies from the pinned root counts: junk in the history is no reason to stop.

    Raises:
        TrustRefused: `E_META_ROLLBACK`.
    """
    standing = {
        f"{TRUST}policy.json": current.versions.policy,
        f"{TRUST}targets.json": current.versions.targets,
        f"{TRUST}{current.versions.root + 1}.root.json": current.versions.root,
    }
    looked: set[CommitId] = set()
    for before, path, data in contents(settings.repo, commit, tuple(standing)):
        if before not in looked and _version(path, data) > standing[path]:
            looked.add(before)
            newer = _newer(settings, before, current, pinned)
            if newer:
                raise _taken_back(before, newer)


def _version(path: str, data: bytes) -> int:
    try:
        text = data.decode("utf-8", "replace")
        if path.endswith(".root.json"):
            return parse_metadata(text, Root, path).signed.version
        return parse_metadata(text, Targets, path).signed.version
    except Refusal:
        return 0


def _newer(settings: Context, commit: CommitId, current: TrustedMetadata, pinned: str) -> Mapping[str, tuple[int, int]]:
    """Return the roles in which the trust of a commit goes further: its version, and today's."""
    try:
        files = settings.repo.tree(commit).files(cache=settings.cache)
        found = standing_trust({path: files[path] for path in files if path.startswith(TRUST)}, pinned).versions
    except FwctlError:
        return {}
    pairs = {role: (getattr(found, role), getattr(current.versions, role)) for role in _ROLES}
    return {role: (was, now) for role, (was, now) in pairs.items() if was > now}


def _taken_back(commit: CommitId, newer: Mapping[str, tuple[int, int]]) -> TrustRefused:
    told = ", ".join(f"{role} from version {was} to {now}" for role, (was, now) in newer.items())
    return TrustRefused(
        f"the trust went back, {told}: what was revoked since would count again",
        code="E_META_ROLLBACK",
        place=f"{TRUST} (newer in {commit[:12]})",
        remedy=f"Find out who took it back (git log --full-history trust/), and put it in place again: "
        f"git checkout {commit[:12]} -- trust && git commit",
    )
