"""The work behind `device history`: every firmware that a device ever ran or was ordered, and by whose word."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from fwctl.cli import evidence
from fwctl.cli.context import Context
from fwctl.cli.evidence import Said
from fwctl.cli.looking import unknown
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import load_repo
from fwctl.rollouts.compile import release_of
from fwctl.state import EventRow, Ledger, OrderRow, OrderStatus

_APPROVAL = re.compile(r"approvals/[^/]+/[^/]+/(?P<mandate>[0-9a-f]{64})/(?P<who>[^/]+)\.(?P<stage>\d+)\.dsse\.json")

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Approval:
    """Who signed that the device may run this, as the repository has it."""

    signer: str
    stage: int
    at: str
    """as written in the statement; empty if it cannot be read"""


@dataclass(frozen=True)
class Step:
    """One firmware on one device: by order, or found running without one."""

    version: str
    release: str
    mandate: str
    rollout: str
    wave: str
    attempt: int
    commit: str
    approvals: tuple[Approval, ...]
    found: datetime | None
    """seen running without an order of ours: the factory's, or drift"""
    ordered: datetime | None
    confirmed: datetime | None
    reverted: datetime | None
    outcome: str
    """confirmed, reverted, failed, cancelled, under way, found"""
    klass: str
    code: str
    said: Said | None
    image: str = ""
    """of what was found running: a factory image has no release"""


@dataclass(frozen=True)
class Lineage:
    """The steps, oldest first."""

    device: str
    running: str
    """the version that runs now, as last seen"""
    steps: tuple[Step, ...]


def device_history(settings: Context, name: str) -> Lineage:
    """Return the lineage of a device. What git dropped still has a past.

    Raises:
        InputError: `E_NO_DEVICE`: neither git nor the ledger knows it.
    """
    files = settings.files()
    repo = load_repo(files)
    with settings.ledger(repo.fleet.spec.repo_id) as ledger:
        rows = ledger.devices([name]) if ledger else ()
        if name not in repo.devices and not rows:
            raise unknown(
                name,
                list(repo.devices),
                what="device",
                code="E_NO_DEVICE",
                place="devices/",
                see="fwctl device list",
            )
        steps = tuple(_steps(ledger, repo, files, name)) if ledger else ()
    return Lineage(name, rows[0].running_version if rows else "", steps)


def _steps(ledger: Ledger, repo: FleetRepo, files: Mapping[str, bytes], device: str) -> Iterator[Step]:
    orders, events = ledger.orders(device=device), tuple(ledger.events(device=device))
    versions = {release_of(one.model).digest: version for (_, version), one in repo.firmware.items()}
    versions |= {
        str(e.data["release"]): str(e.data["version"])
        for e in events
        if e.data.get("release") and e.data.get("version")
    }
    commits = _commits(ledger, {order.rollout for order in orders}, {order.mandate for order in orders})
    said = {
        row.order: evidence.read(row)
        for mandate in dict.fromkeys(order.mandate for order in orders)
        for row in ledger.outcomes(mandate, device)
    }
    steps = [_ordered(order, orders, versions, commits, files, said) for order in orders if order.verb == "install"]
    steps += _found(events, {order.release for order in orders})
    yield from sorted(steps, key=lambda step: (step.ordered or step.found or _NEVER, step.attempt))


def _ordered(
    order: OrderRow,
    orders: tuple[OrderRow, ...],
    versions: Mapping[str, str],
    commits: Mapping[str, str],
    files: Mapping[str, bytes],
    said: Mapping[str, Said],
) -> Step:
    own = said.get(order.id)
    followed = {other.verb: other for other in orders if other.refers_to == order.id}
    back = next((followed[verb] for verb in ("revert", "cancel") if verb in followed), None)
    over = order.status is OrderStatus.SETTLED
    confirmed = order.finished_at if over and not order.failure_class else None
    by_itself = own is not None and own.row.result == "reverted"
    taken = back is not None and back.status is OrderStatus.SETTLED and back.failure_class != "refused"
    reverted = back.finished_at if back and taken else own.at if own and by_itself else None
    outcome = (
        "cancelled" if back and taken and back.verb == "cancel"
        else "reverted" if reverted
        else own.row.result if own and over
        else (order.reason or "confirmed") if over and not order.failure_class
        else "failed" if over
        else "under way"
    )  # fmt: skip
    latest = said.get(back.id, own) if back and not (own and own.bad) else own
    return Step(
        version=versions.get(order.release, "unknown"),
        release=order.release,
        mandate=order.mandate,
        rollout=order.rollout,
        wave=order.wave,
        attempt=order.attempt,
        commit=commits.get(order.mandate, ""),
        approvals=approvals_of(files, order.mandate),
        found=None,
        ordered=order.intended_at,
        confirmed=confirmed,
        reverted=reverted,
        outcome=outcome,
        klass=order.failure_class or (own.row.failure_class if own else ""),
        code=order.code or (own.row.code if own else ""),
        said=latest,
    )


def _found(events: tuple[EventRow, ...], ordered: set[str]) -> list[Step]:
    """Return what was seen running and that nobody here ordered; each image once in a row."""
    steps: list[Step] = []
    last = ""
    for event in events:
        image, release = str(event.data.get("image", "")), str(event.data.get("release", ""))
        if not event.kind.startswith("device.") or not image or image == last:
            continue
        last = image
        if release in ordered or any(step.image == image for step in steps):
            continue
        version = str(event.data.get("version", "")) or "unknown"
        steps.append(
            Step(version, release, "", "", "", 0, "", (), event.at, None, None, None, "found", "", "", None, image)
        )
    return steps


def _commits(ledger: Ledger, rollouts: set[str], mandates: set[str]) -> dict[str, str]:
    """Return mandate -> the first commit that a pass applied for it; it is told before the first of its orders."""
    found: dict[str, str] = {}
    for rollout in sorted(rollouts):
        for event in ledger.events(rollout=rollout):
            if mandates <= found.keys():
                break
            if event.kind.startswith("rollout.") and event.data.get("mandate"):
                found.setdefault(str(event.data["mandate"]), str(event.data.get("commit", "")))
    return found


def approvals_of(files: Mapping[str, bytes], mandate: str) -> tuple[Approval, ...]:
    """Return who signed an approval of this mandate, as the repository's files have it."""
    wanted, found = mandate.removeprefix("sha256:"), []
    for path, data in sorted(files.items()):
        match = _APPROVAL.fullmatch(path)
        if match and match["mandate"] == wanted:
            found.append(Approval(match["who"], int(match["stage"]), _approved_at(data)))
    return tuple(found)


def _approved_at(data: bytes) -> str:
    try:
        return str(json.loads(base64.b64decode(json.loads(data)["payload"]))["approvedAt"])
    except (ValueError, KeyError, TypeError):
        return ""
