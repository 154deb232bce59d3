"""Write down everything that a rollout rests on: what was approved by whom, and what devices signed about it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fwctl import __version__
from fwctl.audit import folder
from fwctl.audit.folder import Folder
from fwctl.errors import InputError, TrustRefused
from fwctl.files import disk_errors, sync_folder
from fwctl.gitrepo.objects import read_objects
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.rollouts.compile import lock_path
from fwctl.state import EventRow, Ledger, OutcomeRow, RolloutRow
from fwctl.state.times import to_text
from fwctl.trust.authority import TRUST, approval_folder
from fwctl_agent.protocol import canonical

Readout = tuple[str, Mapping[str, bytes], CommitState, Path]
"""commit id, its files, what it says as of a moment, and where its objects lie"""
Read = Callable[[str, datetime], Readout]
"""a ref and a moment -> what is there"""


@dataclass(frozen=True)
class Exported:
    """What was written where."""

    path: Path
    rollout: str
    mandate: str
    commit: str
    outcomes: int
    events: tuple[int, int]
    """first and last number of the slice"""
    newer: str = ""
    """the mandate that is approved by now, if it is another one: of that nothing has run, and nothing is shown"""


def export(ledger: Ledger, key: str, read: Read, *, device_ca: bytes, out: Path) -> Exported:
    """Write the evidence about the mandate that a rollout runs, or ran last, into the new folder `out`.

    A folder that a kill left without its index is not taken for evidence.

    Raises:
        InputError: `E_EXISTS`, `E_NO_REPORT`; or `E_AUDIT`, git has no longer what was applied.
    """
    row = ledger.rollout(key)
    if row is None or not row.mandate:
        raise InputError(
            "nothing has happened yet, so there is nothing to show",
            code="E_NO_REPORT",
            place=key,
            remedy=f"fwctl status {key}",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("there is something already", code="E_EXISTS", place=str(out), remedy="Choose another --out.")
    stage = max((order.stage for order in ledger.stream_orders(mandate=row.mandate)), default=1)
    as_of, (commit, files, state, git_dir) = _choose(row, read, _moments(ledger, row), stage)
    prepared = state.rollouts[key]
    chosen = {path: files[path] for path in _paths(prepared, files)}
    with disk_errors(out):
        small = {f"{folder.REPOSITORY}{path}": data for path, data in chosen.items()}
        for name, data in read_objects(git_dir, commit, chosen).items():
            small[f"{folder.COMMIT if name == commit else folder.TREES}{name}"] = data
        small[folder.PLAN] = canonical.encode(prepared.plan.to_json())
        small[folder.DEVICE_CA] = device_ca
        for name, data in small.items():
            _write(out / name, iter((data,)))
        outcomes = _write(out / folder.OUTCOMES, (_outcome(one) for one in ledger.outcomes(row.mandate)))
        first, last = _range(ledger, row)
        _write(out / folder.EVENTS, (_event(one) for one in _slice(ledger, first, last)))
        _index(out, row, commit, state.repo.fleet.spec.repo_id, as_of)
    return Exported(out, key, row.mandate, commit, outcomes, (first, last))


def _moments(ledger: Ledger, row: RolloutRow) -> list[tuple[str, datetime]]:
    """Return the commits that may prove it, each as of a moment at which a pass worked on it, newest first.

    An approver who was revoked since, or an approval that has lapsed, does not unsay what was approved then.
    """
    moved = [
        (str(event.data["commit"]), event.at)
        for event in ledger.events(rollout=row.key)
        if event.kind.startswith("rollout.") and event.data.get("mandate") == row.mandate and event.data.get("commit")
    ]
    return list(dict.fromkeys([("HEAD", row.updated_at), (row.commit, row.updated_at), *reversed(moved)]))


def _choose(row: RolloutRow, read: Read, moments: list[tuple[str, datetime]], stage: int) -> tuple[datetime, Readout]:
    """Return the first of these that says what was applied, approved far enough; else the first that says it."""
    found = None
    for ref, as_of in moments:
        try:
            readout = read(ref, as_of)
        except (InputError, TrustRefused):
            continue
        prepared = readout[2].rollouts.get(row.key)
        if prepared is None or prepared.mandate is None or prepared.mandate.id != row.mandate:
            continue
        if prepared.approved_stage >= stage:
            return as_of, readout
        found = found or (as_of, readout)
    if found is None:
        raise InputError(
            f"no commit here says what was applied ({row.commit[:12]})",
            code="E_AUDIT",
            place=row.key,
            remedy="Export it from a clone that has this commit: git fetch --unshallow.",
        )
    return found


def _paths(prepared: Prepared, files: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the files that the mandate rests on."""
    mandate, plan = prepared.mandate, prepared.plan
    if mandate is None:
        raise TypeError("only what has a mandate was applied")
    firmware = tuple(f"firmware/{one.model}/{one.version}." for one in (*plan.stops, plan.release))
    approvals = f"{approval_folder(mandate.env, mandate.name)}{mandate.id.removeprefix('sha256:')}/"
    wanted = ("fleet.yaml", prepared.rollout.path, lock_path(prepared.rollout.path))
    for path in files:
        if path in wanted or path.startswith((*firmware, approvals, TRUST)):
            yield path


def _range(ledger: Ledger, row: RolloutRow) -> tuple[int, int]:
    """Return the numbers of the first and the last event about the mandate."""
    first = last = 0
    current = ""
    for event in ledger.events(rollout=row.key):
        told = event.data.get("mandate")
        current = str(told) if told and event.kind.startswith("rollout.") else current
        if row.mandate == (told or current):
            first, last = first or event.seq, event.seq
    return first, last


def _slice(ledger: Ledger, first: int, last: int) -> Iterator[EventRow]:
    for event in ledger.events(since_seq=first - 1) if first else ():
        if event.seq > last:
            return
        yield event


def _outcome(row: OutcomeRow) -> bytes:
    return _line({"device": row.device, "order": row.order, "certificate": row.certificate, "envelope": row.envelope})


def _event(event: EventRow) -> bytes:
    return _line(
        {
            "seq": event.seq,
            "at": to_text(event.at),
            "kind": event.kind,
            "rollout": event.rollout,
            "device": event.device,
            "order": event.order,
            "reason": event.reason,
            "actor": event.actor,
            "data": event.data,
            "prev": event.prev,
            "hash": event.hash,
        }
    )


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _write(path: Path, parts: Iterator[bytes]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def _index(out: Path, row: RolloutRow, commit: str, repo_id: str, as_of: datetime) -> None:
    """Write the index last: it makes the folder whole."""
    where = Folder(out)
    about = {
        "schemaVersion": folder.SCHEMA,
        "madeBy": f"fwctl {__version__}",
        "repoId": repo_id,
        "rollout": row.key,
        "mandate": row.mandate,
        "commit": commit,
        "state": str(row.state),
        "asOf": to_text(as_of),
        "files": {name: where.digest(name) for name in sorted(where.names())},
    }
    _write(out / folder.INDEX, iter((json.dumps(about, indent=1, sort_keys=True).encode() + b"\n",)))
    sync_folder(out)
