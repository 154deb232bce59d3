"""What a person decided about a rollout or a device, as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fwctl.render.words import ago, columns, counted, document, stamp

if TYPE_CHECKING:
    from datetime import datetime

    from fwctl.cli.controlling import Done, Proposal
    from fwctl.cli.quarantining import Decided
    from fwctl.state import QuarantineRow

_HEADS: Mapping[str, str] = {
    "pause": "Pausing",
    "resume": "Resuming",
    "promote": "Promoting",
    "abort": "Aborting",
    "rollback": "Rolling back",
}

_DONE: Mapping[str, str] = {
    "pause": "paused",
    "resume": "resumed",
    "promote": "{waves} promoted",
    "abort": "aborted",
    "rollback": "rollback ordered",
}


def meaning(proposal: Proposal) -> str:
    """Return what it means for devices, before anything is done."""
    lines = [f"{_HEADS[proposal.wish.verb]} {proposal.key} means:"]
    if not proposal.seen:
        lines.append("  This machine has no ledger: how far the devices are, only their reconciler knows.")
    known: list[tuple[str, ...]] = [
        (f"{one.who}:", counted(one.devices, "device"), one.what) for one in proposal.effects if one.devices
    ]
    rows = known or [(f"{one.who}:", one.what) for one in proposal.effects]
    return "\n".join([*lines, *columns(rows, indent="  ")])


def text(done: Done) -> str:
    """Return what was written, and what a pass at once brought."""
    proposal, spec = done.proposal, done.proposal.spec
    if proposal.standing:
        lines = [f"{proposal.standing}. Nothing was changed."]
    else:
        what = _DONE[proposal.wish.verb].format(waves=", ".join(spec.promoted))
        lines = [f"{proposal.key}: {what} by {spec.actor}, commit {done.commit[:12]}"]
        lines.append(f"wrote   {proposal.path}")
    if done.report is not None:
        counts = ", ".join(f"{number} {state}" for state, number in sorted(done.report.counts.items()) if number)
        lines.append(f"now     {done.report.state}: {done.report.reason}")
        lines += [f"devices {counts}"] if counts else []
    return "\n".join(lines)


def as_json(done: Done) -> str:
    """Return the same for programs."""
    proposal, spec, report = done.proposal, done.proposal.spec, done.report
    written = {
        "path": proposal.path,
        "state": spec.state,
        "reason": spec.reason,
        "actor": spec.actor,
        "revert": spec.revert,
        "promoted": list(spec.promoted),
        "mandate": spec.mandate,
    }
    effects = [{"who": one.who, "devices": one.devices, "what": one.what} for one in proposal.effects]
    now = {"state": report.state, "reason": report.reason, "counts": dict(report.counts)} if report else None
    return document(
        {
            "rollout": proposal.key,
            "verb": proposal.wish.verb,
            "changed": not proposal.standing,
            "stands": proposal.standing,
            "commit": done.commit,
            "written": None if proposal.standing else written,
            "effects": effects,
            "now": now,
        }
    )


CONTROL: Mapping[str, Callable[[Done], str]] = {"text": text, "json": as_json}


def after(done: Done) -> tuple[str, ...]:
    """Return what to type next."""
    proposal, key = done.proposal, done.proposal.key
    see = f"fwctl status {key}"
    if done.report is not None and done.report.state != "rolling-back":
        return (see, f"fwctl resume {key} --reason WHY") if proposal.wish.verb == "pause" else (see,)
    if proposal.standing and proposal.wish.verb != "pause":
        return (see,)
    more = (f"fwctl resume {key} --reason WHY",) if proposal.wish.verb == "pause" else (see,)
    return ("fwctl reconcile --once", *more)


def quarantine_text(rows: Sequence[QuarantineRow], now: datetime) -> str:
    """Return one line per device in quarantine."""
    if not rows:
        return "No device is in quarantine."
    table = [("DEVICE", "SINCE", "BY", "ROLLOUT", "REASON")]
    table += [(row.device, ago(row.since, now), row.actor, row.rollout or "none", row.reason) for row in rows]
    return "\n".join(columns(table))


def quarantine_json(rows: Sequence[QuarantineRow], now: datetime) -> str:  # noqa: ARG001  one signature for all formats
    """Return the devices in quarantine for programs."""
    return document({"quarantine": [_row(row) for row in rows]})


QUARANTINE: Mapping[str, Callable[[Sequence[QuarantineRow], datetime], str]] = {
    "text": quarantine_text,
    "json": quarantine_json,
}


def decided_text(one: Decided) -> str:
    """Return what was recorded about a device."""
    if not one.changed:
        return f"{one.device} {one.words}. Nothing was changed."
    return f"{one.device} {one.words}, by {one.actor}: {one.reason}"


def decided_json(one: Decided) -> str:
    """Return the same for programs."""
    fields = {"changed": one.changed, "quarantined": one.quarantined, "reason": one.reason, "actor": one.actor}
    return document({"device": one.device, **fields})


DECIDED: Mapping[str, Callable[[Decided], str]] = {"text": decided_text, "json": decided_json}


def _row(row: QuarantineRow) -> dict[str, Any]:
    return {
        "device": row.device,
        "reason": row.reason,
        "rollout": row.rollout,
        "actor": row.actor,
        "since": stamp(row.since),
    }
