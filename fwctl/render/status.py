"""Status as text and JSON: a header, and the waves as a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fwctl.render.words import (
    ICONS,
    STANDINGS,
    STATE_ICONS,
    WAVE_ICONS,
    ago,
    counted,
    document,
    exactly,
    stamp,
    visible,
)

if TYPE_CHECKING:
    from fwctl.cli.standing import RolloutStatus, Status
    from fwctl.cli.waving import WaveLine, WayBack
    from fwctl.rollouts.standing import Standing

_SHOWN = 20
_ATTENTION = ("failed", "straggler", "retry")
"""states of devices that somebody should know of"""


def text(status: Status) -> str:
    """Return the status for people; with all devices that are not where they should be, if one was asked for."""
    applied = f", applied {status.last_applied[:12]}" if status.last_applied else ", nothing applied yet"
    lines = [f"Fleet {status.repo_id}: {counted(status.devices, 'device')}, commit {status.commit[:12]}{applied}"]
    if status.dirty:
        names = ", ".join([*status.dirty[:2], *(["..."] if len(status.dirty) > 2 else [])])
        lines.append(f"  {counted(len(status.dirty), 'file')} not committed, which counts for nothing yet: {names}")
    for one in status.rollouts:
        lines += ["", *rollout_text(one, status, shown=_SHOWN if status.detailed else 3)]
    if not status.rollouts:
        lines += ["", "No rollout is declared."]
    return "\n".join(lines)


def as_json(status: Status) -> str:
    """Return the status for programs, with all devices."""
    return document(
        {
            "repoId": status.repo_id,
            "commit": status.commit,
            "lastApplied": status.last_applied,
            "devices": status.devices,
            "dirty": list(status.dirty),
            "rollouts": [rollout_json(one) for one in status.rollouts],
        }
    )


RENDERERS: Mapping[str, Callable[[Status], str]] = {"text": text, "json": as_json}


def rollout_text(one: RolloutStatus, status: Status, *, shown: int) -> list[str]:
    """Return one rollout: what it wants, where it stands and why, then its waves."""
    plan = one.prepared.plan
    icon = STATE_ICONS.get(one.state, "·")
    lines = [f"{plan.key}: {plan.release.model} {plan.release.version}: {icon} {one.state}"]
    lines += [f"  {label:<9} {value}" for label, value in _header(one, status) if value]
    if one.back is not None:
        lines += [f"  {label:<9} {value}" for label, value in back_lines(one.back)]
    width = max((len(line.wave.name) for line in one.waves), default=0)
    size = max((len(counted(len(line.wave.devices), "device")) for line in one.waves), default=0)
    for at, line in enumerate(one.waves):
        lines += _wave(line, width, size, shown=shown, last=at == len(one.waves) - 1, here=one.state)
    return lines


def _header(one: RolloutStatus, status: Status) -> list[tuple[str, str]]:
    row, verdict, plan = one.recorded, one.prepared.verdict, one.prepared.plan
    since = f"{row.updated_at:%Y-%m-%d %H:%M:%S}Z, {ago(row.updated_at, status.now)}" if row else ""
    stages = max((wave.stage for wave in plan.waves), default=1)
    staged = f", stage {one.prepared.approved_stage} of {stages}" if stages > 1 else ""
    approved = (", ".join(verdict.approvers) or "by nobody") + staged if verdict else ""
    stale = [("stale", path) for path in verdict.stale[:3]] if verdict else []
    return [
        ("reason", visible(one.reason)),
        ("rule", row.rule if row else ""),
        ("since", since),
        ("approved", approved),
        *stale,
        ("devices", standing_counts(one.standings) or "none"),
    ]


def measured(seconds: float) -> str:
    """Return a time as the ledger can know it: it keeps whole seconds."""
    return f"{seconds:g} s" if seconds >= 1 else "under 1 s"


def back_lines(back: WayBack) -> list[tuple[str, str]]:
    """Return the measured times of a rollback beside the declared deadline."""
    names = (("p50", back.quantile(0.5)), ("p95", back.quantile(0.95)), ("max", back.longest))
    told = ", ".join(f"{name} {measured(value)}" for name, value in names if value is not None)
    verdict = {True: "met", False: "MISSED", None: "still open"}[back.met] if told or back.waiting else "nothing to do"
    lines = [("back", f"{told or 'no device yet'}; deadline {exactly(back.deadline)}: {verdict}")]
    if back.late:
        away = f"{counted(len(back.late), 'device')} out of reach meanwhile"
        lines.append(("returned", f"{away}, the last after {max(back.late.values()):g} s"))
    return lines


def standing_counts(standings: Iterable[Standing]) -> str:
    """Return how many devices stand where, with icon and word."""
    counts: Counter[str] = Counter(standing.state for standing in standings)
    return ", ".join(f"{ICONS[state]} {counts[state]} {state}" for state in STANDINGS if counts[state])


def wave_state(line: WaveLine) -> str:
    """Return the state word; a soak with its end."""
    until = line.soak_until
    return f"soaking until {until:%H:%M:%S}Z" if line.state == "soaking" and until else line.state


def _wave(line: WaveLine, width: int, size: int, *, shown: int, last: bool, here: str) -> list[str]:
    branch, trunk = ("└─", "  ") if last else ("├─", "│ ")
    devices = counted(len(line.wave.devices), "device")
    head = f"{line.wave.name:<{width}}  {devices:>{size}}  {WAVE_ICONS[line.state]} {wave_state(line)}"
    counts = standing_counts(line.standings)
    lines = [f"  {branch} {head}" + (f": {counts}" if counts else "")]
    if line.reason and not line.reason.startswith(f"{line.wave.name} soaks until"):
        lines.append(f"  {trunk}   because {visible(line.reason)}")
    wanted = [one for one in line.standings if one.state in _ATTENTION or (one.state == "in-flight" and shown > 3)]
    if here in ("paused", "held", "stopped", "aborted"):
        wanted = [one for one in wanted if one.state != "in-flight"]
    lines += [
        f"  {trunk}   {ICONS[one.state]} {one.device}  {one.state}: {visible(one.reason)}" for one in wanted[:shown]
    ]
    if len(wanted) > shown:
        lines.append(f"  {trunk}   ... and {len(wanted) - shown} more (--format json lists all)")
    return lines


def rollout_json(one: RolloutStatus) -> dict[str, Any]:
    """Return one rollout for programs, with its waves and all devices."""
    prepared, row = one.prepared, one.recorded
    return {
        "rollout": prepared.key,
        "state": one.state,
        "reason": one.reason,
        "rule": row.rule if row and row.rule else None,
        "since": stamp(row.updated_at) if row else None,
        "plan": prepared.plan.digest,
        "mandate": prepared.mandate.id if prepared.mandate else None,
        "approvedStage": prepared.approved_stage,
        "approvers": list(prepared.verdict.approvers) if prepared.verdict else [],
        "staleApprovals": list(prepared.verdict.stale) if prepared.verdict else [],
        "nextDue": stamp(one.next_due),
        "waves": [wave_json(line) for line in one.waves],
        "rollback": back_json(one.back) if one.back else None,
        "devices": standings_json(one.standings),
    }


def wave_json(line: WaveLine) -> dict[str, Any]:
    """Return one wave for programs."""
    return {
        "name": line.wave.name,
        "stage": line.wave.stage,
        "state": line.state,
        "reason": line.reason,
        "size": len(line.wave.devices),
        "counts": dict(line.counts),
        "soakSeconds": line.wave.soak,
        "openedAt": stamp(line.opened),
        "soakSince": stamp(line.soak_since),
        "soakUntil": stamp(line.soak_until),
        "judgedAt": stamp(line.judged),
    }


def back_json(back: WayBack) -> dict[str, Any]:
    """Return the measured times of a rollback for programs; seconds."""
    return {
        "since": stamp(back.since),
        "deadlineSeconds": back.deadline,
        "met": back.met,
        "devices": len(back.times),
        "waiting": back.waiting,
        "p50": back.quantile(0.5),
        "p95": back.quantile(0.95),
        "max": back.longest,
        "returnedLater": dict(back.late),
    }


def standings_json(standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return where devices stand, for programs."""
    return [
        {
            "device": s.device,
            "state": s.state,
            "reason": s.reason,
            "rule": s.rule,
            "class": s.klass,
            "due": stamp(s.due),
        }
        for s in standings
    ]
