"""The work behind `doctor`: one function per check; each says ok, warn or fail, and what to do."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from fwctl.cli.context import Context
from fwctl.errors import FwctlError
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import check_files
from fwctl.reconcile.ending import of_devices, of_machine
from fwctl.render.words import ago, counted
from fwctl.state import RolloutState
from fwctl.trust import expiry
from fwctl.trust.expiry import Expiring, Thing
from fwctl.trust.keystore import ORDER

Word = Literal["ok", "warn", "fail"]
_CLOCK_AHEAD = timedelta(days=3650)


@dataclass(frozen=True)
class Check:
    """One line of the doctor. `remedy` is empty where nothing has to be done. `ends` are things that it looked at."""

    name: str
    word: Word
    text: str
    remedy: str = ""
    ends: tuple[Expiring, ...] = ()


def examine(settings: Context) -> tuple[Check, ...]:
    """Return all checks, in the order in which to mend them. Nothing is written, no device is asked."""
    checks = [_guarded("git", _git), _guarded("python", _python)]
    checks.append(_guarded("repository", lambda: _repository(settings)))
    if checks[-1].word == "fail":
        return tuple(checks)
    repo, check = _manifests(settings)
    checks.append(check)
    if repo is None:
        return (*checks, Check("trust", "warn", "not checked, nor what follows: the manifests come first"))
    return (*checks, *_of_fleet(settings, repo))


def _of_fleet(settings: Context, repo: FleetRepo) -> Iterator[Check]:
    yield _guarded("root", lambda: _root(settings, repo))
    yield _guarded("keys", lambda: _keys(settings, repo))
    yield _guarded("metadata", lambda: _metadata(settings, repo))
    yield from _commit(settings)
    yield _guarded("approvals", lambda: _approvals(settings, repo))
    yield _guarded("certificates", lambda: _certificates(settings, repo))
    yield _guarded("devices", lambda: _devices(settings, repo))
    yield _guarded("ledger", lambda: _ledger(settings, repo))
    yield _guarded("storage", lambda: _storage(settings, repo))
    yield _guarded("clock", lambda: _clock(settings))
    yield _guarded("lease", lambda: _lease(settings, repo))


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except FwctlError as error:
        place = f" ({error.place})" if error.place else ""
        return Check(name, "fail", f"{error.code}: {error.message}{place}", error.remedy)


def _git() -> Check:
    from fwctl.gitrepo.command import run

    if shutil.which("git") is None:
        return Check("git", "fail", "git is not installed", "Install git 2.34 or newer.")
    return Check("git", "ok", run(["--version"], cwd=Path("/")).text().removeprefix("git version "))


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{version}, SQLite {sqlite3.sqlite_version}")


def _repository(settings: Context) -> Check:
    repo = settings.repo
    head = repo.head()
    dirty = repo.dirty()
    where = f"{repo.origin}, commit {head[:12]}"
    if repo.worktree is None:
        return Check("repository", "ok", f"{where}, no work tree: for reconciling and looking only")
    if dirty:
        return Check(
            "repository",
            "warn",
            f"{where}; {counted(len(dirty), 'file')} not committed: {', '.join(dirty[:3])}",
            "Only what is committed is applied: git add -A && git commit",
        )
    return Check("repository", "ok", where)


def _manifests(settings: Context) -> tuple[FleetRepo | None, Check]:
    try:
        loaded, found = check_files(settings.files())
    except FwctlError as error:
        return None, Check("manifests", "fail", f"{error.code}: {error.message}", error.remedy)
    errors = sum(one.severity == "error" for one in found)
    repo = loaded.repo
    if errors or repo is None:
        return None, Check("manifests", "fail", counted(errors, "error"), "See them all: fwctl validate")
    text = f"{counted(len(repo.devices), 'device')}, {counted(len(repo.rollouts), 'rollout')}"
    warnings = sum(one.severity == "warning" for one in found)
    if warnings:
        return repo, Check("manifests", "warn", f"{text}; {counted(warnings, 'warning')}", "See them: fwctl validate")
    return repo, Check("manifests", "ok", text)


def _root(settings: Context, repo: FleetRepo) -> Check:
    repo_id = repo.fleet.spec.repo_id
    settings.pinned_root(repo_id, settings.files())
    return Check("root", "ok", f"pinned in {settings.keystore(repo_id).root_path}")


def _keys(settings: Context, repo: FleetRepo) -> Check:
    from fwctl.cli.keying import read_keys

    keys = read_keys(settings)
    if not keys.lines:
        return Check("keys", "warn", "none here: you can look, but neither sign nor reconcile")
    folder = settings.keystore(repo.fleet.spec.repo_id).folder
    open_paths = [path for path in (folder, *folder.rglob("*")) if _open_to_others(path)]
    if open_paths:
        where = ", ".join(str(path) for path in open_paths[:3])
        return Check("keys", "fail", f"others can read {where}", f"chmod -R go-rwx {folder}")
    broken = [one for one in keys.lines if one.problem]
    if broken:
        return Check("keys", "fail", f"{broken[0].name}: {broken[0].problem}", "Restore the key from its backup.")
    strange = [one.name for one in keys.lines if keys.judged and not one.known_as]
    names = ", ".join(one.name for one in keys.lines)
    if strange:
        remedy = "Have it added to the policy, or move it away."
        return Check("keys", "warn", f"{names}; the policy does not know {', '.join(strange)}", remedy)
    return Check("keys", "ok", names)


def _open_to_others(path: Path) -> bool:
    """Tell whether others can read a private key, or list the folder that holds it. Certificates may be read."""
    mode = path.stat().st_mode
    private = path.suffix == ".pem" and not path.name.endswith("cert.pem")
    return private and bool(stat.S_IMODE(mode) & 0o077)


def _metadata(settings: Context, repo: FleetRepo) -> Check:
    authority = settings.authority(repo.fleet.spec.repo_id, settings.files())
    if authority is None:
        return Check("metadata", "warn", "not checked: no root of trust is pinned here")
    return _expiry("metadata", expiry.metadata(authority), settings.now())


def _approvals(settings: Context, repo: FleetRepo) -> Check:
    """Look at what may still be needed: the approvals of rollouts that are not complete."""
    repo_id = repo.fleet.spec.repo_id
    if not settings.keystore(repo_id).exists:
        return Check("approvals", "warn", "not checked: no root of trust is pinned here")
    files = settings.files()
    state = settings.read(files, "")
    with settings.ledger(repo_id) as ledger:
        rows = {row.key: row for row in ledger.rollouts()} if ledger else {}
    mine = {key: one.mandate.id for key, one in state.rollouts.items() if one.mandate}
    done = {key for key, row in rows.items() if row.mandate == mine.get(key) and row.state is RolloutState.COMPLETE}
    counted_ones = [thing for key, one in state.rollouts.items() for thing in expiry.approvals(key, one.verdict)]
    things = expiry.wanted(counted_ones, done.__contains__)
    if not things:
        return Check("approvals", "ok", "none that a rollout waits for")
    return _expiry("approvals", things, settings.now())


def _devices(settings: Context, repo: FleetRepo) -> Check:
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        things = of_devices(ledger, settings.now()) if ledger else ()
    if not things:
        return Check("devices", "ok", "no certificate of a device was seen here")
    return _expiry("devices", things, settings.now())


def _commit(settings: Context) -> Iterator[Check]:
    """Say who signed HEAD, where the policy has something to do with it."""
    from fwctl.cli.provenance import line, signature

    try:
        found = signature(settings)
    except FwctlError as error:
        yield Check("commit", "fail", f"{error.code}: {error.message}", error.remedy)
        return
    if found is not None:
        judged, policy = found
        word: Word = "ok" if judged.good else "warn" if policy.git_verify == "off" else "fail"
        remedy = "" if judged.good else "One of those signs it whom the policy names: git commit --amend --no-edit -S"
        yield Check("commit", word, line(judged, policy).rstrip("."), remedy)


def _certificates(settings: Context, repo: FleetRepo) -> Check:
    from fwctl.fleet.certificates import Authorities

    keystore = settings.keystore(repo.fleet.spec.repo_id)
    paths = Authorities(keystore.pki)
    named = {"controller CA": paths.controller_ca, "device CA": paths.device_ca, "controller": paths.controller}
    missing = [name for name, path in named.items() if not path.exists()]
    if len(missing) == len(named):
        return Check("certificates", "warn", "none here: this machine can neither enrol nor reconcile")
    if missing:
        return Check("certificates", "fail", f"missing: {', '.join(missing)}", "Run `fwctl init` to complete them.")
    things = of_machine(keystore)
    if len(things) < len(named):
        return Check("certificates", "fail", f"one below {paths.folder} cannot be read", "Restore it from a backup.")
    return _expiry("certificates", things, settings.now())


def _expiry(name: str, things: Iterable[Thing], now: datetime) -> Check:
    """Judge things by the one that ends first."""
    found = expiry.expiring(things, now)
    first, soon = found[0], expiry.ending(found)
    more = f"; {len(soon) - 1} more end within 30 days" if len(soon) > 1 else ""
    remedy = f"{_WHY[name]} Run: {first.renew}"
    if first.level == "expired":
        return Check(name, "fail", f"{first.what} expired {ago(first.expires, now)}{more}", remedy, found)
    if first.level != "ok":
        days = next(days for days, level in expiry.LEVELS if level == first.level)
        text = f"{first.what} expires within {days} days, on {first.expires:%Y-%m-%d}{more}"
        return Check(name, "warn", text, remedy, found)
    names = ", ".join(one.what for one in found[:3])
    return Check(name, "ok", f"{names}; {first.what} ends first, {first.expires:%Y-%m-%d}", "", found)


_WHY = {
    "metadata": "Have its signers sign it again; nothing is installed after that.",
    "approvals": "Nothing new starts after that.",
    "certificates": "Renew it before devices become unreachable.",
    "devices": "Renew it before the device becomes unreachable.",
}


def _ledger(settings: Context, repo: FleetRepo) -> Check:
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        if ledger is None:
            remedy = "If this machine shall reconcile: fwctl reconcile --once --new-ledger"
            return Check("ledger", "warn", "none here: this machine never reconciled the fleet", remedy)
        damage, broken = ledger.integrity(), ledger.verify_chain()
        path, applied = ledger.path, ledger.meta("last_applied_commit")
    if damage:
        return Check("ledger", "fail", f"damaged: {damage[0]}", f"Put a copy of {path} back.")
    if broken:
        remedy = f"Somebody edited {path}. Compare it with a copy; outcomes signed by devices still count."
        return Check("ledger", "fail", f"event {broken.seq} does not follow: {broken.why}", remedy)
    done = f"last applied {applied[:12]}" if applied else "nothing applied yet"
    return Check("ledger", "ok", f"sound, chain of events whole, {done}")


def _storage(settings: Context, repo: FleetRepo) -> Check:
    from fwctl.storage import from_spec

    repo_id, spec = repo.fleet.spec.repo_id, repo.fleet.spec.storage
    authority = settings.authority(repo_id, settings.files()) if spec.type == "https" else None
    allow = authority.policy.storage if authority else ()
    storage = from_spec(spec.model_dump(), base=settings.state_dir(repo_id), allow=allow)
    needed = sorted(
        {(one.model.spec.firmware.model, one.model.spec.firmware.version) for one in repo.rollouts.values()}
    )
    absent = []
    for key in needed:
        image = repo.firmware[key].model.spec.image
        if not storage.exists(image.digest) or storage.stat(image.digest).length != image.length:
            absent.append("@".join(key))
    if absent and ORDER not in settings.keystore(repo.fleet.spec.repo_id).names():
        return Check("storage", "warn", "images are not here; only a machine that reconciles needs them")
    if absent:
        remedy = "Add the same file again: fwctl firmware add FILE --model MODEL --version VERSION"
        return Check("storage", "fail", f"no whole image of {', '.join(absent)}", remedy)
    return Check("storage", "ok", f"holds {counted(len(needed), 'image')} of declared rollouts")


def _clock(settings: Context) -> Check:
    now, last = settings.now(), settings.repo.author(settings.repo.head()).time
    remedy = "Set the clock: approvals and expiry are judged by it."
    if now < last - timedelta(minutes=10):
        return Check(
            "clock", "fail", f"{now:%Y-%m-%d %H:%M}Z lies before the last commit, {last:%Y-%m-%d %H:%M}Z", remedy
        )
    if now > last + _CLOCK_AHEAD:
        return Check("clock", "warn", f"{now:%Y-%m-%d %H:%M}Z lies ten years after the last commit", remedy)
    return Check("clock", "ok", f"{now:%Y-%m-%d %H:%M}Z, after the last commit")


def _lease(settings: Context, repo: FleetRepo) -> Check:
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        if ledger is None:
            return Check("lease", "ok", "free: no ledger here")
        row, now = ledger.lease(), settings.now()
    if not row.holder:
        return Check("lease", "ok", f"free, epoch {row.epoch}")
    who = f"{row.holder} on {row.host} (process {row.pid})"
    if row.expires_at and row.expires_at < now:
        remedy = "Nothing to do: the next pass takes it over."
        return Check("lease", "warn", f"left behind by {who}, expired {ago(row.expires_at, now)}", remedy)
    return Check("lease", "warn", f"held by {who}, renewed {ago(row.renewed_at, now)}", "Wait for that pass to end.")
