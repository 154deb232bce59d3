"""Devices as text and JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from fwctl.render.words import ICONS, ago, columns, counted, document, labelled, some, stamp, visible

if TYPE_CHECKING:
    from fwctl.cli.bills import Found
    from fwctl.cli.looking import DeviceLine
    from fwctl.cli.picking import DeviceDetail

_PART = 500
_HEAD = ("DEVICE", "MODEL", "ENV", "RUNS", "SEEN", "STATE")


def list_text(lines: Iterable[DeviceLine], now: datetime, sought: Found | None = None) -> Iterator[str]:
    """Yield one line per device, in parts as they come, and a closing count by state.

    Where a component is sought, also who may run it without anybody knowing.
    """
    widths: list[int] = []
    counts: Counter[str] = Counter()
    left = iter(lines)
    while part := tuple(islice(left, _PART)):
        rows = [_row(one, now) for one in part]
        rows[:0] = [] if widths else [_HEAD]
        widths = [max(known, *(len(row[at]) for row in rows)) for at, known in enumerate(widths or [0] * len(_HEAD))]
        counts.update(one.state for one in part)
        yield "\n".join(_line(row, widths) for row in rows) + "\n"
    told = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    yield f"\n{counted(counts.total(), 'device')}: {told}.\n" if counts else "No device matches.\n"
    if sought is not None and sought.unknown:
        number = len(sought.unknown)
        head = (
            f"\nNot known whether {counted(number, 'device')} run{'s' * (number == 1)} {visible(sought.wanted.text)}:"
        )
        yield "\n".join([head, *some([f"  {device}: {why}" for device, why in sought.unknown.items()])]) + "\n"


def _row(one: DeviceLine, now: datetime) -> tuple[str, ...]:
    return one.device.id, one.device.model, one.device.env, one.runs, _seen(one, now), _state(one)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{cell:<{width}}  " for cell, width in zip(row[:-1], widths, strict=False)) + row[-1]


def list_json(
    lines: Iterable[DeviceLine],
    now: datetime,  # noqa: ARG001  one signature for all formats
    sought: Found | None = None,
) -> Iterator[str]:
    """Yield all devices with what git and the ledger say of them: the parts of one document."""
    unknown = [{"device": device, "reason": why} for device, why in sought.unknown.items()] if sought else []
    more = {"component": sought.wanted.text, "unknown": unknown} if sought else {}
    head, tail = document({"devices": [], **more}).split("[]", 1)
    yield head + "["
    comma = ""
    for one in lines:
        yield comma + "\n" + textwrap.indent(json.dumps(_json(one), indent=2, ensure_ascii=False), "    ")
        comma = ","
    yield ("\n  ]" if comma else "]") + tail + "\n"


LIST: Mapping[str, Callable[[Iterable[DeviceLine], datetime, Found | None], Iterator[str]]] = {
    "text": list_text,
    "json": list_json,
}


def show_text(detail: DeviceDetail) -> str:
    """Return all that is known of one device."""
    line, now = detail.line, detail.now
    device, row = line.device, line.row
    pairs = [
        ("model", f"{device.model}, hardware {device.hardware}, env {device.env}"),
        ("place", ", ".join(f"{k} {v}" for k, v in _place(line)) or "no site or region"),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(device.labels.items())) or "none"),
        ("groups", ", ".join(line.groups) or "none"),
        ("address", device.address),
        ("file", device.origin.path),
    ]
    text = [f"Device {device.id}: {_state(line)}", *labelled(pairs), "", *_running(detail)]
    if line.standing is not None:
        text += ["", f"Rollout {line.rollout}: {line.standing.state}", *labelled([("because", line.standing.reason)])]
    text += _quarantine(detail) + _orders(detail) + _outcome(detail)
    if detail.events:
        shown = [(str(e.seq), f"{e.at:%Y-%m-%d %H:%M:%S}Z", e.kind, e.reason) for e in detail.events]
        text += ["", f"Newest events (all: fwctl events --for {device.id})", *columns(shown, indent="  ")]
    if row is None:
        text += ["", f"No reconciler of this machine has spoken to it yet ({ago(None, now)} seen)."]
    return "\n".join(text)


def show_json(detail: DeviceDetail) -> str:
    """Return all that is known of one device, for programs."""
    outcome = detail.last_outcome
    return document(
        {
            "device": _json(detail.line),
            "orders": [
                {
                    "id": order.id,
                    "rollout": order.rollout,
                    "mandate": order.mandate,
                    "verb": order.verb,
                    "attempt": order.attempt,
                    "status": str(order.status),
                    "class": order.failure_class,
                    "code": order.code,
                    "intendedAt": stamp(order.intended_at),
                    "finishedAt": stamp(order.finished_at),
                }
                for order in detail.orders
            ],
            "lastOutcome": {
                "order": outcome.order,
                "mandate": outcome.mandate,
                "result": outcome.result,
                "class": outcome.failure_class,
                "code": outcome.code,
                "runningImage": outcome.running_image,
                "receivedAt": stamp(outcome.received_at),
                "evidence": [dict(one) for one in detail.evidence],
            }
            if outcome
            else None,
            "events": [
                {"seq": e.seq, "at": stamp(e.at), "kind": e.kind, "reason": e.reason, "rollout": e.rollout}
                for e in detail.events
            ],
        }
    )


SHOW: Mapping[str, Callable[[DeviceDetail], str]] = {"text": show_text, "json": show_json}


def _state(line: DeviceLine) -> str:
    icon = f"{ICONS[line.state]} " if line.state in ICONS else ""
    within = f" in {line.rollout}" if line.rollout else ""
    return f"{icon}{line.state}{within}" + (", in quarantine" if line.quarantine else "")


def _seen(line: DeviceLine, now: datetime) -> str:
    if line.row is None:
        return "never"
    return ago(line.row.observed_at, now) + ("" if line.row.reachable else ", away")


def _place(line: DeviceLine) -> list[tuple[str, str]]:
    device = line.device
    named = (("site", device.site), ("region", device.region), ("zone", device.time_zone))
    return [(key, value) for key, value in named if value]


def _quarantine(detail: DeviceDetail) -> list[str]:
    held, device = detail.line.quarantine, detail.line.device.id
    if held is None:
        return []
    pairs = [
        ("because", held.reason),
        ("by", f"{held.actor}, {ago(held.since, detail.now)}" + (f", in {held.rollout}" if held.rollout else "")),
        ("ends by", f"fwctl quarantine release {device} --reason WHY"),
    ]
    return ["", "In quarantine: it starts nothing new", *labelled(pairs)]


def _running(detail: DeviceDetail) -> list[str]:
    row = detail.line.row
    if row is None:
        return ["Runs: unknown"]
    reach = "reachable" if row.reachable else f"not reachable since {stamp(row.unreachable_since)}: {row.reason}"
    known = f" ({detail.release})" if detail.release else ", which no manifest describes"
    head = f"Runs {row.running_version}{known}" if row.running_version else "Runs: unknown, it never answered"
    pairs = [("image", row.running_image), ("release", row.running_release), ("mandate", row.running_mandate)]
    seen = f"{stamp(row.observed_at)} ({ago(row.observed_at, detail.now)})" if row.observed_at else "never"
    shown = [*pairs, ("seen", f"{seen}, {reach}"), ("agent", row.state if row.observed_at else "")]
    return [head, *labelled(pair for pair in shown if pair[1])]


def _orders(detail: DeviceDetail) -> list[str]:
    if not detail.orders:
        return []
    rows = [
        (
            f"{order.intended_at:%Y-%m-%d %H:%M:%S}Z",
            order.rollout,
            f"attempt {order.attempt}",
            order.verb,
            f"{order.status}: {order.failure_class} ({order.code})" if order.failure_class else str(order.status),
        )
        for order in detail.orders[-5:]
    ]
    return ["", f"Orders ({len(detail.orders)} in all)", *columns(rows, indent="  ")]


def _outcome(detail: DeviceDetail) -> list[str]:
    outcome = detail.last_outcome
    if outcome is None:
        return []
    why = f": {outcome.failure_class} ({outcome.code})" if outcome.failure_class else ""
    lines = ["", f"Last outcome: {outcome.result}{why}, received {stamp(outcome.received_at)}, signed by the device"]
    for one in detail.evidence:
        word = "ok" if one.get("ok") else "fail"
        lines.append(f"  {ICONS[word]} {word:<5} {one.get('probe')}: {one.get('detail')}")
    return lines


def _json(line: DeviceLine) -> dict[str, Any]:
    device, row, standing, held = line.device, line.row, line.standing, line.quarantine
    return {
        "id": device.id,
        "model": device.model,
        "hardware": device.hardware,
        "env": device.env,
        "region": device.region,
        "site": device.site,
        "timeZone": device.time_zone,
        "labels": dict(device.labels),
        "address": device.address,
        "file": device.origin.path,
        "groups": list(line.groups),
        "state": line.state,
        "rollout": line.rollout or None,
        "quarantine": {"reason": held.reason, "actor": held.actor, "since": stamp(held.since), "rollout": held.rollout}
        if held
        else None,
        "standing": {"state": standing.state, "reason": standing.reason, "due": stamp(standing.due)}
        if standing
        else None,
        "running": {
            "version": row.running_version,
            "release": row.running_release,
            "image": row.running_image,
            "mandate": row.running_mandate,
        }
        if row
        else None,
        "reachable": row.reachable if row else None,
        "observedAt": stamp(row.observed_at) if row else None,
        "unreachableSince": stamp(row.unreachable_since) if row else None,
    }
