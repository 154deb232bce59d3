"""Judge a folder of evidence with nothing but a root of trust: no network, no ledger, no repository, no clock.

Signatures are judged as of the moment that the folder names: that metadata has expired since does not make what it
vouched for then untrue.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fwctl.audit import folder
from fwctl.audit.devices import check_outcomes
from fwctl.audit.folder import Folder
from fwctl.audit.history import check_events
from fwctl.audit.result import Check, Judged
from fwctl.errors import FwctlError
from fwctl.gitrepo.objects import blob_in, object_id
from fwctl.trust.authority import Authority
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import parse_time
from fwctl_agent.protocol.lock import Lock
from fwctl_agent.protocol.statements import Mandate
from fwctl_agent.trust.approvals import Tally, tally, verify_release


@dataclass(frozen=True)
class Claims:
    """What the folder says it is about. Every check holds something else against it."""

    repo_id: str
    rollout: str
    mandate: str
    commit: str
    as_of: datetime

    @classmethod
    def read(cls, where: Folder) -> Claims:
        """Raises InputError `E_AUDIT`."""
        index = where.index()
        names = ("repoId", "rollout", "mandate", "commit", "asOf")
        texts = [index.get(name) for name in names]
        if not all(isinstance(text, str) and text for text in texts):
            raise where.unusable(f"{folder.INDEX} lacks one of {', '.join(names)}")
        try:
            repo_id, rollout, mandate, commit, as_of = (str(text) for text in texts)
            return cls(repo_id, rollout, mandate, commit, parse_time(as_of))
        except ValueError as error:
            raise where.unusable(f"{folder.INDEX}: {error}") from error


def verify(path: Path, *, root: str) -> Judged:
    """Return what holds and what does not; a check that rests on a failed one is not made.

    Raises:
        InputError: `E_AUDIT`, there is no folder to judge.
    """
    where = Folder(path)
    claims = Claims.read(where)
    checks = [_whole(where)]
    files = where.repository()
    checks.append(_commit(where, claims, files))
    trust, authority = _trust(claims, files, root)
    checks.append(trust)
    if authority is None:
        return Judged(claims.rollout, claims.mandate, claims.commit, claims.as_of, tuple(checks))
    approvals, mandate, stage = _approvals(claims, files, authority)
    checks.append(approvals)
    if mandate is not None:
        lock, content = _content(where, files, mandate)
        checks += [content, _releases(authority, mandate)]
        if lock is not None:
            checks.append(_plan(where, lock))
            devices, received = check_outcomes(where, mandate, lock, authority.policy, stage)
            checks += [devices, check_events(where, claims.rollout, claims.mandate, received)]
    return Judged(claims.rollout, claims.mandate, claims.commit, claims.as_of, tuple(checks))


def _whole(where: Folder) -> Check:
    listed, there = where.index()["files"], where.names()
    wrong = [f"{name} is missing" for name in sorted(set(listed) - there)]
    wrong += [f"{name} is not listed" for name in sorted(there - set(listed))]
    wrong += [f"{name} was changed" for name in sorted(there & set(listed)) if where.digest(name) != listed[name]]
    return Check.of("files", f"{len(there)} as they were written", wrong)


def _commit(where: Folder, claims: Claims, files: dict[str, bytes]) -> Check:
    """Hold every file against the commit: its id is a digest of everything in it, author and time included."""
    names = {name for name in where.names() if name.startswith(folder.COMMIT)}
    objects = {name.rpartition("/")[2]: where.read(name) for name in sorted(names)}
    raw = objects.get(claims.commit, b"")
    if object_id("commit", raw, like=claims.commit) != claims.commit:
        return Check.of("commit", "", [f"the commit {claims.commit[:12]} is not the one that stands here"])
    wrong = [
        f"{path} is not in the commit"
        for path, data in files.items()
        if blob_in(objects, claims.commit, path) != object_id("blob", data, like=claims.commit)
    ]
    head, _, message = raw.decode("utf-8", "replace").partition("\n\n")
    author = next((line for line in head.splitlines() if line.startswith("author ")), "author unknown")
    subject = message.splitlines()[0] if message else ""
    return Check.of("commit", f"{claims.commit[:12]} {_person(author)}: {subject}", wrong)


def _person(author: str) -> str:
    return author.removeprefix("author ").rpartition(" <")[0]


def _trust(claims: Claims, files: dict[str, bytes], root: str) -> tuple[Check, Authority | None]:
    try:
        authority = Authority.verify(files, pinned=root, now=claims.as_of)
    except FwctlError as error:
        return Check.of("trust", "", [f"{error.code}: {error.message}"]), None
    versions = authority.trusted.versions
    what = f"root {versions.root}, targets {versions.targets}, policy {versions.policy}, from the root that you named"
    wrong = [] if authority.policy.repo_id == claims.repo_id else [f"the policy is that of {authority.policy.repo_id}"]
    return Check.of("trust", what, wrong), authority


def _approvals(claims: Claims, files: dict[str, bytes], authority: Authority) -> tuple[Check, Mandate | None, int]:
    """Return who approved, what, and up to which stage."""
    envelopes = [envelope for path, envelope in _envelopes(files) if path.startswith("approvals/")]
    judged, mandate = tally(envelopes, mandate=claims.mandate, policy=authority.policy, now=claims.as_of)
    if mandate is None:
        why = [f"{one.who}: {one.code}: {one.why}" for one in judged.ignored]
        return Check.of("approvals", "", why or ["nobody approved this mandate"]), None, 0
    wrong = [] if f"{mandate.env}/{mandate.name}" == claims.rollout else ["they are about another rollout"]
    wrong += [] if mandate.repo_id == authority.policy.repo_id else ["they are about another repository"]
    stage, missing = _stage(judged, authority, mandate)
    wrong += [] if stage else [missing]
    said = "; ".join(
        f"{vote.person} on {vote.approval.approved_at:%Y-%m-%d %H:%MZ} ({vote.approval.meaning})"
        for vote in judged.votes
    )
    return Check.of("approvals", f"up to stage {stage}: {said}", wrong), mandate, stage


def _stage(judged: Tally, authority: Authority, mandate: Mandate) -> tuple[int, str]:
    """Return the highest stage that is approved, and why the next one is not."""
    stage = 0
    for wanted in range(1, max(vote.approval.stage for vote in judged.votes) + 1):
        try:
            judged.approved(authority.policy, mandate.path, wanted)
        except Refusal as error:
            return stage, f"{error.code}: {error.message}"
        stage = wanted
    return stage, ""


def _envelopes(files: dict[str, bytes]) -> list[tuple[str, dict[str, object]]]:
    found = []
    for path, data in files.items():
        if path.endswith(".dsse.json"):
            try:
                value = canonical.decode(data, what=path)
            except Refusal:
                continue
            if isinstance(value, dict):
                found.append((path, value))
    return found


def _content(where: Folder, files: dict[str, bytes], mandate: Mandate) -> tuple[Lock | None, Check]:
    """Hold manifest, lock and plan against what the approvals are about."""
    wrong: list[str] = []

    def same(what: str, data: bytes | None, wanted: str) -> None:
        if data is None or canonical.digest(data) != wanted:
            wrong.append(f"the {what} is not the one that was approved")

    raw = files.get(mandate.path.removesuffix(".yaml") + ".lock")
    same("manifest", files.get(mandate.path), mandate.manifest)
    same("lock", raw, mandate.lock)
    same("plan", where.read(folder.PLAN), mandate.plan)
    lock = None
    try:
        lock = Lock.parse(raw or b"")
        tree = lock.tree()
        if (tree.root, tree.size) != (mandate.lock_root, mandate.lock_size):
            wrong.append("the lock does not have the root that was approved")
    except Refusal as error:
        wrong.append(f"the lock cannot be read: {error.message}")
    return lock, Check.of("content", f"manifest, lock of {mandate.lock_size} devices and plan are as approved", wrong)


def _releases(authority: Authority, mandate: Mandate) -> Check:
    """Say who signed each release that the mandate names."""
    said, wrong = [], []
    envelopes = [envelope for path, envelope in _envelopes(dict(authority.files)) if path.startswith("firmware/")]
    for digest in mandate.releases:
        try:
            release, people = verify_release(envelopes, digest=digest, policy=authority.policy)
        except Refusal as error:
            wrong.append(f"{digest[:19]}: {error.code}: {error.message}")
            continue
        said.append(f"{release.model} {release.version} by {', '.join(sorted(people))}")
    return Check.of("releases", "; ".join(said), wrong)


def _plan(where: Folder, lock: Lock) -> Check:
    """Hold the waves of the plan against the lock: every device in one wave, under the stage of its line."""
    try:
        plan = canonical.decode(where.read(folder.PLAN), what=folder.PLAN)
        waves = [(str(one["name"]), int(one["stage"]), list(one["devices"])) for one in plan["waves"]]
    except (Refusal, KeyError, TypeError, ValueError):
        return Check.of("plan", "", ["the plan cannot be read"])
    stages = {str(device): stage for _, stage, devices in waves for device in devices}
    planned = sum(len(devices) for _, _, devices in waves)
    wrong = [] if planned == len(stages) else ["a device stands in two waves"]
    locked = dict(zip(lock.devices, lock.stages(), strict=True))
    wrong += [f"{one} is not in both" for one in sorted(set(stages) ^ set(locked))[:5]]
    wrong += [f"{one} has another stage" for one in sorted(set(stages) & set(locked)) if stages[one] != locked[one]][:5]
    return Check.of("plan", ", ".join(f"{name} {len(devices)}" for name, _, devices in waves), wrong)
