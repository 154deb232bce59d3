"""Why something does not move, as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fwctl.render.words import ICONS, STATE_ICONS, ago, counted, document, labelled, stamp, visible

if TYPE_CHECKING:
    from fwctl.cli.stuck import Case, Stuck

_SHOWN = 5


def text(found: Sequence[Stuck]) -> str:
    """Return for each rollout: where it stands, then case by case the rule, the devices, the evidence, the way on."""
    return "\n\n".join(_one(one) for one in found)


def _one(one: Stuck) -> str:
    what = f"Device {one.device} in {one.rollout}" if one.device else f"Rollout {one.rollout}"
    pairs = [("because", visible(one.reason))]
    if (cause := one.cause) is not None:
        if cause.reason != one.reason:
            pairs.append(("before", visible(cause.reason)))
        at = f"{cause.at:%Y-%m-%d %H:%M:%S}Z, {ago(cause.at, one.now)}, by {visible(cause.actor)}"
        pairs += [("rule", str(cause.data.get("rule", ""))), ("since", at)]
    elif one.since:
        pairs.append(("since", f"{one.since:%Y-%m-%d %H:%M:%S}Z, {ago(one.since, one.now)}"))
    pairs.append(("changes", one.change))
    pairs += [("aside", visible(told)) for told in one.set_aside]
    lines = [f"{what}: {STATE_ICONS.get(one.state, '·')} {one.state}", *labelled(pair for pair in pairs if pair[1])]
    for case in one.cases:
        lines += ["", *_case(case, one)]
    if not one.cases:
        what = "the device" if one.device else "every device"
        where = f": {visible(one.here)}" if one.here else ""
        lines += ["", f"Nothing waits: {what} is where it should be{where}."]
    elif not one.device and one.moving:
        lines += ["", f"{counted(one.moving, 'device')} not shown: where it should be."]
    return "\n".join(lines)


def _case(case: Case, one: Stuck) -> list[str]:
    rule = f" ({case.rule})" if case.rule else ""
    lines = [f"  {ICONS[case.state]} {counted(len(case.devices), 'device')} {case.state}{rule}"]
    for standing in case.devices[:_SHOWN]:
        lines.append(f"    {standing.device}  {visible(standing.reason)}")
        lines += [f"      probe {visible(probe.words)}" for probe in case.probes.get(standing.device, ())]
    if len(case.devices) > _SHOWN:
        lines.append(f"    ... and {len(case.devices) - _SHOWN} more (--format json lists all)")
    due = f", due {case.due:%Y-%m-%d %H:%M:%S}Z ({ago(case.due, one.now)})" if case.due and case.due > one.now else ""
    lines.append(f"    changes: {visible(case.change)}{due}")
    lines += [f"      {command}" for command in case.commands]
    return lines


def as_json(found: Sequence[Stuck]) -> str:
    """Return the explanation for programs, with all devices."""
    return document({"explained": [_json(one) for one in found]})


def _json(one: Stuck) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "rollout": one.rollout,
        "device": one.device or None,
        "state": one.state,
        "reason": one.reason,
        "change": one.change or None,
        **({"standing": one.here} if one.here else {}),
        **({"setAside": list(one.set_aside)} if one.set_aside else {}),
        "cause": {
            "kind": one.cause.kind,
            "rule": one.cause.data.get("rule") or None,
            "reason": one.cause.reason,
            "actor": one.cause.actor,
            "at": stamp(one.cause.at),
        }
        if one.cause
        else None,
        "since": stamp(one.since),
        "nextDue": stamp(one.next_due),
        "commands": list(one.commands),
        "cases": [
            {
                "state": case.state,
                "rule": case.rule,
                "change": case.change,
                "commands": list(case.commands),
                "due": stamp(case.due),
                "devices": [
                    {
                        "device": s.device,
                        "reason": s.reason,
                        "due": stamp(s.due),
                        "evidence": [probe.to_json() for probe in case.probes.get(s.device, ())],
                    }
                    for s in case.devices
                ],
            }
            for case in one.cases
        ],
    }


RENDERERS: Mapping[str, Callable[[Sequence[Stuck]], str]] = {"text": text, "json": as_json}
