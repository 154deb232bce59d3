"""The work behind the commands that change trust: edit, sign with the keys here, and commit, all in one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from fwctl.cli.context import Context
from fwctl.cli.fleet_id import fleet_id
from fwctl.cli.open_proposal import Open, open_of
from fwctl.cli.signing_keys import check_mine, my_keys, not_signer
from fwctl.cli.trust_history import check_not_taken_back
from fwctl.errors import Busy, FwctlError, InputError, TrustRefused
from fwctl.gitrepo import CommitId
from fwctl.render.words import some
from fwctl.trust.authority import TRUST
from fwctl.trust.changes import Change
from fwctl.trust.difference import difference
from fwctl.trust.draft import Draft
from fwctl.trust.keystore import KeyStore
from fwctl.trust.proposal import PROPOSAL, Proposal, proposed_paths
from fwctl.trust.standing import standing_trust
from fwctl_agent.errors import Refusal
from fwctl_agent.trust.metadata import POLICY_TARGET, TrustedMetadata

ROOT = f"{TRUST}1.root.json"
_CLOCKS_DIFFER: Final = timedelta(days=1)
State = Literal["changed", "proposed", "signed", "unchanged", "dropped"]


@dataclass(frozen=True)
class Amended:
    """What a command did to the trust. `open` is what is left to sign; None if nothing is."""

    state: State
    what: str
    differences: tuple[str, ...]
    signed: tuple[tuple[str, str], ...]
    """file, person"""
    commit: str
    open: Open | None
    versions: tuple[tuple[str, int], ...]
    pinned: str = ""


@dataclass(frozen=True)
class _Base:
    """The commit that is changed."""

    repo_id: str
    commit: CommitId
    trust: Mapping[str, bytes]
    pinned: str
    current: TrustedMetadata | None


def amend(settings: Context, change: Change, *, what: str, signer: str, file: str = "") -> Amended:
    """Make a change: amend the open proposal or begin one, sign it with the keys here, and complete it if that is all.

    `what` is the commit's subject; `file` a path in the repository that may differ from HEAD, because it is the change.

    Raises:
        Busy: `E_PROPOSAL_OPEN` if others have signed the open proposal, `E_PROPOSAL_STALE`, `E_DIRTY`.
        InputError, TrustRefused, UsageError: the change is none that could be made.
    """
    base = _base(settings, dirty=file)
    if base.current is None:
        raise Busy(
            "this fleet's first trust is not signed yet",
            code="E_PROPOSAL_OPEN",
            place=PROPOSAL,
            remedy="See who has to sign it: fwctl trust status",
        )
    found = Proposal.of(base.current, base.trust, pinned=base.pinned) if proposed_paths(base.trust) else None
    keystore, now = settings.keystore(base.repo_id), settings.now()
    if found and not _is_just(change, found, base.current, now):
        check_mine(found, keystore)
    draft = Draft.of(found, base.current)
    change(draft)
    files = draft.files(base.current, now)
    if found and _same(files, found):
        return _sign(settings, base, found, keystore, signer=signer, what=what, state="unchanged")
    if not files and found is None:
        return Amended("unchanged", what, (), (), base.commit, None, _versions(base.current))
    gone = dict.fromkeys(proposed_paths(base.trust))
    trust = {path: data for path, data in base.trust.items() if path not in gone}
    if not files:  # the amendment takes back all that the proposal would have changed
        commit = settings.repo.commit_files(gone, f"Trust: {what}\n\nNothing is left of the open proposal.\n")
        return Amended("dropped", what, (), (), commit, None, _versions(base.current))
    proposal = Proposal(base.current, files, {}, trust, base.pinned)
    _judge(proposal)
    return _sign(settings, base, proposal, keystore, signer=signer, what=what, state="proposed")


def sign_open(settings: Context, signer: str, show: Callable[[tuple[str, ...]], None]) -> Amended:
    """Sign the open proposal with the keys here, and complete it if that was all that was missing.

    What `show` is given is what is signed; it stops everything by raising.

    Raises:
        InputError: `E_NO_PROPOSAL`, `E_PROPOSAL_INVALID`, `E_KEY_MISSING`.
        Busy: `E_PROPOSAL_STALE`.
        TrustRefused: `E_NOT_SIGNER`: no key here may sign it.
    """
    base = _base(settings)
    if not proposed_paths(base.trust):
        raise _nothing_open()
    proposal = Proposal.of(base.current, base.trust, pinned=base.pinned)
    keystore = settings.keystore(base.repo_id)
    keys = my_keys(keystore, proposal, signer)
    if not keys:
        raise not_signer(keystore, proposal)
    show(difference(proposal))
    return _sign(settings, base, proposal, keystore, signer=signer, what="sign the open proposal", state="signed")


def drop(settings: Context, reason: str) -> Amended:
    """Take the open proposal away; the trust stays as it is. It need not be readable."""
    from fwctl.cli.controlling import one_line

    reason = one_line(reason)
    _, files = settings.committed()
    paths = [path for path in files if path.startswith(PROPOSAL)]
    if not paths:
        raise _nothing_open()
    commit = settings.repo.commit_files(dict.fromkeys(paths), f"Trust: drop the open proposal: {reason}\n")
    return Amended("dropped", "drop the open proposal", (), (), commit, None, ())


def _sign(
    settings: Context, base: _Base, proposal: Proposal, keystore: KeyStore, *, signer: str, what: str, state: State
) -> Amended:
    """Sign with the keys of one person here, then commit either the proposal or, if all thresholds hold, the trust."""
    keys = my_keys(keystore, proposal, signer)
    before = proposal.files.keys() | proposal.signatures.keys()
    made: dict[str, bytes] = {}
    for name in keys:
        made |= proposal.with_signatures(made).sign(keystore.signer(name))
    proposal = proposal.with_signatures(made)
    told, complete = difference(proposal), not proposal.missing()
    stale = dict.fromkeys(path for path in proposed_paths(base.trust) if path not in before)
    files: dict[str, bytes | None] = {**stale, **proposal.files, **proposal.signatures}
    if complete:
        files = {**stale, **proposal.assemble(now=settings.now())}
    if settings.repo.head() != base.commit:
        raise Busy(
            f"something was committed since {base.commit[:12]} was read",
            code="E_PLAN_STALE",
            place=TRUST,
            remedy="Run the same command again.",
        )
    commit = settings.repo.commit_files(files, _message(what, told, complete=complete))
    if complete:
        state = "changed"
    elif state != "proposed" and not made:
        state = "unchanged"
    after = {path: data for path, data in {**base.trust, **files}.items() if data is not None}
    pinned = _pin(keystore, proposal, keys, after) if complete and base.current is None else ""
    versions = _versions(standing_trust(after, base.pinned or pinned)) if complete and (base.pinned or pinned) else ()
    signed = tuple(path.rpartition("/")[2].removesuffix(".json").rsplit(".", 2) for path in made)
    return Amended(
        state,
        what,
        told,
        tuple((f"{one[0]}.json", one[1]) for one in signed),
        commit,
        None if complete else open_of(proposal),
        versions or (_versions(base.current) if base.current else ()),
        str(keystore.root_path) if pinned else "",
    )


def _pin(keystore: KeyStore, proposal: Proposal, keys: tuple[str, ...], after: Mapping[str, bytes]) -> str:
    """Pin a fleet's first root for somebody who has just helped to sign it."""
    root = after[ROOT].decode()
    mine = {keystore.public(name).keyid for name in keys}
    if keystore.exists or not mine & set(proposal.new_root.roles["root"].keyids):
        return ""
    keystore.pin_root(root)
    return root


def _judge(proposal: Proposal) -> None:
    try:
        proposal.judge()
    except Refusal as error:
        raise TrustRefused(
            f"the trust would be refused after this: {error.message}",
            code=error.code,
            place=TRUST,
            remedy="Nothing was changed. Choose other keys, people or thresholds.",
        ) from error


def _base(settings: Context, *, dirty: str = "") -> _Base:
    changed = [path for path in settings.repo.dirty() if path.startswith(TRUST) and path != dirty]
    if changed:
        raise Busy(
            "files of the trust differ from what is committed, and would be overwritten",
            code="E_DIRTY",
            place=", ".join(some(changed, 3)),
            remedy="Put them back: git checkout HEAD -- trust; git clean -fd trust",
        )
    repo_id = fleet_id(settings)
    commit, files = settings.committed()
    trust = {path: files[path] for path in files if path.startswith(TRUST)}
    first = ROOT not in trust and bool(proposed_paths(trust)) and not settings.keystore(repo_id).exists
    pinned = "" if first else settings.pinned_root(repo_id, trust)
    current = standing_trust(trust, pinned) if pinned else None
    if current:
        check_not_taken_back(settings, commit, current, pinned)
    return _Base(repo_id, commit, trust, pinned, current)


def _same(files: Mapping[str, bytes], proposal: Proposal) -> bool:
    """Say whether a draft is what the open proposal says already: only its dates are new."""
    if files.keys() != proposal.files.keys():
        return False
    if proposal.current is None:
        return False
    other = Proposal(proposal.current, files, {}, {}, proposal.pinned)
    pairs = ((proposal.root, other.root), (proposal.targets, other.targets), (proposal.role, other.role))
    for old, new in pairs:
        if old and new:
            new.signed.expires = old.signed.expires
            if old.signed_bytes != new.signed_bytes:
                return False
    return True


def _is_just(change: Change, found: Proposal, current: TrustedMetadata, now: datetime) -> bool:
    """Say whether an open proposal is this change and nothing else, so that whoever makes it may as well sign it."""
    draft = Draft.of(None, current)
    try:
        change(draft)
    except FwctlError:
        return False  # it builds upon the proposal
    files = draft.files(current, now)
    made = Proposal(current, files, {}, {}, found.pinned)
    pairs = ((found.root, made.root), (found.targets, made.targets), (found.role, made.role))
    late = any(old and new and old.signed.expires > new.signed.expires + _CLOCKS_DIFFER for old, new in pairs)
    return not late and _same(files, found)


def _versions(trusted: TrustedMetadata) -> tuple[tuple[str, int], ...]:
    versions = trusted.versions
    return (("root", versions.root), ("targets", versions.targets), ("policy", versions.policy))


def _message(what: str, told: tuple[str, ...], *, complete: bool) -> str:
    state = "" if complete else " (proposed, not trusted yet)"
    lines = [f"* {line}" for line in told]
    return "\n".join([f"Trust: {what}{state}", "", *lines, ""])


def _nothing_open() -> InputError:
    return InputError(
        "no change of trust is open",
        code="E_NO_PROPOSAL",
        place=PROPOSAL,
        remedy="Get the newest commits (git pull); `fwctl trust status` shows what is open.",
    )


def policy_path(settings: Context, file: object) -> str:
    """Return the policy target's path in the repository if `file` is that very file, else nothing."""
    from pathlib import Path

    here = settings.worktree / TRUST / POLICY_TARGET
    return f"{TRUST}{POLICY_TARGET}" if here.exists() and Path(str(file)).resolve() == here.resolve() else ""
