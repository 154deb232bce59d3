"""The one door to git: hardened commands, reads by blob, mirrors that heal themselves."""

from fwctl.gitrepo.cache import Cache
from fwctl.gitrepo.files import Files
from fwctl.gitrepo.keyring import Signers
from fwctl.gitrepo.location import Local, Location, Remote, check_ref, parse_location
from fwctl.gitrepo.mirror import init, open_repo
from fwctl.gitrepo.paths import MANAGED, is_managed
from fwctl.gitrepo.repo import Commit, CommitId, Repo
from fwctl.gitrepo.signatures import Judged, commits_since, judge, require_signed
from fwctl.gitrepo.tree import Tree
from fwctl.gitrepo.worktree import worktree_files

__all__ = [
    "MANAGED",
    "Cache",
    "Commit",
    "CommitId",
    "Files",
    "Judged",
    "Local",
    "Location",
    "Remote",
    "Repo",
    "Signers",
    "Tree",
    "check_ref",
    "commits_since",
    "init",
    "is_managed",
    "judge",
    "open_repo",
    "parse_location",
    "require_signed",
    "worktree_files",
]
