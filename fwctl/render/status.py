"""Status as text and JSON: a header, and the waves as a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fwctl.reconcile.by_region import by_region, outside
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
from fwctl.trust.expiry import Expiring, ending
from fwctl.trust.expiry import as_json as expiry_json

if TYPE_CHECKING:
    from fwctl.cli.standing import Status
    from fwctl.reconcile.by_region import RegionSummary
    from fwctl.reconcile.summary import BackSummary, LimitSummary, Named, Summary, WaveSummary
    from fwctl.rollouts.standing import Standing

_SHOWN = 20


def text(status: Status) -> str:
    """Return the status for people; with the first devices of each wave that are not where they should be."""
    applied = f", applied {status.last_applied[:12]}" if status.last_applied else ", nothing applied yet"
    lines = [f"Fleet {status.repo_id}: {counted(status.devices, 'device')}, commit {status.commit[:12]}{applied}"]
    if status.as_of:
        lines.append(f"  as of {status.as_of:%H:%M:%S}Z: a pass is running")
    if status.dirty:
        names = ", ".join([*status.dirty[:2], *(["..."] if len(status.dirty) > 2 else [])])
        lines.append(f"  {counted(len(status.dirty), 'file')} not committed, which counts for nothing yet: {names}")
    if soon := ending(status.expiry):
        lines.append(f"  {expiry_line(soon, status.now)}")
    for one in status.rollouts:
        lines += ["", *rollout_text(one, status, shown=_SHOWN if status.detailed else 3)]
    if not status.rollouts:
        lines += ["", "No rollout is declared."]
    return "\n".join(lines)


def as_json(status: Status) -> str:
    """Return the status for programs; with all devices of rollouts that are not too large for it."""
    return document(
        {
            "repoId": status.repo_id,
            "commit": status.commit,
            "lastApplied": status.last_applied,
            "devices": status.devices,
            "asOf": stamp(status.as_of or status.now),
            "exact": status.as_of is None,
            "dirty": list(status.dirty),
            "rollouts": [rollout_json(one) for one in status.rollouts],
            "expiry": expiry_json(status.expiry),
        }
    )


RENDERERS: Mapping[str, Callable[[Status], str]] = {"text": text, "json": as_json}


def expiry_line(soon: Sequence[Expiring], now: datetime) -> str:
    """Return what ends first, and the command that renews it."""
    first = soon[0]
    verb = "expired" if first.level == "expired" else "ends"
    more = f"; {len(soon) - 1} more: fwctl doctor" if len(soon) > 1 else ""
    return f"{first.level}: {first.what} {verb} {ago(first.expires, now)}: {first.renew}{more}"


def rollout_text(one: Summary, status: Status, *, shown: int) -> list[str]:
    """Return one rollout: what it wants, where it stands and why, then its waves."""
    icon = STATE_ICONS.get(one.state, "·")
    lines = [f"{one.key}: {one.model} {one.version}: {icon} {one.state}"]
    lines += [f"  {label:<9} {value}" for label, value in _header(one, status) if value]
    if one.back is not None:
        lines += [f"  {label:<9} {value}" for label, value in back_lines(one.back)]
    width = max((len(wave.name) for wave in one.waves), default=0)
    size = max((len(counted(wave.size, "device")) for wave in one.waves), default=0)
    regions, rest = by_region(one.waves), outside(one.waves)
    for at, region in enumerate(regions):
        lines += _region(region, width, size, shown=shown, last=at == len(regions) - 1 and not rest, one=one)
    for at, wave in enumerate(rest):
        lines += _wave(wave, width, size, shown=shown, last=at == len(rest) - 1, one=one)
    return lines


def _header(one: Summary, status: Status) -> list[tuple[str, str]]:
    since = f"{one.since:%Y-%m-%d %H:%M:%S}Z, {ago(one.since, status.now)}" if one.since else ""
    staged = f", stage {one.approved_stage} of {one.stages}" if one.stages > 1 else ""
    approved = (", ".join(one.approvers) or "by nobody") + staged if one.approvers is not None else ""
    return [
        ("reason", visible(one.reason)),
        ("rule", one.rule),
        ("since", since),
        ("approved", approved),
        *(("stale", path) for path in one.stale[:3]),
        *(("aside", visible(told)) for told in one.set_aside),
        ("devices", standing_counts(one.counts) or "none"),
        *(("limit", limit_line(limit)) for limit in one.limits),
    ]


def _limit_json(one: LimitSummary) -> dict[str, Any]:
    return {"limit": one.limit, "value": one.value, "waiting": one.waiting, "note": one.note, "until": stamp(one.until)}


def limit_line(one: LimitSummary) -> str:
    """Return how many devices a limit holds."""
    until = f", the next from {one.until:%H:%M:%S}Z" if one.until else ""
    note = f", {one.note}" if one.note else ""
    verb = "waits" if one.waiting == 1 else "wait"
    return visible(f"{one.limit} {one.value}: {one.waiting:,} {verb}{note}{until}")


def measured(seconds: float) -> str:
    """Return a time as the ledger can know it: it keeps whole seconds."""
    return f"{seconds:g} s" if seconds >= 1 else "under 1 s"


def back_lines(back: BackSummary) -> list[tuple[str, str]]:
    """Return the measured times of a rollback beside the declared deadline."""
    names = (("p50", back.p50), ("p95", back.p95), ("max", back.longest))
    told = ", ".join(f"{name} {measured(value)}" for name, value in names if value is not None)
    verdict = {True: "met", False: "MISSED", None: "still open"}[back.met] if told or back.waiting else "nothing to do"
    lines = [("back", f"{told or 'no device yet'}; deadline {exactly(back.deadline)}: {verdict}")]
    if back.late_longest is not None:
        away = f"{counted(back.late_devices, 'device')} out of reach meanwhile"
        lines.append(("returned", f"{away}, the last after {back.late_longest:g} s"))
    return lines


def standing_counts(counts: Mapping[str, int]) -> str:
    """Return how many devices stand where, with icon and word."""
    return ", ".join(f"{ICONS[state]} {counts[state]} {state}" for state in STANDINGS if counts.get(state))


def wave_state(wave: WaveSummary) -> str:
    """Return the state word; a soak with its end."""
    until = wave.soak_until
    return f"soaking until {until:%H:%M:%S}Z" if wave.state == "soaking" and until else wave.state


def _wave(wave: WaveSummary, width: int, size: int, *, shown: int, last: bool, one: Summary) -> list[str]:
    branch, trunk = ("└─", "  ") if last else ("├─", "│ ")
    devices = counted(wave.size, "device")
    head = f"{wave.name:<{width}}  {devices:>{size}}  {WAVE_ICONS[wave.state]} {wave_state(wave)}"
    counts = standing_counts(wave.counts)
    lines = [f"  {branch} {head}" + (f": {counts}" if counts else "")]
    if wave.reason and not wave.reason.startswith(f"{wave.name} soaks until"):
        lines.append(f"  {trunk}   because {visible(wave.reason)}")
    flying = shown > 3 and one.state not in ("paused", "held", "stopped", "aborted")
    named = [*wave.attention, *(wave.under_way if flying else ())][:shown]
    lines += [f"  {trunk}   {ICONS[who.state]} {who.device}  {who.state}: {visible(who.reason)}" for who in named]
    told = sum(1 for who in named if who.state != "held")
    more = wave.needy + (wave.counts.get("in-flight", 0) if flying else 0) - told
    if more > 0:
        lines.append(f"  {trunk}   ... and {more} more (fwctl device list --rollout {one.key})")
    return lines


def _region(region: RegionSummary, width: int, size: int, *, shown: int, last: bool, one: Summary) -> list[str]:
    """Return a region with its waves below it; the line says what they come to together."""
    branch, trunk = ("└─", "  ") if last else ("├─", "│ ")
    devices, until = counted(region.size, "device"), region.soak_until
    state = f"soaking until {until:%H:%M:%S}Z" if until else region.state
    told = ", ".join(part for part in (standing_counts(region.counts), region.window) if part)
    head = f"{region.name:<{width + 3}}  {devices:>{size}}  {WAVE_ICONS[region.state]} {state}"
    lines = [f"  {branch} {head}" + (f": {told}" if told else "")]
    for at, wave in enumerate(region.waves):
        inner = _wave(wave, width, size, shown=shown, last=at == len(region.waves) - 1, one=one)
        lines += [f"  {trunk} {line[2:]}" for line in inner]
    return lines


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return {state: counts[state] for state in STANDINGS if counts.get(state)}


def rollout_json(one: Summary) -> dict[str, Any]:
    """Return one rollout for programs, with its waves; `devices` is null where they are too many for it."""
    return {
        "rollout": one.key,
        "state": one.state,
        "reason": one.reason,
        "rule": one.rule or None,
        "since": stamp(one.since),
        "plan": one.plan,
        "mandate": one.mandate or None,
        "approvedStage": one.approved_stage,
        "approvers": list(one.approvers or ()),
        **({"setAside": list(one.set_aside)} if one.set_aside else {}),
        "staleApprovals": list(one.stale),
        "nextDue": stamp(one.next_due),
        **({"limits": [_limit_json(limit) for limit in one.limits]} if one.limits else {}),
        "size": one.size,
        "counts": _ordered(one.counts),
        "waves": [wave_json(wave) for wave in one.waves],
        **regions_json(one.waves),
        "rollback": back_json(one.back) if one.back else None,
        "devices": None if one.devices is None else standings_json(one.devices),
    }


def wave_json(wave: WaveSummary) -> dict[str, Any]:
    """Return one wave for programs."""
    return {
        "name": wave.name,
        "stage": wave.stage,
        "state": wave.state,
        "reason": wave.reason,
        "size": wave.size,
        "counts": _ordered(wave.counts),
        "attention": standings_json(wave.attention),
        "soakSeconds": wave.soak,
        "openedAt": stamp(wave.opened),
        "soakSince": stamp(wave.soak_since),
        "soakUntil": stamp(wave.soak_until),
        "judgedAt": stamp(wave.judged),
        **({"region": wave.region} if wave.region else {}),
    }


def regions_json(waves: Iterable[WaveSummary]) -> dict[str, Any]:
    """Return the regions for programs; nothing of a rollout that has none."""
    regions = [
        {
            "name": region.name,
            "state": region.state,
            "size": region.size,
            "counts": _ordered(region.counts),
            "window": region.window or None,
            "openedAt": stamp(region.opened),
            "judgedAt": stamp(region.judged),
        }
        for region in by_region(waves)
    ]
    return {"regions": regions} if regions else {}


def back_json(back: BackSummary) -> dict[str, Any]:
    """Return the measured times of a rollback for programs; seconds."""
    return {
        "since": stamp(back.since),
        "deadlineSeconds": back.deadline,
        "met": back.met,
        "devices": back.devices,
        "waiting": back.waiting,
        "p50": back.p50,
        "p95": back.p95,
        "max": back.longest,
        "returnedLater": dict(back.late),
        "returnedLaterDevices": back.late_devices,
    }


def standings_json(standings: Iterable[Standing | Named]) -> list[dict[str, Any]]:
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
