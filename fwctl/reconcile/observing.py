"""What every visit begins with, and what is written where it cannot: what a device says, or that it does not answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fwctl.errors import DeviceError
from fwctl.fleet.interface import DeviceLink
from fwctl.manifests.models.rollout_parts import Backoff
from fwctl.reconcile import records
from fwctl.reconcile.believing import check_running, document_of
from fwctl.reconcile.tools import Recorder, Tools
from fwctl.rollouts.failures import backoff
from fwctl.state import Change, DeviceUnreachable, to_json
from fwctl_agent.protocol.messages import DeviceDocument
from fwctl_agent.protocol.statements import Outcome


@dataclass(frozen=True)
class Observed:
    """What a device said of itself, when, and what of it comes late: the changes of outcomes that never reached us."""

    document: DeviceDocument
    at: datetime
    late: tuple[Change, ...]


async def observe(tools: Tools, link: DeviceLink) -> Observed:
    """Ask a device what it says of itself, and learn what it proves.

    Raises:
        DeviceError: it cannot be asked, or it contradicts itself.
    """
    document = await document_of(link, tools.state)
    now = tools.clock()
    await tools.pen.learn(document, now)
    return Observed(document, now, tuple(_late(tools, link, document, now)))


def unreachable(tools: Tools, device: str, error: DeviceError, policy: Backoff) -> DeviceUnreachable:
    """Return that a device could not be talked to, and when to try again."""
    now, row = tools.clock(), next(iter(tools.ledger.devices([device])), None)
    misses = 1 + (row.failure_count if row is not None and not row.reachable else 0)
    due, reason = now + backoff(policy, device=device, failures=misses), f"{error.code}: {error.message}"
    return DeviceUnreachable(at=now, device=device, reason=reason, next_due=due)


async def missed(
    tools: Tools, recorder: Recorder, rollout: str, device: str, error: DeviceError, policy: Backoff
) -> None:
    """Record that a device of a rollout could not be talked to."""
    change = unreachable(tools, device, error, policy)
    await recorder.write(change)
    tools.watcher.progressed(rollout, device, "unreachable", change.reason)


def _late(tools: Tools, link: DeviceLink, document: DeviceDocument, now: datetime) -> list[Change]:
    """Return the changes of outcomes that never reached us (R06). One that the device did not sign changes nothing."""
    if not document.outcomes:
        return []
    found: list[Change] = []
    outcomes: list[Outcome] = []
    recorded, repo_id = tools.ledger.outcome_envelopes(document.id), tools.state.repo.fleet.spec.repo_id
    for envelope in document.outcomes:
        if to_json(envelope) in recorded or _same_statement(envelope, recorded):
            continue  # it was proved when it was recorded
        try:
            outcome, changes = records.received(
                tools.ledger,
                envelope,
                certificate=link.peer_certificate or "",
                device=document.id,
                repo_id=repo_id,
                now=now,
            )
            check_running(outcome.running, tools.state, document.id)
        except DeviceError:
            continue
        found += changes
        outcomes.append(outcome)
    told = {outcome.order for outcome in outcomes}
    for outcome in outcomes:
        found += records.cut_off(tools.ledger, tools.ledger.order(outcome.order), outcome, now, but=told)
    return found


def _same_statement(envelope: Mapping[str, Any], recorded: Iterable[str]) -> bool:
    """Say whether a statement is recorded under another signature: a new key signs again what a device keeps."""
    payload = json.dumps(envelope.get("payload"))
    return any(payload in text for text in recorded)
