"""Who signed commits, judged by git itself with keys that the caller names.

Nothing else has a say: no file of the commit, no configuration of the user or the repository, no keyring. A verdict
follows from git's status letter (`%G?`) and from the exit status of `git verify-commit`, never from printed text: for
a key that nobody named git prints `Good "git" signature` too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fwctl.errors import InputError, TrustRefused, WorldError
from fwctl.gitrepo.command import Answer, checked, failure, run
from fwctl.gitrepo.keyring import Ring, Signers, keyring
from fwctl.gitrepo.repo import Commit, CommitId, Repo, time_told

MAX_COMMITS: Final = 1000
"""as many commits are judged at once, at most"""
MAX_BYTES: Final = 32 * 2**20
"""as much may these commits take together, without what they hold"""
_WHO: Final = ("%H", "%an", "%ae", "%at", "%s")
_SIGNED: Final = ("%H", "%G?", "%GS", "%GF")
# A commit-graph file could tell other parents than those that are signed.
_HISTORY: Final = (("core.commitGraph", "false"), ("i18n.logOutputEncoding", "UTF-8"))
_KINDS: Final[Mapping[bytes, str]] = {
    b"-----BEGIN SSH SIGNATURE-----": "ssh",
    b"-----BEGIN PGP SIGNATURE-----": "openpgp",
}
_ODD: Final[Mapping[str, str]] = {
    "several": "it carries more than one signature",
    "other": "its signature is neither an SSH nor an OpenPGP signature",
}
_WHY: Final[Mapping[str, str]] = {
    "N": "it is not signed",
    "B": "its signature is not one of this content, made for git",
    "U": "it is signed with a key that the policy does not name, or not for that time",
    "E": "it is signed with a key that the policy does not name, or in a way that is too weak",
    "X": "its signature has expired",
    "Y": "it is signed with a key that has expired",
    "R": "it is signed with a key that was revoked",
}


@dataclass(frozen=True)
class Judged:
    """What the signature of one commit is worth."""

    commit: Commit
    signer: str
    """who signed it, as the policy calls them; empty where it is not validly signed"""
    key: str
    """fingerprint of the key, as far as git tells it"""
    why: str
    """why it is not validly signed; empty where it is"""

    @property
    def good(self) -> bool:
        return not self.why


def judge(repo: Repo, commits: Sequence[CommitId], signers: Signers) -> tuple[Judged, ...]:
    """Judge commits, in their order.

    Raises:
        InputError: `E_SIZE` for commits that are too large to be judged.
        WorldError: `E_SIGN_TOOL` if a program that a signature needs is not there; `E_GIT` for a damaged repository.
    """
    if not commits:
        return ()
    kinds = _kinds(repo, commits)
    told = {one[0]: one for one in _rows(repo, _WHO, Ring(), commits)}
    # git ends at the first signature of a kind that it does not know
    asked = [commit for commit in commits if kinds[commit] in _KINDS.values()]
    with keyring(signers, frozenset(kinds.values())) as ring:
        letters = _letters(repo, ring, asked)
        judged = [_judged(told[one], kinds[one], letters.get(one, (one, "N", "", ""))) for one in commits]
        good = [one.commit.id for one in judged if one.good]
        if not good or _run(repo, ["verify-commit", "--end-of-options", *good], ring).status == 0:
            return tuple(judged)
    return tuple(replace(one, signer="", why=one.why or "git does not confirm its signature") for one in judged)


def require_signed(
    repo: Repo, commit: CommitId, *, mode: str, since: CommitId | None, signers: Signers
) -> tuple[Judged, ...]:
    """Judge what `mode` demands: the commit alone (head), or all commits after `since`, too (strict).

    `since` is an ancestor of the commit; None where nothing was applied before, and then strict is about the commit
    alone. Returns the verdicts, the commit's own first.

    Raises:
        TrustRefused: `E_GIT_SIG`: one of them is not validly signed, or there are too many.
        InputError: `E_GIT_SHALLOW`: the history is cut off, so that `strict` cannot be judged.
        WorldError: a program that is needed is not there.
    """
    if mode == "off":
        return ()
    wanted = commits_since(repo, commit, since) if mode == "strict" and since else [commit]
    judged = judge(repo, wanted, signers)
    bad = [one for one in judged if not one.good]
    if not bad:
        return judged
    more = f" ({len(bad)} of {len(judged)} commits are not validly signed)" if len(judged) > 1 else ""
    raise TrustRefused(
        f"commit {bad[0].commit.id[:12]} is refused: {bad[0].why}{more}",
        code="E_GIT_SIG",
        place=named(bad[0].commit),
        remedy=_remedy(signers, only_head=bad == [judged[0]]),
    )


def named(commit: Commit) -> str:
    """Return a commit in one printable line: id, author, subject."""
    return f"{commit.id[:12]} by {_plain(commit.name, 60)}: {_plain(commit.subject, 80)}"


def _remedy(signers: Signers, *, only_head: bool) -> str:
    again = "git commit --amend --no-edit -S" if only_head else "git rebase --force-rebase -S COMMIT-BEFORE-THEM"
    return (
        f"{signers.named} may sign. One of them signs it: {again}; "
        "and from then on: git config commit.gpgSign true. If nobody knows it, find out who pushed it."
    )


def commits_since(repo: Repo, commit: CommitId, since: CommitId) -> list[CommitId]:
    """Return a commit and all that came with it after `since`, those of merged branches too; the commit first.

    Raises:
        TrustRefused: `E_GIT_SIG`: there are too many to judge.
        InputError: `E_GIT_SHALLOW`: the history is cut off.
    """
    if since == commit:
        return [commit]
    if repo.is_shallow():
        raise InputError(
            "the clone is shallow, so not all commits since the last applied one can be judged",
            code="E_GIT_SHALLOW",
            place=repo.origin,
            remedy="git fetch --unshallow (in CI: fetch the whole history, fetch-depth: 0)",
        )
    walk = ["rev-list", "--topo-order", f"--max-count={MAX_COMMITS + 1}", "--end-of-options", f"{since}..{commit}"]
    found = [
        CommitId(line) for line in checked(_run(repo, walk, Ring()), what="walk", place=repo.origin).text().split()
    ]
    if len(found) > MAX_COMMITS:
        raise TrustRefused(
            f"more than {MAX_COMMITS} commits since {since[:12]}, which was applied last: too many to judge at once",
            code="E_GIT_SIG",
            place=repo.origin,
            remedy="Apply them in parts, the oldest first: fwctl reconcile --once --ref COMMIT",
        )
    return [commit, *(one for one in found if one != commit)]


def _kinds(repo: Repo, commits: Sequence[CommitId]) -> dict[CommitId, str]:
    """Return how each commit is signed: ssh, openpgp, another word for what is never valid, or empty."""
    asked = _git(repo, ["cat-file", "--batch-check=%(objecttype) %(objectsize)"], Ring(), commits)
    facts = [line.split() for line in asked.text().split("\n")]
    if any(len(fact) != 2 or fact[0] != "commit" for fact in facts) or len(facts) != len(commits):
        raise failure(Answer(1, b"", "error: a commit is missing"), what="read commits", place=repo.origin)
    if sum(int(size) for _, size in facts) > MAX_BYTES:
        raise InputError(
            f"the commits to judge take more than {MAX_BYTES} bytes without their files",
            code="E_SIZE",
            place=repo.origin,
            remedy="Apply them in parts (fwctl reconcile --once --ref COMMIT), or find out who writes such messages.",
        )
    out, found = _git(repo, ["cat-file", "--batch"], Ring(), commits).stdout, {}
    for commit, (_, size) in zip(commits, facts, strict=True):
        start = out.index(b"\n") + 1
        found[commit] = kind_of(out[start : start + int(size)], commit)
        out = out[start + int(size) + 1 :]
    return found


def kind_of(raw: bytes, commit: str) -> str:
    """Return how a commit is signed, from its header. More than one signature is none."""
    name = b"gpgsig" if len(commit) == 40 else b"gpgsig-sha256"
    header = raw.partition(b"\n\n")[0]
    starts = [line.split(b" ", 1)[1].rstrip() for line in header.split(b"\n") if line.startswith(name + b" ")]
    if not starts:
        return ""
    return _KINDS.get(starts[0], "other") if len(starts) == 1 else "several"


def _judged(who: Sequence[str], kind: str, signed: Sequence[str]) -> Judged:
    name, email, subject = who[1], who[2], who[4]
    commit = Commit(CommitId(who[0]), name, email, time_told(who[3]), subject)
    letter, signer, key = signed[1], _plain(signed[2], 120), _plain(signed[3], 80)
    if letter == "G" and kind in _KINDS.values():
        return Judged(commit, signer or key, key, "")
    return Judged(commit, "", key, _ODD.get(kind) or _WHY.get(letter, "its signature cannot be judged"))


def _letters(repo: Repo, ring: Ring, commits: Sequence[CommitId]) -> dict[str, Sequence[str]]:
    """Ask git for its verdicts; of a commit that ends git itself, the verdict is bad.

    ssh-keygen may end at a broken signature before it has read the commit that git writes to it, and then git ends too
    (SIGPIPE). The commits are asked for one by one then.
    """
    try:
        return {one[0]: one for one in _rows(repo, _SIGNED, ring, commits)}
    except WorldError as error:
        if error.code != "E_GIT":
            raise
        if len(commits) == 1:
            return {commits[0]: (commits[0], "B", "", "")}
    return {key: row for commit in commits for key, row in _letters(repo, ring, [commit]).items()}


def _rows(repo: Repo, fields: Sequence[str], ring: Ring, commits: Sequence[str]) -> list[list[str]]:
    """Ask git for these fields of the commits."""
    if not commits:
        return []
    asked = ["log", "--no-walk=unsorted", "--stdin", "-z", "--no-color", f"--format={'%x00'.join(fields)}"]
    parts = _git(repo, asked, ring, commits).stdout.decode("utf-8", "replace").removesuffix("\0").split("\0")
    rows = [parts[at : at + len(fields)] for at in range(0, len(parts), len(fields))]
    if [row[0] for row in rows] != list(commits):
        raise failure(Answer(1, b"", "error: git answered about other commits"), what="judge", place=repo.origin)
    return rows


def _git(repo: Repo, args: list[str], ring: Ring, commits: Sequence[str]) -> Answer:
    listing = "".join(f"{commit}\n" for commit in commits).encode()
    return checked(_run(repo, args, ring, stdin=listing), what="read commits", place=repo.origin)


def _run(repo: Repo, args: list[str], ring: Ring, *, stdin: bytes | None = None) -> Answer:
    config = [*_HISTORY, *ring.config]
    return run([f"--git-dir={repo.git_dir}", *args], cwd=repo.git_dir, stdin=stdin, config=config, env=ring.env)


def _plain(text: str, limit: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:limit])
